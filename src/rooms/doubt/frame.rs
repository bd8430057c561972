//! The status frame: what each node tells all others once a second.
//!
//! Layout, with numbers most significant byte first: kind (1 byte), version (1), then the fields in the order in which
//! [`StatusFrame::encode`] writes them. A later version may append fields, which this build passes over; the version
//! changes only when the layout of these fields does, and such frames are passed over as a whole.
//!
//! A frame is truthful about what it leaves out: its rooms are all that were written to after frame
//! [`since`](StatusFrame::since) was made. A node that wrote to more rooms than fit says so by a later `since`, and
//! whoever has not heard the frames up to it is in doubt about all rooms.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits;
use crate::model::{BootId, RoomId, Timestamp};

/// What the first byte of a status frame is.
pub const KIND: u8 = 1;
/// The version of the layout that this build writes and understands.
pub const VERSION: u8 = 1;

const REACHES_LOG: u8 = 1;
const REACHES_STORE: u8 = 2;
const GOODBYE: u8 = 4;

/// Why bytes are not a status frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// Something else than a status frame: pass it over.
    #[error("kind {0} is not a status frame")]
    Kind(u8),
    /// Another layout: a newer build wrote it. Pass it over: its node is not heard, so its rooms are repaired.
    #[error("the status frame has version {0}, this build understands {VERSION}")]
    Version(u8),
    /// It ends before its fields do.
    #[error("the status frame ends too early")]
    Short,
    /// It announces more than a frame may hold.
    #[error("the status frame announces too many {0}")]
    TooMany(&'static str),
    /// A publish number that nobody gives.
    #[error("the status frame has a publish number that can't be")]
    Number,
}

/// Another process that the sender of a frame has heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Which.
    pub boot: BootId,
    /// The number of its last frame that arrived. Who reads its own boot here knows that the sender heard that frame.
    pub frame: u64,
}

/// A room that the sender of a frame wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrote {
    /// Which.
    pub room: RoomId,
    /// The last publish number it gave there.
    pub number: u64,
    /// How long before the frame it gave that number, in milliseconds, at most `u32::MAX`.
    pub age_ms: u32,
}

/// What a node tells all others once a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFrame {
    /// The process.
    pub boot: BootId,
    /// 1 for the first frame of the process, then one more each time.
    pub number: u64,
    /// When the process began, by its clock.
    pub started: Timestamp,
    /// Its clock when the frame was made.
    pub clock: Timestamp,
    /// How far it has acted on the control log, as `Position::to_bytes` writes it.
    pub position: [u8; 16],
    /// It reaches the control log (Redis).
    pub reaches_log: bool,
    /// It reaches the store.
    pub reaches_store: bool,
    /// It leaves in order: nothing is published after this frame.
    pub goodbye: bool,
    /// `rooms` names every room that was written to after this frame was made; 0: since the process began.
    pub since: u64,
    /// The processes heard lately.
    pub peers: Vec<Heard>,
    /// The rooms written to.
    pub rooms: Vec<Wrote>,
}

impl StatusFrame {
    /// The bytes to broadcast: at most [`limits::STATUS_BYTES_MAX`].
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(96 + self.peers.len() * 24 + self.rooms.len() * 28);
        bytes.put_u8(KIND);
        bytes.put_u8(VERSION);
        bytes.put_slice(self.boot.as_bytes());
        bytes.put_u64(self.number);
        bytes.put_u64(self.started.millis());
        bytes.put_u64(self.clock.millis());
        bytes.put_slice(&self.position);
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        bytes.put_u8(
            flag(self.reaches_log, REACHES_LOG) | flag(self.reaches_store, REACHES_STORE) | flag(self.goodbye, GOODBYE),
        );
        bytes.put_u64(self.since);
        let peers = &self.peers[..self.peers.len().min(limits::STATUS_PEERS_MAX)];
        bytes.put_u16(u16::try_from(peers.len()).unwrap_or(u16::MAX));
        for peer in peers {
            bytes.put_slice(peer.boot.as_bytes());
            bytes.put_u64(peer.frame);
        }
        // The machine that makes frames keeps within the bound and says so in `since`; nothing is cut off here.
        bytes.put_u32(u32::try_from(self.rooms.len()).unwrap_or(u32::MAX));
        for wrote in &self.rooms {
            bytes.put_slice(wrote.room.as_bytes());
            bytes.put_u64(wrote.number);
            bytes.put_u32(wrote.age_ms);
        }
        bytes.freeze()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`InvalidFrame`] says what is wrong with it; [`InvalidFrame::Kind`] and [`InvalidFrame::Version`] are to be
    /// passed over.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        let mut from = bytes;
        let from = &mut from;
        match (take_u8(from)?, take_u8(from)?) {
            (KIND, VERSION) => {}
            (KIND, version) => return Err(InvalidFrame::Version(version)),
            (kind, _) => return Err(InvalidFrame::Kind(kind)),
        }
        let boot = BootId::from_bytes(take_16(from)?);
        let number = take_u64(from)?;
        let started = Timestamp::from_millis(take_u64(from)?);
        let clock = Timestamp::from_millis(take_u64(from)?);
        let position = take_16(from)?;
        let flags = take_u8(from)?;
        let since = take_u64(from)?;
        let count = usize::from(from.try_get_u16().map_err(|_| InvalidFrame::Short)?);
        if count > limits::STATUS_PEERS_MAX {
            return Err(InvalidFrame::TooMany("peers"));
        }
        let mut peers = Vec::with_capacity(count);
        for _ in 0..count {
            peers.push(Heard {
                boot: BootId::from_bytes(take_16(from)?),
                frame: take_u64(from)?,
            });
        }
        let count = usize::try_from(take_u32(from)?).unwrap_or(usize::MAX);
        if count > limits::STATUS_ROOMS_MAX {
            return Err(InvalidFrame::TooMany("rooms"));
        }
        let mut rooms = Vec::with_capacity(count.min(from.len() / 28 + 1));
        for _ in 0..count {
            let wrote = Wrote {
                room: RoomId::from_bytes(take_16(from)?),
                number: take_u64(from)?,
                age_ms: take_u32(from)?,
            };
            // Numbers begin at 1, and after the last one nothing could follow.
            if matches!(wrote.number, 0 | u64::MAX) {
                return Err(InvalidFrame::Number);
            }
            rooms.push(wrote);
        }
        Ok(Self {
            boot,
            number,
            started,
            clock,
            position,
            reaches_log: flags & REACHES_LOG != 0,
            reaches_store: flags & REACHES_STORE != 0,
            goodbye: flags & GOODBYE != 0,
            since,
            peers,
            rooms,
        })
    }
}

