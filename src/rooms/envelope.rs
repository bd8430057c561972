//! What travels on the channel layer for a room: a small header, then the finished bytes for sockets.
//!
//! The header says what a receiving node has to know to count the event, to order it and to put it into its ring; the
//! frames in it are what members get, so nothing decodes or encodes JSON between the layer and a socket. Layout, with
//! numbers most significant byte first: version (1 byte), kind (1), length of the header that follows (2), the header,
//! then the frames: the length of the first (4), the first, and the second to the end.
//!
//! Nodes of two versions run side by side during a rolling change. A later version may add kinds and may append fields
//! to a header: a kind below 128 is durable and begins with the fields of [`Durable`] up to `id`, so its number is
//! counted even where the kind is not understood; others are passed over. The version byte changes only when a known kind
//! changes its fields. Then too a durable kind begins with these, so that a receiving node knows at once which event it
//! lacks, and reads it from the store.

mod fields;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use self::fields::{put_author, put_cause, take_16, take_author, take_cause, take_event_id, take_u64};
use crate::model::{Author, BootId, EventId, RoomId, Timestamp, UserId};

/// The version of the layout that this build writes and understands.
pub const VERSION: u8 = 1;
/// Bytes before the header.
const FIXED: usize = 4;

/// Why bytes are not an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// Another layout, of an older build, or one that hides what every layout has.
    #[error("the envelope has version {0}, this build understands {VERSION}")]
    Version(u8),
    /// It ends before its fields do.
    #[error("the envelope ends too early")]
    Short,
    /// A field has a value that it can't have.
    #[error("the envelope's {0} is not valid")]
    Field(&'static str),
}

/// What a payload of a room holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Envelope {
    /// Something that is in the store, with a number.
    Durable(Durable),
    /// Something that is nowhere else, and without a number.
    Passing(Passing),
    /// A passing kind of a newer build.
    Unknown(u8),
    /// A durable event in the layout of a newer build: it has to be read from the store.
    Newer {
        /// The publishing process.
        boot: BootId,
        /// Its number for this room.
        number: u64,
        /// When it published the number before this one in the room, by its clock; 0 where there was none.
        previous: Timestamp,
        /// The event's id.
        id: EventId,
    },
}

/// A durable event of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// The publishing process.
    pub boot: BootId,
    /// Its number for this room: 1 for the first that this process published there, then one more each time.
    pub number: u64,
    /// When it published the number before this one in the room, by its clock; 0 where there was none.
    pub previous: Timestamp,
    /// The event's id: its position in the room.
    pub id: EventId,
    /// What happened.
    pub content: Content,
}

/// What a durable event is. All frames are complete WebSocket frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A message; the event's id is the message's.
    Message {
        /// Who wrote it: what stays of it once it is deleted.
        author: Author,
        /// The message that it answers, which is told before it.
        cause: Option<EventId>,
        /// What members get.
        frame: Bytes,
    },
    /// A message that became durable long after its id was made.
    Late {
        /// The message's own id.
        message: EventId,
        /// Who wrote it.
        author: Author,
        /// The message that it answers, which is told before it.
        cause: Option<EventId>,
        /// What members get.
        frame: Bytes,
        /// The message without the mark of lateness, for those who join later.
        plain: Bytes,
    },
    /// An edit.
    Edited {
        /// The message's id.
        message: EventId,
        /// Who wrote it.
        author: Author,
        /// What members get.
        frame: Bytes,
        /// The message in its new state, for those who join later.
        plain: Bytes,
    },
    /// A deletion.
    Deleted {
        /// The message's id.
        message: EventId,
        /// What members get.
        frame: Bytes,
    },
    /// A durable kind of a newer build: it is counted, and shown by the next read that understands it.
    Unknown(u8),
}

impl Content {
    /// The message that the event is or concerns; the event's own id where it is the message.
    #[must_use]
    pub const fn message(&self) -> Option<EventId> {
        match self {
            Self::Late { message, .. } | Self::Edited { message, .. } | Self::Deleted { message, .. } => Some(*message),
            Self::Message { .. } | Self::Unknown(_) => None,
        }
    }
}

/// An event that no store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passing {
    /// Somebody types.
    Typing {
        /// What members get.
        frame: Bytes,
    },
    /// Who came into the room and who went.
    Presence {
        /// What members get.
        frame: Bytes,
    },
    /// The other person of a direct conversation came online or went.
    Person {
        /// Who.
        author: Author,
        /// Which of both.
        online: bool,
        /// When they last had a connection.
        last_seen: Option<Timestamp>,
    },
    /// Something for a user's inbox; the room is the inbox.
    Notice {
        /// Whose inbox.
        user: UserId,
        /// Connections that read this room are not told, since they see it there.
        unless_reading: Option<RoomId>,
        /// What the user's connections get.
        frame: Bytes,
    },
}

