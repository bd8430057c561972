//! The frames that clients send, decoded strictly: every field that is present is checked, unknown ones are ignored.
//!
//! Each field is taken as raw JSON first, so that an error can name the field and still repeat the request's `ref`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::outbound::Ref;
use crate::limits;
use crate::model::message::{InvalidBody, check_body};
use crate::model::{EventId, Nonce};

/// The longest text `ref`, in characters.
const REF_CHARS_MAX: usize = 64;
/// The longest text that can name a room: an id with hyphens.
const ROOM_BYTES_MAX: usize = 36;

/// A digest of the messages a client holds before its cursor, to spare the replay of the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub count: u32,
    /// The exclusive or of their ids.
    pub xor: u128,
    /// The oldest id of the client's gap-free tail; `None` if it reaches back the whole span.
    pub from: Option<EventId>,
}

impl Digest {
    /// Reads `COUNT.XOR` or `COUNT.XOR.FROM`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let count = parts.next()?.parse().ok()?;
        let xor = parts.next().filter(|hex| hex.len() == 32)?;
        let xor = u128::from_str_radix(xor, 16).ok()?;
        let from = match parts.next() {
            Some(id) => Some(EventId::parse(id).ok()?),
            None => None,
        };
        parts.next().is_none().then_some(Self { count, xor, from })
    }
}

/// What a join asks to see first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinFrom {
    /// The cursor to resume from.
    pub since: Option<EventId>,
    /// What is held before it.
    pub have: Option<Digest>,
    /// How many of the newest messages a first join wants.
    pub latest: usize,
}

impl Default for JoinFrom {
    fn default() -> Self {
        Self {
            since: None,
            have: None,
            latest: limits::JOIN_MESSAGES,
        }
    }
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Send a message.
    Send {
        /// Where to; `None` on a one-room socket.
        room: Option<Box<str>>,
        /// The checked text.
        message: String,
        /// Makes a retry safe.
        nonce: Option<Nonce>,
        /// An earlier attempt may have been stored.
        retry: bool,
        /// The message it answers.
        reply_to: Option<EventId>,
    },
    /// Hear a room.
    Join {
        /// Which.
        room: Option<Box<str>>,
        /// From where.
        from: JoinFrom,
    },
    /// Stop hearing a room.
    Unsubscribe {
        /// Which.
        room: Option<Box<str>>,
    },
    /// End the membership.
    Leave {
        /// Of which room.
        room: Option<Box<str>>,
    },
    /// Give a message a new text.
    Edit {
        /// In which room.
        room: Option<Box<str>>,
        /// Which message.
        id: EventId,
        /// The checked text.
        message: String,
    },
    /// Remove a message.
    Delete {
        /// In which room.
        room: Option<Box<str>>,
        /// Which message.
        id: EventId,
    },
    /// Move the read marker.
    Read {
        /// In which room.
        room: Option<Box<str>>,
        /// To which message.
        id: EventId,
    },
    /// Show that one types.
    Typing {
        /// In which room.
        room: Option<Box<str>>,
    },
    /// Is anybody there?
    Ping,
}

/// A decoded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// To be repeated in the answer.
    pub reference: Option<Ref>,
    /// What is wanted.
    pub command: Command,
}

/// A frame that can't be understood: what the `error` answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// To be repeated in the answer, as far as it could be read.
    pub reference: Option<Ref>,
    /// The send's nonce, as far as it could be read.
    pub nonce: Option<Nonce>,
    /// A code of docs/protocol.md section 6.
    pub code: &'static str,
    /// What is wrong, where, and what to do.
    pub detail: String,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "ref")]
    reference: Option<&'a RawValue>,
    #[serde(borrow)]
    room: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    nonce: Option<&'a RawValue>,
    #[serde(borrow)]
    retry: Option<&'a RawValue>,
    #[serde(borrow)]
    reply_to: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    have: Option<&'a RawValue>,
    #[serde(borrow)]
    latest: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

