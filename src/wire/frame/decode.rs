//! Bytes to events: a resumable decoder that is lent slices of the reader's buffer.

use std::borrow::Cow;

use fastwebsockets::{OpCode, unmask};

use super::{CONTROL_MAX, FrameError};
use crate::wire::close;

/// The longest header of a masked frame: two bytes, eight of length, four of mask.
const HEADER_MAX: usize = 14;

/// What a peer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'b> {
    /// A whole text message; borrowed if one frame held it and lay in the buffer at once.
    Text(Cow<'b, str>),
    /// A whole binary message; likewise.
    Binary(Cow<'b, [u8]>),
    /// A ping to be answered with this payload.
    Ping(Cow<'b, [u8]>),
    /// A pong, asked for or not.
    Pong,
    /// The peer closes; everything after it is discarded. No code means that the frame was empty.
    Close {
        /// The peer's code.
        code: Option<u16>,
        /// The peer's reason, often empty.
        reason: Cow<'b, str>,
    },
}

/// What one call of [`Decoder::feed`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// Bytes taken from the front of the slice; the rest has to be fed again.
    pub consumed: usize,
    /// The event that these bytes finished. None only if the whole slice was taken.
    pub event: Option<Event<'b>>,
}

/// A frame whose header is complete.
#[derive(Debug, Clone, Copy)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// Turned so that its first byte belongs to the next payload byte.
    mask: [u8; 4],
    /// Payload bytes still to come; the limit keeps it within 32 bits.
    remaining: u32,
}

/// A message or control frame that spans reads. Exists only meanwhile, so an idle connection has none.
#[derive(Debug, Default)]
struct Partial {
    /// The message's kind, once its first frame has begun.
    kind: Option<OpCode>,
    message: Vec<u8>,
    /// How much of a text message is known to be UTF-8; the rest is at most three bytes of an unfinished character.
    checked: usize,
    control: Vec<u8>,
}

/// What the decoder does with the next byte.
#[derive(Debug)]
enum State {
    /// Collects a header; `have` bytes of it are in `header`.
    Header { header: [u8; HEADER_MAX], have: u8 },
    /// Takes a frame's payload.
    Payload(Frame),
    /// Discards everything: after a close or an error.
    Over,
}

impl State {
    const IDLE: Self = Self::Header {
        header: [0; HEADER_MAX],
        have: 0,
    };
}

/// The resumable decoder of one connection.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    limit: u32,
    binary: bool,
    partial: Option<Box<Partial>>,
}

