//! The archive: everything a store holds, as JSON lines that any store can write and read. docs/archive.md describes
//! the format for whoever reads one without this program.
//!
//! An archive is whole or refused: it begins with a header and ends with a count of its lines. Sessions are not in it:
//! after a move everybody logs in again.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::model::{EventId, Name, Role, RoomId, RoomKind, Timestamp, UserId};

/// The version of the format that this program writes, and the only one so far.
pub const VERSION: u32 = 1;

/// What can be wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read or written.
    #[error("the archive can't be read or written: {0}")]
    Io(#[from] io::Error),
    /// A line is not a record.
    #[error("line {line} of the archive is not a record: {why}")]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// It does not begin with a header.
    #[error("this is not an archive of Natter: the first line must be its header")]
    NoHeader,
    /// It was written by a later version.
    #[error("this archive has format version {0}; this program knows version {VERSION}: use a newer one")]
    Version(u32),
    /// It ends too early.
    #[error("the archive is cut off: its last line, which counts the others, is missing")]
    CutOff,
    /// It has lost or gained lines.
    #[error("the archive has {found} records where its last line counts {counted}")]
    Miscounted {
        /// How many there are.
        found: u64,
        /// How many there should be.
        counted: u64,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Store(String),
}

/// One line of an archive. Records come in the order of this list, so that whatever one names stands before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first line.
    Archive {
        /// [`VERSION`].
        version: u32,
        /// When it was made.
        made_at: Timestamp,
        /// The version of the program that made it.
        natter: String,
    },
    /// An account.
    User {
        /// Its id.
        id: UserId,
        /// Its name.
        name: Name,
        /// The password's hash as a PHC string, or `!` for none.
        password_hash: String,
        /// May use the admin area.
        superuser: bool,
        /// Can't log in.
        disabled: bool,
        /// When it was registered.
        created_at: Timestamp,
        /// When it last had a connection.
        last_seen: Option<Timestamp>,
    },
    /// An invite to register.
    Invite {
        /// What the newcomer has to give.
        code: String,
        /// Who made it.
        by: UserId,
        /// How many registrations it is still good for.
        uses_left: u32,
        /// Until when.
        expires_at: Timestamp,
    },
    /// A room.
    Room {
        /// Its id.
        id: RoomId,
        /// Its name; null for a direct conversation.
        name: Option<Name>,
        /// Its title.
        title: String,
        /// Its kind.
        kind: RoomKind,
        /// The two people of a direct conversation, lower id first.
        pair: Option<(UserId, UserId)>,
        /// When it was made.
        created_at: Timestamp,
        /// Read-only.
        archived: bool,
        /// Gone for everybody.
        deleted: bool,
    },
    /// A membership.
    Member {
        /// The room.
        room: RoomId,
        /// Who.
        user: UserId,
        /// Their role.
        role: Role,
        /// Since when.
        joined_at: Timestamp,
    },
    /// A ban.
    Ban {
        /// The room.
        room: RoomId,
        /// Who is banned.
        user: UserId,
        /// By whom.
        by: UserId,
        /// When.
        at: Timestamp,
    },
    /// A read marker.
    Marker {
        /// The room.
        room: RoomId,
        /// Whose.
        user: UserId,
        /// Up to which message.
        id: EventId,
    },
    /// A message in its present state.
    Message {
        /// The room.
        room: RoomId,
        /// Its id.
        id: EventId,
        /// Who wrote it.
        author: UserId,
        /// Their name.
        author_name: Name,
        /// The text; empty once it was deleted.
        body: String,
        /// The message it answers.
        reply_to: Option<EventId>,
        /// The client's nonce, while a retry may still come.
        nonce: Option<String>,
        /// Members named in it.
        mentions: Vec<UserId>,
        /// When it was last edited.
        edited_at: Option<Timestamp>,
        /// When it was deleted.
        deleted_at: Option<Timestamp>,
        /// The event that last changed it.
        last_event: Option<EventId>,
    },
    /// An edit, a deletion or a late message.
    Event {
        /// The room.
        room: RoomId,
        /// Its place in the room's order.
        id: EventId,
        /// What it is, as the store calls it.
        kind: String,
        /// The message that it concerns.
        message: EventId,
        /// Who did it.
        by: Option<UserId>,
        /// Members named in the new text.
        mentions: Vec<UserId>,
        /// The new text.
        body: Option<String>,
    },
    /// A line of the audit log.
    Audit {
        /// Its id, which is its time.
        id: EventId,
        /// Who did it; null for the command line.
        actor: Option<UserId>,
        /// Their name at that time.
        actor_name: String,
        /// What was done.
        action: String,
        /// To what.
        target: String,
        /// Further facts.
        detail: String,
    },
    /// The last line.
    End {
        /// How many records stand between header and end.
        records: u64,
    },
}