type Wrong = (&'static str, String);

fn wrong<T>(field: &str, expected: &str) -> Result<T, Wrong> {
    Err(("invalid_frame", format!("\"{field}\" must be {expected}")))
}

/// A field's value; JSON null counts as absent.
fn field<T: DeserializeOwned>(raw: Option<&RawValue>, name: &str, expected: &str) -> Result<Option<T>, Wrong> {
    match raw {
        None => Ok(None),
        Some(raw) if raw.get() == "null" => Ok(None),
        Some(raw) => match serde_json::from_str(raw.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => wrong(name, expected),
        },
    }
}

impl Raw<'_> {
    fn reference(&self) -> Result<Option<Ref>, Wrong> {
        const EXPECTED: &str = "an integer or a string of at most 64 characters";
        let Some(value) = field::<serde_json::Value>(self.reference, "ref", EXPECTED)? else {
            return Ok(None);
        };
        match value {
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => Ok(Some(Ref::Number(number))),
                None => wrong("ref", EXPECTED),
            },
            serde_json::Value::String(text) if text.chars().nth(REF_CHARS_MAX).is_none() => {
                Ok(Some(Ref::Text(text.into())))
            }
            _ => wrong("ref", EXPECTED),
        }
    }

    fn room(&self) -> Result<Option<Box<str>>, Wrong> {
        const EXPECTED: &str = "a room's name (1 to 32 letters, digits, \"_\" or \"-\") or its id";
        match field::<Box<str>>(self.room, "room", EXPECTED)? {
            Some(room) if room.is_empty() || room.len() > ROOM_BYTES_MAX => wrong("room", EXPECTED),
            room => Ok(room),
        }
    }

    fn nonce(&self) -> Result<Option<Nonce>, Wrong> {
        const EXPECTED: &str = "1 to 64 letters, digits, \"_\" or \"-\"";
        let Some(text) = field::<Box<str>>(self.nonce, "nonce", EXPECTED)? else {
            return Ok(None);
        };
        match Nonce::parse(&text) {
            Some(nonce) => Ok(Some(nonce)),
            None => wrong("nonce", EXPECTED),
        }
    }

    fn event_id(raw: Option<&RawValue>, name: &str) -> Result<Option<EventId>, Wrong> {
        field::<EventId>(raw, name, "the id of a message or event (a UUID of version 7)")
    }

    fn target(&self) -> Result<EventId, Wrong> {
        match Self::event_id(self.id, "id")? {
            Some(id) => Ok(id),
            None => wrong("id", "given: the id of the message this is about"),
        }
    }

    fn body(&self) -> Result<String, Wrong> {
        let Some(body) = field::<String>(self.message, "message", "a string")? else {
            return wrong("message", "given: the text of the message");
        };
        match check_body(&body) {
            Ok(()) => Ok(body),
            Err(error @ InvalidBody::Empty) => Err(("message_empty", format!("{error}: write something"))),
            Err(error @ InvalidBody::TooLong) => Err(("message_too_long", format!("{error}: shorten it"))),
        }
    }

    fn join_from(&self) -> Result<JoinFrom, Wrong> {
        let have = match field::<Box<str>>(self.have, "have", "a digest COUNT.XOR or COUNT.XOR.FROM")? {
            None => None,
            Some(text) => match Digest::parse(&text) {
                None => return wrong("have", "a digest COUNT.XOR or COUNT.XOR.FROM"),
                digest => digest,
            },
        };
        let latest = match field::<usize>(self.latest, "latest", "a number from 0 to 50")? {
            None => limits::JOIN_MESSAGES,
            Some(latest) if latest <= limits::JOIN_MESSAGES => latest,
            Some(_) => return wrong("latest", "a number from 0 to 50"),
        };
        Ok(JoinFrom {
            since: Self::event_id(self.since, "since")?,
            have,
            latest,
        })
    }

    fn command(&self) -> Result<Command, Wrong> {
        let kind = field::<Box<str>>(self.kind, "type", "a string")?;
        let room = self.room()?;
        Ok(match kind.as_deref() {
            Some("send") => self.send(room)?,
            None if self.message.is_some() => self.send(room)?,
            None => return wrong("type", "given: the type of the frame (see docs/protocol.md section 3)"),
            Some("join") => Command::Join {
                room,
                from: self.join_from()?,
            },
            Some("unsubscribe") => Command::Unsubscribe { room },
            Some("leave") => Command::Leave { room },
            Some("edit") => Command::Edit {
                room,
                id: self.target()?,
                message: self.body()?,
            },
            Some("delete") => Command::Delete {
                room,
                id: self.target()?,
            },
            Some("read") => Command::Read {
                room,
                id: self.target()?,
            },
            Some("typing") => Command::Typing { room },
            Some("ping") => Command::Ping,
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                return Err((
                    "unknown_type",
                    format!("there is no frame of type \"{shown}\": see docs/protocol.md"),
                ));
            }
        })
    }

    fn send(&self, room: Option<Box<str>>) -> Result<Command, Wrong> {
        Ok(Command::Send {
            room,
            message: self.body()?,
            nonce: self.nonce()?,
            retry: field(self.retry, "retry", "true or false")?.unwrap_or(false),
            reply_to: Self::event_id(self.reply_to, "reply_to")?,
        })
    }
}