fn take_u8(from: &mut &[u8]) -> Result<u8, InvalidFrame> {
    from.try_get_u8().map_err(|_| InvalidFrame::Short)
}

fn take_u32(from: &mut &[u8]) -> Result<u32, InvalidFrame> {
    from.try_get_u32().map_err(|_| InvalidFrame::Short)
}

fn take_u64(from: &mut &[u8]) -> Result<u64, InvalidFrame> {
    from.try_get_u64().map_err(|_| InvalidFrame::Short)
}

fn take_16(from: &mut &[u8]) -> Result<[u8; 16], InvalidFrame> {
    let mut bytes = [0; 16];
    from.try_copy_to_slice(&mut bytes).map_err(|_| InvalidFrame::Short)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> StatusFrame {
        StatusFrame {
            boot: BootId::from_bytes([1; 16]),
            number: 17,
            started: Timestamp::from_millis(1_699_999_000_000),
            clock: Timestamp::from_millis(1_700_000_000_000),
            position: [3; 16],
            reaches_log: true,
            reaches_store: false,
            goodbye: true,
            since: 14,
            peers: vec![Heard {
                boot: BootId::from_bytes([2; 16]),
                frame: 99,
            }],
            rooms: vec![Wrote {
                room: RoomId::from_bytes([5; 16]),
                number: u64::MAX - 1,
                age_ms: 2_500,
            }],
        }
    }

    #[test]
    fn a_frame_round_trips_and_no_cut_one_passes_for_whole() {
        let bytes = frame().encode();
        assert_eq!(StatusFrame::decode(&bytes), Ok(frame()));
        for end in 0..bytes.len() {
            assert_eq!(StatusFrame::decode(&bytes[..end]), Err(InvalidFrame::Short));
        }
    }

    #[test]
    fn what_a_newer_build_adds_is_passed_over() {
        let mut bytes = frame().encode().to_vec();
        bytes.extend_from_slice(b"one more field");
        assert_eq!(StatusFrame::decode(&bytes), Ok(frame()));
        bytes[1] = 2;
        assert_eq!(StatusFrame::decode(&bytes), Err(InvalidFrame::Version(2)));
        bytes[0] = 9;
        assert_eq!(StatusFrame::decode(&bytes), Err(InvalidFrame::Kind(9)));
    }

    #[test]
    fn the_largest_frame_keeps_within_its_bytes() {
        let mut largest = frame();
        largest.peers = vec![largest.peers[0]; limits::STATUS_PEERS_MAX];
        largest.rooms = vec![largest.rooms[0]; limits::STATUS_ROOMS_MAX];
        let bytes = largest.encode();
        assert!(bytes.len() <= limits::STATUS_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(StatusFrame::decode(&bytes), Ok(largest.clone()));
        largest.rooms.push(largest.rooms[0]);
        assert_eq!(
            StatusFrame::decode(&largest.encode()),
            Err(InvalidFrame::TooMany("rooms"))
        );
    }

    #[test]
    fn numbers_that_nobody_gives_are_refused() {
        for number in [0, u64::MAX] {
            let mut spoilt = frame();
            spoilt.rooms[0].number = number;
            assert_eq!(StatusFrame::decode(&spoilt.encode()), Err(InvalidFrame::Number));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), proper in any::<bool>()) {
            if proper && bytes.len() > 2 {
                (bytes[0], bytes[1]) = (KIND, VERSION);
            }
            let _ = StatusFrame::decode(&bytes);
        }
    }
}
