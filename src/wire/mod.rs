//! The client protocol: frames in both directions, the WebSocket codec, close codes. No I/O.

pub mod close;
pub mod farewell;
pub mod frame;
pub mod inbound;
pub mod outbound;
