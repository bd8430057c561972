//! The WebSocket codec of the server's side (RFC 6455), after the handshake: bytes to events, payloads to frames.
//!
//! It does no I/O and keeps no buffer of its own for a connection that is idle: the reader lends it a slice of its
//! stack buffer, and only a message or control frame that spans reads is copied, into memory that grows with what has
//! arrived and never beyond the message limit. It is resumable at any byte, so a read can be cancelled anywhere. What
//! it refuses, and with which close code, is [`FrameError`].

mod decode;
mod encode;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use decode::{Decoder, Event, Step};
pub use encode::{
    FrameBuilder, HEADER_MAX, binary_frame, close_frame, ping_frame, pong_frame, put_frame, raw_close_frame,
    text_frame, text_of,
};

use super::close::CloseCode;

/// Bytes in a control frame's payload (RFC 6455 section 5.5).
pub const CONTROL_MAX: usize = 125;

/// What makes a peer's bytes unacceptable. The decoder is over after one: what follows is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A client's frame has to be masked.
    #[error("the frame is not masked")]
    Unmasked,
    /// No extension was agreed on, so the reserved bits have no meaning.
    #[error("a reserved bit is set")]
    ReservedBits,
    /// Opcodes 3 to 7 and 11 to 15 have no meaning.
    #[error("opcode {0} is not defined")]
    Opcode(u8),
    /// A control frame has to be whole.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame holds at most [`CONTROL_MAX`] bytes.
    #[error("a control frame announces more than 125 bytes")]
    LargeControl,
    /// A text or binary frame began before the fragmented message before it was finished.
    #[error("a new message begins within a fragmented one")]
    Interleaved,
    /// A continuation without a message to continue.
    #[error("a continuation frame continues nothing")]
    Stray,
    /// The length has a shorter encoding, or its highest bit is set.
    #[error("the length is not encoded minimally")]
    Length,
    /// A close frame with one byte, or with a code that may not travel.
    #[error("the close frame is malformed")]
    Close,
    /// Text or a close reason is not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// The message, all its fragments together, is beyond the limit.
    #[error("the message is larger than {0} bytes")]
    TooBig(usize),
    /// A binary message where only text is spoken.
    #[error("binary messages are not understood here")]
    Binary,
}

impl FrameError {
    /// The code to close the socket with.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::BadText,
            Self::TooBig(_) => CloseCode::TooBig,
            Self::Binary => CloseCode::Unsupported,
            _ => CloseCode::Protocol,
        }
    }
}
