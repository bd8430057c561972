//! Ids. Rooms, users and connections have random ones; messages and events have UUIDv7 that sort by time.
//!
//! An event id carries 48 bits of milliseconds, 12 bits of counter and 62 bits that are a hash of the attempt (author,
//! room, nonce, body): two rows that come from two attempts at one send are recognised by it. Sorting works as
//! strings, as blobs and in a CQL `uuid` column, because version and variant bits are constant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::timestamp::Timestamp;

/// A text that is not an id: neither 36 characters with hyphens nor 32 hex digits, or of the wrong version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a UUID, 36 characters with hyphens or 32 hex digits")]
pub struct InvalidId;

fn parse_uuid(text: &str) -> Result<Uuid, InvalidId> {
    // The uuid crate also accepts braces and URNs; the protocol does not.
    if text.len() != 36 && text.len() != 32 {
        return Err(InvalidId);
    }
    Uuid::try_parse(text).map_err(|_| InvalidId)
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with exactly these bytes, most significant first.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The 16 bytes, most significant first: they sort as the id does.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id as one number; orders as the id does.
            #[must_use]
            pub const fn as_u128(&self) -> u128 {
                self.0.as_u128()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! random_id_type {
    ($(#[$doc:meta])* $name:ident) => {
        id_type!($(#[$doc])* $name);

        impl $name {
            /// A fresh id from the operating system's randomness (UUIDv4).
            #[must_use]
            pub fn random() -> Self {
                Self(uuid::Builder::from_random_bytes(rand::random()).into_uuid())
            }

            /// Reads 36 characters with hyphens or 32 hex digits.
            ///
            /// # Errors
            /// [`InvalidId`] for anything else.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                parse_uuid(text).map(Self)
            }
        }
    };
}

random_id_type!(
    /// A user's id; it never changes and is never used again.
    UserId
);
random_id_type!(
    /// A room's id. Named rooms have random ones, direct conversations one that follows from the two people.
    RoomId
);
random_id_type!(
    /// One WebSocket.
    ConnectionId
);
random_id_type!(
    /// One run of one server process.
    BootId
);
id_type!(
    /// A message's or another durable event's id (UUIDv7): its place in the one order of its room.
    EventId
);

impl RoomId {
    /// The id of the direct conversation of two people: the same whoever opens it and on whatever node, so that no
    /// lock is needed to make it once. It is a UUIDv8 over the SHA-256 of both ids in ascending order.
    #[must_use]
    pub fn direct(a: UserId, b: UserId) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self(hashed_uuid(&[b"natter direct room", low.as_bytes(), high.as_bytes()]))
    }

    /// The id of a user's inbox, the room of one that reaches them wherever they are connected.
    #[must_use]
    pub fn inbox(user: UserId) -> Self {
        Self(hashed_uuid(&[b"natter inbox", user.as_bytes()]))
    }
}

fn hashed_uuid(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const MILLIS_MAX: u64 = (1 << 48) - 1;
const HASH_MASK: u64 = (1 << 62) - 1;

impl EventId {
    /// The greatest counter value within one millisecond.
    pub const COUNTER_MAX: u16 = 0xfff;

    /// Puts an id together. `millis` is cut to 48 bits, `counter` to 12, `hash` to 62.
    #[must_use]
    pub const fn new(millis: u64, counter: u16, hash: u64) -> Self {
        let high = ((millis & MILLIS_MAX) << 16) | 0x7000 | (counter & Self::COUNTER_MAX) as u64;
        let low = (0b10 << 62) | (hash & HASH_MASK);
        Self(Uuid::from_u64_pair(high, low))
    }

    /// The least id of a millisecond: a bound for ranges that still has the version nibble 7.
    #[must_use]
    pub const fn floor_of(at: Timestamp) -> Self {
        Self::new(at.millis(), 0, 0)
    }

    /// The greatest id of a millisecond.
    #[must_use]
    pub const fn ceil_of(at: Timestamp) -> Self {
        Self::new(at.millis(), Self::COUNTER_MAX, HASH_MASK)
    }

    /// When the id was made, by the clock of the node that made it.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.0.as_u64_pair().0 >> 16)
    }

    /// The counter within the millisecond.
    #[must_use]
    pub const fn counter(&self) -> u16 {
        (self.0.as_u64_pair().0 & 0xfff) as u16
    }

    /// The 62 bits that recognise two attempts at one send.
    #[must_use]
    pub const fn attempt_hash(&self) -> u64 {
        self.0.as_u64_pair().1 & HASH_MASK
    }

    /// Reads 36 characters with hyphens or 32 hex digits.
    ///
    /// # Errors
    /// [`InvalidId`] for anything else, also for a UUID that is not of version 7: it would break the order.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let uuid = parse_uuid(text)?;
        let (high, low) = uuid.as_u64_pair();
        if (high >> 12) & 0xf != 7 || low >> 62 != 0b10 {
            return Err(InvalidId);
        }
        Ok(Self(uuid))
    }
}

/// The 62-bit hash of an attempt at a send. Without a nonce every attempt is its own, so `nonce` is then random bytes.
#[must_use]
pub fn attempt_hash(author: UserId, room: RoomId, nonce: &[u8], body: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(author.as_bytes());
    hash.update(room.as_bytes());
    // The length keeps (nonce, body) pairs apart that would otherwise join to the same bytes.
    hash.update([u8::try_from(nonce.len()).unwrap_or(u8::MAX)]);
    hash.update(nonce);
    hash.update(body.as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(bytes) & HASH_MASK
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn event_id_parts_round_trip(millis in 0..=MILLIS_MAX, counter in 0..=0xfffu16, hash in 0..=HASH_MASK) {
            let id = EventId::new(millis, counter, hash);
            prop_assert_eq!(id.timestamp().millis(), millis);
            prop_assert_eq!(id.counter(), counter);
            prop_assert_eq!(id.attempt_hash(), hash);
            prop_assert_eq!(EventId::parse(&id.to_string()), Ok(id));
            prop_assert_eq!(EventId::parse(&id.to_string().replace('-', "")), Ok(id));
        }

        #[test]
        fn event_ids_order_as_strings_bytes_and_time(a in any::<(u32, u16, u64)>(), b in any::<(u32, u16, u64)>()) {
            let a = EventId::new(a.0.into(), a.1, a.2);
            let b = EventId::new(b.0.into(), b.1, b.2);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.cmp(&b), a.as_bytes().cmp(b.as_bytes()));
        }
    }

    #[test]
    fn other_versions_are_refused_as_event_ids() {
        assert_eq!(EventId::parse("f47ac10b-58cc-4372-a567-0e02b2c3d479"), Err(InvalidId));
        assert_eq!(EventId::parse("{0190163d-8694-739b-aea5-966c26f8ad91}"), Err(InvalidId));
        assert_eq!(EventId::parse(""), Err(InvalidId));
    }

    #[test]
    fn a_direct_room_is_the_same_from_both_sides() {
        let (a, b) = (UserId::random(), UserId::random());
        assert_eq!(RoomId::direct(a, b), RoomId::direct(b, a));
        assert_ne!(RoomId::direct(a, b), RoomId::inbox(a));
    }

    #[test]
    fn the_attempt_hash_tells_nonce_from_body() {
        let (user, room) = (UserId::random(), RoomId::random());
        assert_eq!(
            attempt_hash(user, room, b"n", "hi"),
            attempt_hash(user, room, b"n", "hi")
        );
        assert_ne!(
            attempt_hash(user, room, b"nh", "i"),
            attempt_hash(user, room, b"n", "hi")
        );
    }
}
