//! The last words on a socket: a `bye` frame and the close frame that agrees with it.

use bytes::{Bytes, BytesMut};

use super::close::CloseCode;
use super::frame::{close_frame, text_frame};
use super::outbound::{Outbound, to_json};

/// `bye` and close, in one buffer. `delay` is what the client should wait before coming back, in seconds.
#[must_use]
pub fn farewell(code: CloseCode, delay: f64) -> Bytes {
    let bye = text_frame(&to_json(&Outbound::Bye {
        reason: code.name(),
        delay,
        resume: code.resume(),
    }));
    let close = close_frame(code, code.name());
    let mut both = BytesMut::with_capacity(bye.len() + close.len());
    both.extend_from_slice(&bye);
    both.extend_from_slice(&close);
    both.freeze()
}
