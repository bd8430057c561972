//! The readers and writers of JSON frames, taken from the server's sources by path.

#[path = "../src/wire/close.rs"]
pub mod close;
#[path = "../src/wire/frame/mod.rs"]
pub mod frame;
#[path = "../src/wire/inbound.rs"]
pub mod inbound;
#[path = "../src/wire/outbound/mod.rs"]
pub mod outbound;