impl Decoder {
    /// A decoder that takes messages of at most `limit` bytes (at most 4 GiB - 1).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            state: State::IDLE,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            binary: true,
            partial: None,
        }
    }

    /// Like [`Decoder::new`], but a binary message is an error as soon as its header is read.
    #[must_use]
    pub fn text_only(limit: usize) -> Self {
        Self {
            binary: false,
            ..Self::new(limit)
        }
    }

    /// Whether the peer has closed, or broken the protocol: nothing more will come out.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Bytes held on the heap: 0 unless a message or control frame spans reads.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |p| {
            size_of::<Partial>() + p.message.capacity() + p.control.capacity()
        })
    }

    /// Takes bytes up to the end of the first event in `bytes`, unmasking them in place. Call it again with what was
    /// not consumed.
    ///
    /// # Errors
    /// What the peer did wrong; the decoder is over then.
    pub fn feed<'b>(&mut self, bytes: &'b mut [u8]) -> Result<Step<'b>, FrameError> {
        match self.advance(bytes) {
            Ok(step) => {
                if matches!(step.event, Some(Event::Close { .. })) {
                    self.end();
                }
                Ok(step)
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.partial = None;
    }

    fn advance<'b>(&mut self, bytes: &'b mut [u8]) -> Result<Step<'b>, FrameError> {
        let mut rest = bytes;
        let mut consumed = 0;
        loop {
            let frame = match &mut self.state {
                State::Over => {
                    consumed += rest.len();
                    return Ok(Step { consumed, event: None });
                }
                State::Payload(frame) => *frame,
                State::Header { .. } => {
                    let (used, frame) = self.take_header(rest)?;
                    consumed += used;
                    rest = &mut rest[used..];
                    let Some(frame) = frame else {
                        return Ok(Step { consumed, event: None });
                    };
                    frame
                }
            };
            let whole = frame.remaining as usize;
            let take = whole.min(rest.len());
            let (payload, after) = rest.split_at_mut(take);
            rest = after;
            consumed += take;
            unmask(payload, frame.mask);
            if take < whole {
                if take > 0 {
                    self.keep(frame.opcode, payload, whole - take)?;
                }
                self.state = State::Payload(Frame {
                    mask: turned(frame.mask, take),
                    remaining: frame.remaining - u32::try_from(take).unwrap_or(frame.remaining),
                    ..frame
                });
                return Ok(Step { consumed, event: None });
            }
            self.state = State::IDLE;
            if let Some(event) = self.finish_frame(frame, payload)? {
                return Ok(Step {
                    consumed,
                    event: Some(event),
                });
            }
        }
    }

    /// Collects header bytes, judging them as early as they can be judged. Returns how many it took, and the frame when
    /// the header is complete.
    fn take_header(&mut self, bytes: &[u8]) -> Result<(usize, Option<Frame>), FrameError> {
        let State::Header { mut header, have } = self.state else {
            return Ok((0, None));
        };
        let before = usize::from(have);
        let mut have = before;
        let mut used = 0;
        let mut goal = if have < 2 { 2 } else { header_len(header[1]) };
        loop {
            let take = (goal - have).min(bytes.len() - used);
            header[have..have + take].copy_from_slice(&bytes[used..used + take]);
            have += take;
            used += take;
            if have < goal {
                let have = u8::try_from(have).unwrap_or(0);
                self.state = State::Header { header, have };
                return Ok((used, None));
            }
            if goal > 2 {
                break;
            }
            self.judge_start(header[0], header[1])?;
            goal = header_len(header[1]);
        }
        self.parse(&header[..have]).map(|frame| (used, Some(frame)))
    }

    /// Judges a header's first two bytes.
    fn judge_start(&self, first: u8, second: u8) -> Result<(), FrameError> {
        if first & 0x70 != 0 {
            return Err(FrameError::ReservedBits);
        }
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| FrameError::Opcode(first & 0x0f))?;
        if second & 0x80 == 0 {
            return Err(FrameError::Unmasked);
        }
        let fin = first & 0x80 != 0;
        let within = self.partial.as_ref().is_some_and(|p| p.kind.is_some());
        match opcode {
            OpCode::Close | OpCode::Ping | OpCode::Pong => {
                if !fin {
                    return Err(FrameError::FragmentedControl);
                }
                if usize::from(second & 0x7f) > CONTROL_MAX {
                    return Err(FrameError::LargeControl);
                }
            }
            OpCode::Continuation if !within => return Err(FrameError::Stray),
            OpCode::Text | OpCode::Binary if within => return Err(FrameError::Interleaved),
            OpCode::Binary if !self.binary => return Err(FrameError::Binary),
            _ => {}
        }
        Ok(())
    }

    /// Reads a complete header whose start was judged, and holds its length against the limit.
    fn parse(&self, header: &[u8]) -> Result<Frame, FrameError> {
        let (first, second) = (header[0], header[1]);
        let opcode = OpCode::try_from(first & 0x0f).map_err(|_| FrameError::Opcode(first & 0x0f))?;
        let (length, mask) = header[2..].split_at(header.len() - 6);
        let announced = length.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let len = match second & 0x7f {
            126 if announced < 126 => return Err(FrameError::Length),
            127 if announced <= 0xffff || announced >> 63 != 0 => return Err(FrameError::Length),
            126 | 127 => announced,
            short => u64::from(short),
        };
        if !is_control(opcode) {
            let so_far = self.partial.as_ref().map_or(0, |p| p.message.len() as u64);
            if so_far.saturating_add(len) > u64::from(self.limit) {
                return Err(FrameError::TooBig(self.limit as usize));
            }
        }
        Ok(Frame {
            opcode,
            fin: first & 0x80 != 0,
            mask: mask.try_into().unwrap_or_default(),
            remaining: u32::try_from(len).map_err(|_| FrameError::TooBig(self.limit as usize))?,
        })
    }

    /// Copies a piece of an unfinished frame or message; `to_come` more bytes of its frame will follow.
    fn keep(&mut self, opcode: OpCode, piece: &[u8], to_come: usize) -> Result<(), FrameError> {
        let limit = self.limit as usize;
        let partial = self.partial.get_or_insert_default();
        if is_control(opcode) {
            partial.control.reserve_exact(piece.len() + to_come);
            partial.control.extend_from_slice(piece);
            return Ok(());
        }
        if opcode != OpCode::Continuation {
            partial.kind = Some(opcode);
        }
        partial.append(piece, limit)
    }

    /// Ends a frame with its last piece of payload.
    fn finish_frame<'b>(&mut self, frame: Frame, payload: &'b [u8]) -> Result<Option<Event<'b>>, FrameError> {
        if is_control(frame.opcode) {
            let kept = self
                .partial
                .as_mut()
                .map(|p| std::mem::take(&mut p.control))
                .unwrap_or_default();
            let payload = if kept.is_empty() {
                Cow::Borrowed(payload)
            } else {
                Cow::Owned([kept.as_slice(), payload].concat())
            };
            if self.partial.as_ref().is_some_and(|p| p.kind.is_none()) {
                self.partial = None;
            }
            return control_event(frame.opcode, payload).map(Some);
        }
        if self.partial.as_ref().is_none_or(|p| p.kind.is_none()) && frame.fin {
            return Ok(Some(match frame.opcode {
                OpCode::Text => Event::Text(Cow::Borrowed(str::from_utf8(payload).map_err(|_| FrameError::Utf8)?)),
                _ => Event::Binary(Cow::Borrowed(payload)),
            }));
        }
        self.keep(frame.opcode, payload, 0)?;
        if !frame.fin {
            return Ok(None);
        }
        let partial = self.partial.take().unwrap_or_default();
        // The text was checked piece by piece to fail fast; checking it once more here costs less than unsafe code.
        Ok(Some(match partial.kind {
            Some(OpCode::Text) => Event::Text(Cow::Owned(
                String::from_utf8(partial.message).map_err(|_| FrameError::Utf8)?,
            )),
            _ => Event::Binary(Cow::Owned(partial.message)),
        }))
    }
}

