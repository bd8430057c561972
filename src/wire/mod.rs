//! The client protocol: frames in both directions, the WebSocket codec, close codes. No I/O.

pub mod close;
pub mod frame;
pub mod outbound;
