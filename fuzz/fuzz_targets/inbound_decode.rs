//! Any text: the reader of client frames never panics, what it accepts keeps every bound, and what it refuses has a
//! code of the contract and says what is wrong.
#![no_main]
#![allow(
    dead_code,
    unused_imports,
    reason = "the reader uses only a part of what the modules offer"
)]

use libfuzzer_sys::fuzz_target;
use wire::inbound::{Command, decode};
use wire::outbound::{Outbound, Ref, to_json};

#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/model/mod.rs"]
mod model;
#[path = "../text.rs"]
mod wire;

const CODES: &[&str] = &[
    "invalid_json",
    "invalid_frame",
    "unknown_type",
    "message_empty",
    "message_too_long",
];

fn check(command: &Command) {
    let room = match command {
        Command::Send { room, message, .. } | Command::Edit { room, message, .. } => {
            assert!(!message.trim().is_empty());
            assert!(message.chars().count() <= model::message::MESSAGE_CHARS_MAX);
            room
        }
        Command::Join { room, from } => {
            assert!(from.latest <= limits::PAGE_MAX);
            room
        }
        Command::Unsubscribe { room }
        | Command::Leave { room }
        | Command::Delete { room, .. }
        | Command::Read { room, .. }
        | Command::Typing { room } => room,
        Command::Ping => &None,
    };
    assert!(room.as_ref().is_none_or(|room| !room.is_empty() && room.len() <= 36));
}

/// What is repeated in the answer has to be the same value as JSON.
fn repeated(reference: Option<&Ref>) {
    let answer: serde_json::Value = serde_json::from_slice(&to_json(&Outbound::Pong { reference })).expect("JSON");
    match reference {
        None => assert!(answer.get("ref").is_none()),
        Some(Ref::Number(number)) => assert_eq!(answer["ref"].as_i64(), Some(*number)),
        Some(Ref::Text(text)) => assert_eq!(answer["ref"].as_str(), Some(&**text)),
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match decode(text) {
        Ok(request) => {
            check(&request.command);
            repeated(request.reference.as_ref());
        }
        Err(rejected) => {
            assert!(CODES.contains(&rejected.code), "{}", rejected.code);
            assert!(!rejected.detail.is_empty());
            repeated(rejected.reference.as_ref());
        }
    }
});
