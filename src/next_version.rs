//! What a later version may do otherwise, in test builds only (the feature `next-version`), and there only when a hidden
//! flag says so: for the test that runs such nodes beside present ones. It never is part of a release.
//!
//! It writes what the contract of envelopes (`rooms::envelope`) and of the schema lets a later version write: fields at the end of envelopes, another layout of them,
//! kinds of events that nobody knows yet, on the channel layer and in the store, and one more column.

#[cfg(all(feature = "next-version", not(debug_assertions)))]
compile_error!("the feature next-version is for test builds: leave it out of a release");

use std::borrow::Cow;
use std::sync::OnceLock;

use bytes::{BufMut as _, BytesMut};

use crate::model::EventId;

/// How far from the present version it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Next {
    /// Envelopes have fields at their end that the present version does not know.
    Appended,
    /// Envelopes of durable events have another layout too.
    Layout,
}

/// The migration that comes with it.
pub const MIGRATION: &str =
    "-- natter: runs with 1\nALTER TABLE messages ADD next_mark text;\nALTER TABLE room_events ADD next_mark text;\n";
/// A durable kind that no version knows, in an envelope and in the store.
pub const KIND: u8 = 100;
/// The same in the store.
pub const KIND_NAME: &str = "reaction";
/// The version of the other layout.
const LAYOUT: u8 = 2;
/// What a durable header begins with in every layout: who, which number, when the one before, which event.
const PRELUDE: usize = 48;

static NEXT: OnceLock<Next> = OnceLock::new();

/// From now on this process is of the next version.
pub fn begin(next: Next) {
    let _ = NEXT.set(next);
}

/// Whether it is.
#[must_use]
pub fn is_on() -> bool {
    NEXT.get().is_some()
}

/// Makes a header that of the next version; answers the version of its layout, where that is another.
pub fn written(header: &mut BytesMut, is_durable: bool) -> Option<u8> {
    let next = NEXT.get()?;
    header.put_slice(b"what nobody knows yet");
    if *next == Next::Appended || !is_durable {
        return None;
    }
    let rest = header.split_off(PRELUDE);
    header.put_u8(0xff);
    header.put_slice(&rest);
    Some(LAYOUT)
}

/// A header of the other layout in the present one; `None` where this process does not know that layout.
#[must_use]
pub fn read(version: u8, header: &[u8]) -> Option<Vec<u8>> {
    let knows = NEXT.get() == Some(&Next::Layout) && version == LAYOUT && header.len() > PRELUDE;
    knows.then(|| [&header[..PRELUDE], &header[PRELUDE + 1..]].concat())
}

/// The event of an unknown kind that comes with a message.
#[must_use]
pub const fn event_beside(message: EventId) -> EventId {
    EventId::new(message.timestamp().millis(), message.counter(), !message.attempt_hash())
}

/// A statement of the store, with one more column where the next version has it.
#[must_use]
pub fn statement<'a>(name: &str, cql: &'a str) -> Cow<'a, str> {
    if !is_on() || name != "message_insert" {
        return Cow::Borrowed(cql);
    }
    let cql = cql.replace("nonce)", "nonce, next_mark)");
    Cow::Owned(cql.replace("?) USING", "?, 'next') USING"))
}