/// Writes an archive: the header at once, the end with [`Writer::finish`].
pub struct Writer<W: Write> {
    to: W,
    records: u64,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(to: W, now: Timestamp) -> Result<Self, Error> {
        let mut writer = Self { to, records: 0 };
        writer.line(&Record::Archive {
            version: VERSION,
            made_at: now,
            natter: env!("CARGO_PKG_VERSION").to_owned(),
        })?;
        Ok(writer)
    }

    /// Writes one record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn put(&mut self, record: &Record) -> Result<(), Error> {
        self.records += 1;
        self.line(record)
    }

    /// Ends the archive; answers how many records it holds, and what it was written to.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<(u64, W), Error> {
        self.line(&Record::End { records: self.records })?;
        self.to.flush()?;
        Ok((self.records, self.to))
    }

    fn line(&mut self, record: &Record) -> Result<(), Error> {
        serde_json::to_writer(&mut self.to, record).map_err(io::Error::from)?;
        Ok(self.to.write_all(b"\n")?)
    }
}

/// Reads an archive record by record.
pub struct Reader<R: BufRead> {
    from: R,
    line: u64,
    records: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::NoHeader`] or [`Error::Version`] if this is no archive that this program knows.
    pub fn begin(from: R) -> Result<Self, Error> {
        let mut reader = Self {
            from,
            line: 0,
            records: 0,
        };
        match reader.record() {
            Ok(Some(Record::Archive { version: VERSION, .. })) => Ok(reader),
            Ok(Some(Record::Archive { version, .. })) => Err(Error::Version(version)),
            Err(Error::Io(error)) => Err(Error::Io(error)),
            _ => Err(Error::NoHeader),
        }
    }

    /// The next record; `None` at the end, once its count was found right.
    ///
    /// # Errors
    /// [`Error`] if a line is damaged or the archive is not whole.
    pub fn read(&mut self) -> Result<Option<Record>, Error> {
        match self.record()? {
            None => Err(Error::CutOff),
            Some(Record::End { records }) if records == self.records => Ok(None),
            Some(Record::End { records }) => Err(Error::Miscounted {
                found: self.records,
                counted: records,
            }),
            Some(record) => {
                self.records += 1;
                Ok(Some(record))
            }
        }
    }

    /// The line that was read last, counted from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    fn record(&mut self) -> Result<Option<Record>, Error> {
        let mut text = Vec::new();
        let most = limits::ARCHIVE_LINE_BYTES_MAX;
        let mut bounded = io::Read::take(&mut self.from, most);
        let read = bounded.read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        let wrong = |why: String| Error::Line { line: self.line, why };
        if text.last() != Some(&b'\n') {
            let full = u64::try_from(read).is_ok_and(|read| read == most);
            return Err(if full {
                wrong(format!("it has more than {most} bytes"))
            } else {
                Error::CutOff
            });
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| wrong(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), Timestamp::from_millis(1_795_442_527_007)).unwrap();
        let member = Record::Member {
            room: RoomId::random(),
            user: UserId::random(),
            role: Role::Owner,
            joined_at: Timestamp::from_millis(5),
        };
        writer.put(&member).unwrap();
        let (records, bytes) = writer.finish().unwrap();
        assert_eq!(records, 1);
        bytes
    }

    fn outcome(bytes: &[u8]) -> Result<u64, Error> {
        let mut reader = Reader::begin(bytes)?;
        let mut records = 0;
        while reader.read()?.is_some() {
            records += 1;
        }
        Ok(records)
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(outcome(&archive()).unwrap(), 1);
    }

    #[test]
    fn an_archive_that_is_not_whole_is_refused() {
        let bytes = archive();
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        assert!(matches!(outcome(&lines[..2].concat()), Err(Error::CutOff)));
        assert!(matches!(outcome(&bytes[..bytes.len() - 1]), Err(Error::CutOff)));
        assert!(matches!(
            outcome(&[lines[0], lines[2]].concat()),
            Err(Error::Miscounted { found: 0, counted: 1 })
        ));
        assert!(matches!(outcome(&lines[1..].concat()), Err(Error::NoHeader)));
        assert!(matches!(outcome(b""), Err(Error::NoHeader)));
        let later = String::from_utf8(bytes.clone())
            .unwrap()
            .replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(outcome(later.as_bytes()), Err(Error::Version(2))));
        let damaged = String::from_utf8(bytes).unwrap().replacen("owner", "ower", 1);
        let error = outcome(damaged.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of the archive"), "{error}");
    }
}
