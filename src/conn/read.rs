//! From bytes to what a client wants: the decoder, fed from a buffer on the stack.

use std::io;

use crate::fanout::Link;
use crate::limits;
use crate::wire::close::CloseCode;
use crate::wire::frame::{Decoder, Event};
use crate::wire::inbound::{self, Rejected, Request};

/// Bytes read at once. The buffer lives on the stack, so an idle connection has none.
const READ_BYTES: usize = 8 * 1024;

/// Something that a client said.
#[derive(Debug)]
pub enum Incoming {
    /// A request.
    Request(Request),
    /// A frame that is no request.
    Rejected(Rejected),
    /// A ping to be answered.
    Ping(Vec<u8>),
    /// It closes, with this code.
    Close(Option<u16>),
    /// It broke the protocol.
    Broken(CloseCode),
    /// The stream has ended.
    End,
}

/// A decoder for a connection.
#[must_use]
pub fn decoder() -> Decoder {
    Decoder::text_only(limits::FRAME_BYTES_MAX)
}

/// Reads once and decodes what is complete.
#[must_use]
pub fn read(link: &Link, decoder: &mut Decoder, now: u32) -> Vec<Incoming> {
    let mut buffer = [0; READ_BYTES];
    match link.try_read(&mut buffer) {
        Ok(0) => vec![Incoming::End],
        Ok(count) => {
            // Also a pong or a part of a frame is a sign of life.
            link.heard(now);
            decode(decoder, &mut buffer[..count])
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
        Err(_) => vec![Incoming::End],
    }
}

/// Decodes what is complete in these bytes.
#[must_use]
pub fn decode(decoder: &mut Decoder, bytes: &mut [u8]) -> Vec<Incoming> {
    let mut incoming = Vec::new();
    let mut at = 0;
    while at < bytes.len() && !decoder.is_over() {
        match decoder.feed(&mut bytes[at..]) {
            Ok(step) => {
                at += step.consumed;
                incoming.extend(step.event.and_then(meaning_of));
            }
            Err(error) => incoming.push(Incoming::Broken(error.close_code())),
        }
    }
    incoming
}

fn meaning_of(event: Event<'_>) -> Option<Incoming> {
    Some(match event {
        Event::Text(text) => match inbound::decode(&text) {
            Ok(request) => Incoming::Request(request),
            Err(rejected) => Incoming::Rejected(rejected),
        },
        Event::Binary(_) => Incoming::Broken(CloseCode::Unsupported),
        Event::Ping(payload) => Incoming::Ping(payload.into_owned()),
        Event::Pong => return None,
        Event::Close { code, .. } => Incoming::Close(code),
    })
}
