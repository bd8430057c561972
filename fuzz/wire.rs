//! The modules under test, taken from the server's sources by path.

#[path = "../src/wire/close.rs"]
pub mod close;
#[path = "../src/wire/frame/mod.rs"]
pub mod frame;
