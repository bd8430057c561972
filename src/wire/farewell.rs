//! The last words on a socket: a `bye` frame and the close frame that agrees with it.

use bytes::{Bytes, BytesMut};

use super::close::CloseCode;
use super::frame::{close_frame, text_frame};
use super::outbound::{Outbound, to_json};

/// What is written last, and why, so that whoever ends a connection need not say it twice.
pub trait LastWords {
    /// The frames.
    fn bytes(&self) -> Bytes;

    /// Why the socket ends, where the server says so.
    fn code(&self) -> Option<CloseCode> {
        None
    }
}

/// `bye` and close, in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    code: CloseCode,
    frames: Bytes,
}

impl LastWords for Farewell {
    fn bytes(&self) -> Bytes {
        self.frames.clone()
    }

    fn code(&self) -> Option<CloseCode> {
        Some(self.code)
    }
}

/// Frames without a reason of the server's, such as the answer to a client's close.
impl LastWords for Bytes {
    fn bytes(&self) -> Bytes {
        self.clone()
    }
}

/// Nothing: the peer is gone.
impl LastWords for [u8; 0] {
    fn bytes(&self) -> Bytes {
        Bytes::new()
    }
}

/// `bye` and close, in one buffer. `delay` is what the client should wait before coming back, in seconds.
#[must_use]
pub fn farewell(code: CloseCode, delay: f64) -> Farewell {
    let bye = text_frame(&to_json(&Outbound::Bye {
        reason: code.name(),
        delay,
        resume: code.resume(),
    }));
    let close = close_frame(code, code.name());
    let mut both = BytesMut::with_capacity(bye.len() + close.len());
    both.extend_from_slice(&bye);
    both.extend_from_slice(&close);
    Farewell {
        code,
        frames: both.freeze(),
    }
}
