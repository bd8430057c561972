//! The own test of the judge of histories: a good history passes, and the same history spoilt in one place fails by the rule that
//! speaks of that.

#[path = "mod.rs"]
mod judge;
mod spoilt;
