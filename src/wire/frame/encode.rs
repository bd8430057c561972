//! Payloads to frames. A server's frames are unmasked, so one frame's bytes serve every socket: each function puts the
//! header in front once and hands out bytes to be shared.

use std::io;

use bytes::Bytes;
use fastwebsockets::OpCode;

use super::CONTROL_MAX;
use crate::wire::close::CloseCode;

/// The longest header of an unmasked frame, in bytes.
pub const HEADER_MAX: usize = 10;

/// Marks a frame as the last (here: the only) one of its message.
const FIN: u8 = 0x80;

/// The header of an unmasked, unfragmented frame, with its own length.
fn header(opcode: OpCode, payload: usize) -> ([u8; HEADER_MAX], usize) {
    let mut bytes = [0; HEADER_MAX];
    bytes[0] = FIN | opcode as u8;
    let len = match payload {
        0..=125 => {
            bytes[1] = u8::try_from(payload).unwrap_or(0);
            2
        }
        126..=0xffff => {
            bytes[1] = 126;
            bytes[2..4].copy_from_slice(&u16::try_from(payload).unwrap_or(0).to_be_bytes());
            4
        }
        _ => {
            bytes[1] = 127;
            bytes[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            10
        }
    };
    (bytes, len)
}

/// Appends one whole frame to a buffer, for bursts that leave in a single write.
pub fn put_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    let (header, len) = header(opcode, payload.len());
    out.reserve(len + payload.len());
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(payload);
}

fn frame(opcode: OpCode, payload: &[u8]) -> Bytes {
    let (header, len) = header(opcode, payload.len());
    let mut out = Vec::with_capacity(len + payload.len());
    out.extend_from_slice(&header[..len]);
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// A text frame. The payload has to be UTF-8; JSON from serde always is.
#[must_use]
pub fn text_frame(payload: &[u8]) -> Bytes {
    debug_assert!(str::from_utf8(payload).is_ok(), "text frames carry UTF-8");
    frame(OpCode::Text, payload)
}

/// What a whole text frame of the server's carries.
#[must_use]
pub fn text_of(frame: &[u8]) -> Option<&[u8]> {
    let head = match frame.get(1)? {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame.get(head..)
}

/// A binary frame.
#[must_use]
pub fn binary_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Binary, payload)
}

/// A ping; what is beyond [`CONTROL_MAX`] bytes is cut off, because no such frame may exist.
#[must_use]
pub fn ping_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Ping, &payload[..payload.len().min(CONTROL_MAX)])
}

/// The answer to a ping, with the ping's payload.
#[must_use]
pub fn pong_frame(payload: &[u8]) -> Bytes {
    frame(OpCode::Pong, &payload[..payload.len().min(CONTROL_MAX)])
}

/// A close frame; a reason beyond 123 bytes is cut off at a character's border.
#[must_use]
pub fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    raw_close_frame(code.code(), reason)
}

/// A close frame that repeats a peer's code, which may be one that this server never says by itself.
#[must_use]
pub fn raw_close_frame(code: u16, reason: &str) -> Bytes {
    let mut payload = Vec::with_capacity(CONTROL_MAX);
    payload.extend_from_slice(&code.to_be_bytes());
    let end = reason.floor_char_boundary(CONTROL_MAX - payload.len());
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    frame(OpCode::Close, &payload)
}

/// One text frame whose payload is written piece by piece, as serde does it, behind space reserved for the header: the
/// payload is encoded once and never moved.
#[derive(Debug)]
pub struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// Begins a text frame with room for a payload of this many bytes; it grows beyond when needed.
    #[must_use]
    pub fn begin(payload_capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_MAX + payload_capacity);
        bytes.resize(HEADER_MAX, 0);
        Self { bytes }
    }

    /// The payload so far, in bytes.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.bytes.len() - HEADER_MAX
    }

    /// Puts the header directly in front of the payload and hands out the frame.
    #[must_use]
    pub fn finish(mut self) -> Bytes {
        let payload = self.payload_len();
        debug_assert!(
            str::from_utf8(&self.bytes[HEADER_MAX..]).is_ok(),
            "text frames carry UTF-8"
        );
        let (header, len) = header(OpCode::Text, payload);
        let start = HEADER_MAX - len;
        self.bytes[start..HEADER_MAX].copy_from_slice(&header[..len]);
        Bytes::from(self.bytes).slice(start..)
    }
}

impl io::Write for FrameBuilder {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
