//! How the servers under load are spoken to: Natter's own protocol, and those of the servers that it is compared with.
//!
//! Every text of a load carries the same mark, so a delivery is recognised the same way in each of them.

use std::borrow::Cow;

use clap::ValueEnum;
use memchr::{memchr_iter, memmem};
use serde::Deserialize;

use super::plan::{Delivered, Marks};

/// The protocol of the server under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dialect {
    /// docs/protocol.md
    Natter,
    /// Its `send`, `ack`, `message` and `live` on /ws/chat/{room}/, without accounts and ids
    Plain,
    /// Socket.IO 4 over WebSocket: the room in the query, event `m` with an acknowledgement
    SocketIo,
    /// Centrifuge's JSON protocol; the server subscribes each connection to the channel in the query
    Centrifuge,
}

/// What a frame of the server's tells a load.
#[derive(Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Somebody's message.
    Delivery(Delivered),
    /// The sender's own message.
    Own,
    /// An own send is answered.
    Ack(u64),
    /// Deliveries can come from here on.
    Live,
    /// A refusal, by its code.
    Error(Cow<'a, str>),
    /// Who is there, in so many bytes.
    Presence(usize),
    /// A question of the transport, to be answered so.
    Asked(&'static str),
    /// What the protocol does not have.
    Broken,
    /// Anything else.
    Other,
}

/// Frames of Natter other than deliveries, as far as a load looks at them.
#[derive(Deserialize)]
struct Control<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "ref")]
    reference: Option<u64>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
}

/// A reply of Centrifuge's; one without an id is a push.
#[derive(Deserialize)]
struct Reply {
    id: Option<u64>,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    code: u32,
}

/// Centrifuge's commands have numbers: 1 connects, and from here on they are sends.
const FIRST_SEND: u64 = 2;

impl Dialect {
    /// Whether connections show a session.
    #[must_use]
    pub const fn has_users(self) -> bool {
        matches!(self, Self::Natter)
    }

    /// Whether messages have ids that sort.
    #[must_use]
    pub const fn has_ids(self) -> bool {
        matches!(self, Self::Natter)
    }

    /// Where a room's socket is.
    #[must_use]
    pub fn path(self, room: &str) -> String {
        match self {
            Self::Natter => format!("/ws/chat/{room}/?latest=0"),
            Self::Plain => format!("/ws/chat/{room}/"),
            Self::SocketIo => format!("/socket.io/?EIO=4&transport=websocket&room={room}"),
            Self::Centrifuge => format!("/connection/websocket?room={room}"),
        }
    }

    /// What is said first.
    #[must_use]
    pub const fn greeting(self) -> Option<&'static str> {
        match self {
            Self::Natter | Self::Plain | Self::SocketIo => None,
            Self::Centrifuge => Some(r#"{"id":1,"connect":{}}"#),
        }
    }