mod kind {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const LATE: u8 = 2;
    pub(super) const EDITED: u8 = 3;
    pub(super) const DELETED: u8 = 4;
    /// Kinds from here on have no number.
    pub(super) const PASSING: u8 = 128;
    pub(super) const TYPING: u8 = 128;
    pub(super) const PRESENCE: u8 = 129;
    pub(super) const PERSON: u8 = 130;
    pub(super) const NOTICE: u8 = 131;
}

impl Envelope {
    /// The bytes to publish. What this build does not know is not written: it is empty.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut header = BytesMut::with_capacity(128);
        let none = Bytes::new();
        let (kind, first, second) = match self {
            Self::Durable(durable) => durable.put(&mut header),
            Self::Passing(passing) => passing.put(&mut header),
            Self::Unknown(_) | Self::Newer { .. } => return Bytes::new(),
        };
        let version = written(&mut header, kind);
        let (first, second) = (first.unwrap_or(&none), second.unwrap_or(&none));
        let mut bytes = BytesMut::with_capacity(FIXED + header.len() + 4 + first.len() + second.len());
        bytes.put_u8(version);
        bytes.put_u8(kind);
        // A header holds ids, numbers and one name of at most 32 bytes.
        bytes.put_u16(u16::try_from(header.len()).unwrap_or(u16::MAX));
        bytes.put_slice(&header);
        // A frame holds at most a message of 4,000 characters, escaped.
        bytes.put_u32(u32::try_from(first.len()).unwrap_or(u32::MAX));
        bytes.put_slice(first);
        bytes.put_slice(second);
        bytes.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote, or what a newer build did. The frames share the payload's memory:
    /// copy the payload first if that is a slice of a larger buffer.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] says what is wrong with it.
    pub fn decode(payload: &Bytes) -> Result<Self, InvalidEnvelope> {
        let [version, kind, length @ ..] = payload.get(..FIXED).ok_or(InvalidEnvelope::Short)? else {
            return Err(InvalidEnvelope::Short);
        };
        if *version < VERSION {
            return Err(InvalidEnvelope::Version(*version));
        }
        let end = FIXED + usize::from(u16::from_be_bytes([length[0], length[1]]));
        let mut header = payload.get(FIXED..end).ok_or(InvalidEnvelope::Short)?;
        #[cfg(feature = "next-version")]
        let known = crate::next_version::read(*version, header);
        #[cfg(not(feature = "next-version"))]
        let known: Option<Vec<u8>> = None;
        match &known {
            Some(known) => header = known,
            None if *version > VERSION => return newer(*version, *kind, header),
            None => {}
        }
        let (first, second) = frames_of(payload, end)?;
        if *kind >= kind::PASSING {
            return Passing::take(*kind, &mut header, first);
        }
        Durable::take(*kind, &mut header, first, second).map(Self::Durable)
    }
}

/// Finishes a header; answers the version of its layout.
#[cfg(not(feature = "next-version"))]
const fn written(_header: &mut BytesMut, _kind: u8) -> u8 {
    VERSION
}

#[cfg(feature = "next-version")]
fn written(header: &mut BytesMut, kind: u8) -> u8 {
    crate::next_version::written(header, kind < kind::PASSING).unwrap_or(VERSION)
}

/// What is understood of every layout.
fn newer(version: u8, kind: u8, mut header: &[u8]) -> Result<Envelope, InvalidEnvelope> {
    if kind >= kind::PASSING {
        return Ok(Envelope::Unknown(kind));
    }
    let hidden = |_| InvalidEnvelope::Version(version);
    let boot = BootId::from_bytes(take_16(&mut header).map_err(hidden)?);
    let number = take_u64(&mut header).map_err(hidden)?;
    if matches!(number, 0 | u64::MAX) {
        return Err(InvalidEnvelope::Field("publish number"));
    }
    let previous = Timestamp::from_millis(take_u64(&mut header).map_err(hidden)?);
    let id = take_event_id(&mut header).map_err(hidden)?;
    Ok(Envelope::Newer {
        boot,
        number,
        previous,
        id,
    })
}

