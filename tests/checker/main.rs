//! The checker's own test: a good history passes, and the same history spoilt in one place fails by the rule that
//! speaks of that.

#[path = "mod.rs"]
mod checker;
mod spoilt;