    /// The frame that sends a text. `nonce` is used where the protocol has one.
    #[must_use]
    pub fn send(self, room: &str, seq: u64, nonce: Option<&str>, text: &str) -> String {
        match (self, nonce) {
            (Self::Natter, Some(nonce)) => {
                format!(r#"{{"type":"send","ref":{seq},"nonce":"{nonce}","message":"{text}"}}"#)
            }
            (Self::Natter | Self::Plain, _) => format!(r#"{{"type":"send","ref":{seq},"message":"{text}"}}"#),
            (Self::SocketIo, _) => format!(r#"42{seq}["m","{text}"]"#),
            (Self::Centrifuge, _) => {
                let id = FIRST_SEND + seq;
                format!(r#"{{"id":{id},"publish":{{"channel":"{room}","data":"{text}"}}}}"#)
            }
        }
    }

    /// Says what a text frame tells connection `own`; Centrifuge's frames can tell several things.
    pub fn read<'a>(self, marks: &Marks, own: usize, frame: &'a [u8], mut told: impl FnMut(Told<'a>)) {
        match self {
            Self::Natter | Self::Plain => told(match marks.read(frame, self.has_ids()) {
                // A server that sends everybody everything acknowledges by that.
                Some(message) if self == Self::Plain && message.sender == own => Told::Ack(message.seq),
                Some(message) => Told::Delivery(message),
                None => control(frame),
            }),
            Self::SocketIo => told(match marks.read(frame, false) {
                Some(message) => Told::Delivery(message),
                None => packet(frame),
            }),
            Self::Centrifuge => {
                let mut start = 0;
                for end in memchr_iter(b'\n', frame).chain([frame.len()]) {
                    let line = &frame[start..end];
                    start = end + 1;
                    told(match marks.read(line, false) {
                        Some(message) if message.sender == own => Told::Own,
                        Some(message) => Told::Delivery(message),
                        None => reply(line),
                    });
                }
            }
        }
    }
}

fn control(frame: &[u8]) -> Told<'_> {
    let Ok(control) = serde_json::from_slice::<Control<'_>>(frame) else {
        return Told::Broken;
    };
    match (&*control.kind, control.reference) {
        ("ack", Some(seq)) => Told::Ack(seq),
        ("live", _) => Told::Live,
        ("presence", _) => Told::Presence(frame.len()),
        ("error", _) => Told::Error(control.code.unwrap_or(Cow::Borrowed("(none)"))),
        _ => Told::Other,
    }
}

/// A packet of Engine.IO with one of Socket.IO in it.
fn packet(frame: &[u8]) -> Told<'_> {
    match frame {
        [b'0', ..] => Told::Asked("40"),
        [b'2', ..] => Told::Asked("3"),
        [b'4', b'3', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let seq = std::str::from_utf8(&rest[..digits])
                .ok()
                .and_then(|text| text.parse().ok());
            seq.map_or(Told::Broken, Told::Ack)
        }
        [b'4', b'2', rest @ ..] if memmem::find(rest, b"\"live\"").is_some() => Told::Live,
        [b'4', b'4', ..] => Told::Error(Cow::Borrowed("connect_error")),
        _ => Told::Other,
    }
}

fn reply(line: &[u8]) -> Told<'_> {
    if line == b"{}" {
        return Told::Asked("{}");
    }
    match serde_json::from_slice::<Reply>(line) {
        Ok(Reply { error: Some(error), .. }) => Told::Error(Cow::Owned(error.code.to_string())),
        Ok(Reply { id: Some(1), .. }) => Told::Live,
        Ok(Reply { id: Some(id), .. }) => id.checked_sub(FIRST_SEND).map_or(Told::Broken, Told::Ack),
        Ok(Reply { id: None, .. }) => Told::Other,
        Err(_) => Told::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::plan::Plan;

    fn told(dialect: Dialect, frame: &str) -> Vec<String> {
        let marks = Marks::of(&Plan {
            run: 7,
            ..Plan::example()
        });
        let mut all = Vec::new();
        dialect.read(&marks, 5, frame.as_bytes(), |told| {
            all.push(match told {
                Told::Delivery(message) => format!("{} of {}", message.seq, message.sender),
                other => format!("{other:?}"),
            });
        });
        all
    }

    #[test]
    fn each_dialect_is_understood() {
        for (dialect, frame, expected) in [
            (Dialect::Natter, r#"{"type":"live"}"#, "Live"),
            (Dialect::Natter, r#"{"type":"presence"}"#, "Presence(19)"),
            (
                Dialect::Natter,
                r#"{"type":"error","code":"refused"}"#,
                "Error(\"refused\")",
            ),
            (Dialect::Natter, "x", "Broken"),
            (
                Dialect::Plain,
                r#"{"type":"message","message":"nb:00000007:2:9 "}"#,
                "9 of 2",
            ),
            (Dialect::Plain, r#"{"type":"ack","ref":3}"#, "Ack(3)"),
            (
                Dialect::Plain,
                r#"{"type":"message","message":"nb:00000007:5:9 "}"#,
                "Ack(9)",
            ),
            (Dialect::SocketIo, r#"0{"sid":"x"}"#, "Asked(\"40\")"),
            (Dialect::SocketIo, "2", "Asked(\"3\")"),
            (Dialect::SocketIo, r#"42["live"]"#, "Live"),
            (Dialect::SocketIo, r#"42["m","nb:00000007:2:9 "]"#, "9 of 2"),
            (Dialect::SocketIo, "4317[]", "Ack(17)"),
            (Dialect::Centrifuge, r#"{"id":1,"connect":{"client":"c"}}"#, "Live"),
            (Dialect::Centrifuge, r#"{"id":6,"publish":{}}"#, "Ack(4)"),
            (
                Dialect::Centrifuge,
                r#"{"id":6,"error":{"code":103}}"#,
                "Error(\"103\")",
            ),
            (Dialect::Centrifuge, "{}", "Asked(\"{}\")"),
        ] {
            assert_eq!(told(dialect, frame), [expected], "{frame}");
        }
        let two = "{\"push\":{\"pub\":{\"data\":\"nb:00000007:2:9 \"}}}\n{\"push\":{\"pub\":{\"data\":\"nb:00000007:5:1 \"}}}";
        assert_eq!(told(Dialect::Centrifuge, two), ["9 of 2", "Own"]);
    }

    #[test]
    fn sends_are_what_each_dialect_has() {
        assert_eq!(
            Dialect::Natter.send("r", 1, Some("n"), "t"),
            r#"{"type":"send","ref":1,"nonce":"n","message":"t"}"#
        );
        assert_eq!(
            Dialect::Plain.send("r", 1, Some("n"), "t"),
            r#"{"type":"send","ref":1,"message":"t"}"#
        );
        assert_eq!(Dialect::SocketIo.send("r", 1, None, "t"), r#"421["m","t"]"#);
        assert_eq!(
            Dialect::Centrifuge.send("r", 1, None, "t"),
            r#"{"id":3,"publish":{"channel":"r","data":"t"}}"#
        );
    }
}