impl Partial {
    /// Adds a piece. Memory doubles with what has arrived, so an announcement alone costs nothing, and it ends at the
    /// limit, against which the frame's length was held before.
    fn append(&mut self, piece: &[u8], limit: usize) -> Result<(), FrameError> {
        let needed = self.message.len() + piece.len();
        if needed > self.message.capacity() {
            let goal = needed.max(self.message.capacity() * 2).min(limit.max(needed));
            self.message.reserve_exact(goal - self.message.len());
        }
        self.message.extend_from_slice(piece);
        if self.kind == Some(OpCode::Text) {
            match str::from_utf8(&self.message[self.checked..]) {
                Ok(_) => self.checked = self.message.len(),
                Err(error) if error.error_len().is_some() => return Err(FrameError::Utf8),
                Err(error) => self.checked += error.valid_up_to(),
            }
        }
        Ok(())
    }
}

/// The length of a masked header whose second byte is this.
const fn header_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 2 + 2 + 4,
        127 => HEADER_MAX,
        _ => 2 + 4,
    }
}

const fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// The mask as it applies after this many bytes.
fn turned(mut mask: [u8; 4], bytes: usize) -> [u8; 4] {
    mask.rotate_left(bytes % 4);
    mask
}

fn control_event(opcode: OpCode, payload: Cow<'_, [u8]>) -> Result<Event<'_>, FrameError> {
    Ok(match opcode {
        OpCode::Ping => Event::Ping(payload),
        OpCode::Pong => Event::Pong,
        _ => match payload {
            Cow::Borrowed(bytes) => close_event(bytes)?,
            Cow::Owned(bytes) => match close_event(&bytes)? {
                Event::Close { code, reason } => Event::Close {
                    code,
                    reason: Cow::Owned(reason.into_owned()),
                },
                _ => return Err(FrameError::Close),
            },
        },
    })
}

fn close_event(payload: &[u8]) -> Result<Event<'_>, FrameError> {
    let (code, reason) = match payload {
        [] => (None, &[][..]),
        [_] => return Err(FrameError::Close),
        [high, low, reason @ ..] => (Some(u16::from_be_bytes([*high, *low])), reason),
    };
    if code.is_some_and(|code| !close::may_be_received(code)) {
        return Err(FrameError::Close);
    }
    let reason = str::from_utf8(reason).map_err(|_| FrameError::Utf8)?;
    Ok(Event::Close {
        code,
        reason: Cow::Borrowed(reason),
    })
}