fn frames_of(payload: &Bytes, at: usize) -> Result<(Bytes, Bytes), InvalidEnvelope> {
    let length = payload.get(at..at + 4).ok_or(InvalidEnvelope::Short)?;
    let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let begin = at + 4;
    let end = usize::try_from(length)
        .ok()
        .and_then(|length| begin.checked_add(length))
        .filter(|&end| end <= payload.len())
        .ok_or(InvalidEnvelope::Short)?;
    Ok((payload.slice(begin..end), payload.slice(end..)))
}

impl Durable {
    fn put(&self, header: &mut BytesMut) -> (u8, Option<&Bytes>, Option<&Bytes>) {
        header.put_slice(self.boot.as_bytes());
        header.put_u64(self.number);
        header.put_u64(self.previous.millis());
        header.put_slice(self.id.as_bytes());
        match &self.content {
            Content::Message { author, cause, frame } => {
                put_author(header, author);
                put_cause(header, *cause);
                (kind::MESSAGE, Some(frame), None)
            }
            Content::Late {
                message,
                author,
                cause,
                frame,
                plain,
            } => {
                header.put_slice(message.as_bytes());
                put_author(header, author);
                put_cause(header, *cause);
                (kind::LATE, Some(frame), Some(plain))
            }
            Content::Edited {
                message,
                author,
                frame,
                plain,
            } => {
                header.put_slice(message.as_bytes());
                put_author(header, author);
                (kind::EDITED, Some(frame), Some(plain))
            }
            Content::Deleted { message, frame } => {
                header.put_slice(message.as_bytes());
                (kind::DELETED, Some(frame), None)
            }
            Content::Unknown(kind) => (*kind, None, None),
        }
    }

    fn take(kind: u8, header: &mut &[u8], frame: Bytes, plain: Bytes) -> Result<Self, InvalidEnvelope> {
        let boot = BootId::from_bytes(take_16(header)?);
        let number = take_u64(header)?;
        // The first is 1, and after the last one nothing could follow.
        if matches!(number, 0 | u64::MAX) {
            return Err(InvalidEnvelope::Field("publish number"));
        }
        let previous = Timestamp::from_millis(take_u64(header)?);
        let id = take_event_id(header)?;
        let content = match kind {
            kind::MESSAGE => Content::Message {
                author: take_author(header)?,
                cause: take_cause(header)?,
                frame,
            },
            kind::LATE => Content::Late {
                message: take_event_id(header)?,
                author: take_author(header)?,
                cause: take_cause(header)?,
                frame,
                plain,
            },
            kind::EDITED => Content::Edited {
                message: take_event_id(header)?,
                author: take_author(header)?,
                frame,
                plain,
            },
            kind::DELETED => Content::Deleted {
                message: take_event_id(header)?,
                frame,
            },
            unknown => Content::Unknown(unknown),
        };
        Ok(Self {
            boot,
            number,
            previous,
            id,
            content,
        })
    }
}

impl Passing {
    fn put(&self, header: &mut BytesMut) -> (u8, Option<&Bytes>, Option<&Bytes>) {
        match self {
            Self::Typing { frame } => (kind::TYPING, Some(frame), None),
            Self::Presence { frame } => (kind::PRESENCE, Some(frame), None),
            Self::Person {
                author,
                online,
                last_seen,
            } => {
                put_author(header, author);
                header.put_u8(u8::from(*online));
                header.put_u64(last_seen.map_or(0, Timestamp::millis));
                (kind::PERSON, None, None)
            }
            Self::Notice {
                user,
                unless_reading,
                frame,
            } => {
                header.put_slice(user.as_bytes());
                header.put_slice(unless_reading.map_or([0; 16], |room| *room.as_bytes()).as_slice());
                (kind::NOTICE, Some(frame), None)
            }
        }
    }

    fn take(kind: u8, header: &mut &[u8], frame: Bytes) -> Result<Envelope, InvalidEnvelope> {
        let passing = match kind {
            kind::TYPING => Self::Typing { frame },
            kind::PRESENCE => Self::Presence { frame },
            kind::PERSON => Self::Person {
                author: take_author(header)?,
                online: header.try_get_u8().map_err(|_| InvalidEnvelope::Short)? != 0,
                last_seen: Some(take_u64(header)?)
                    .filter(|&millis| millis > 0)
                    .map(Timestamp::from_millis),
            },
            kind::NOTICE => Self::Notice {
                user: UserId::from_bytes(take_16(header)?),
                unless_reading: Some(take_16(header)?)
                    .filter(|id| *id != [0; 16])
                    .map(RoomId::from_bytes),
                frame,
            },
            unknown => return Ok(Envelope::Unknown(unknown)),
        };
        Ok(Envelope::Passing(passing))
    }
}

#[cfg(test)]
mod tests;