/// Decodes one frame.
///
/// # Errors
/// [`Rejected`] is what the `error` answer says.
pub fn decode(text: &str) -> Result<Request, Rejected> {
    let raw: Raw<'_> = match serde_json::from_str(text) {
        Ok(raw) if text.trim_start().starts_with('{') => raw,
        Ok(_) => return Err(invalid_json("a frame must be a JSON object")),
        Err(error) => return Err(invalid_json(&format!("a frame must be a JSON object: {error}"))),
    };
    let nonce = raw.nonce().ok().flatten();
    let reference = match raw.reference() {
        Ok(reference) => reference,
        Err((code, detail)) => {
            return Err(Rejected {
                reference: None,
                nonce,
                code,
                detail,
            });
        }
    };
    match raw.command() {
        Ok(command) => Ok(Request { reference, command }),
        Err((code, detail)) => Err(Rejected {
            reference,
            nonce,
            code,
            detail,
        }),
    }
}

fn invalid_json(detail: &str) -> Rejected {
    Rejected {
        reference: None,
        nonce: None,
        code: "invalid_json",
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> &'static str {
        decode(text).unwrap_err().code
    }

    #[test]
    fn a_bare_message_is_a_send() {
        let request = decode(r#"{"message": "hi\n\"you\"", "colour": 7}"#).unwrap();
        assert_eq!(request.reference, None);
        let Command::Send {
            room: None,
            message,
            nonce: None,
            retry: false,
            reply_to: None,
        } = request.command
        else {
            panic!("not a bare send")
        };
        assert_eq!(message, "hi\n\"you\"");
    }

    #[test]
    fn every_type_is_understood() {
        let id = EventId::new(1, 2, 3);
        let cases = [
            format!(r#"{{"type":"send","room":"a","message":"x","nonce":"n-1","retry":true,"reply_to":"{id}"}}"#),
            format!(
                r#"{{"type":"join","room":"a","since":"{id}","have":"0.{:032x}.{id}","latest":0}}"#,
                0
            ),
            r#"{"type":"unsubscribe","room":"a"}"#.into(),
            r#"{"type":"leave","room":"a","ref":"r"}"#.into(),
            format!(r#"{{"type":"edit","room":"a","id":"{id}","message":"y"}}"#),
            format!(r#"{{"type":"delete","room":"a","id":"{id}"}}"#),
            format!(r#"{{"type":"read","room":"a","id":"{id}"}}"#),
            r#"{"type":"typing","room":null}"#.into(),
            r#"{"type":"ping","ref":9}"#.into(),
        ];
        for case in cases {
            decode(&case).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        }
    }

    #[test]
    fn errors_name_the_field_and_keep_the_ref() {
        let rejected = decode(r#"{"type":"send","ref":"r1","nonce":"n1","message":7}"#).unwrap_err();
        assert_eq!(rejected.code, "invalid_frame");
        assert_eq!(rejected.reference, Some(Ref::Text("r1".into())));
        assert_eq!(rejected.nonce, Nonce::parse("n1"));
        assert!(rejected.detail.contains("\"message\""));
        assert_eq!(code("[]"), "invalid_json");
        assert_eq!(code("7"), "invalid_json");
        assert_eq!(code("{\"message\": \"x\""), "invalid_json");
        assert_eq!(code(r#"{"type":"dance","ref":1}"#), "unknown_type");
        assert_eq!(code(r#"{"message":"  "}"#), "message_empty");
        assert_eq!(
            code(&format!(r#"{{"message":"{}"}}"#, "a".repeat(4_001))),
            "message_too_long"
        );
        assert_eq!(code(r#"{"type":"edit","message":"x"}"#), "invalid_frame");
        assert_eq!(code(r#"{"type":"join","room":"a","latest":51}"#), "invalid_frame");
        assert_eq!(code(r#"{"type":"join","room":"a","have":"1.2"}"#), "invalid_frame");
        assert_eq!(code(r#"{"type":"ping","ref":{}}"#), "invalid_frame");
        assert_eq!(code("{}"), "invalid_frame");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = decode(&text);
        }
    }
}
