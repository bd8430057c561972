//! Any bytes, cut anywhere: the decoder never panics, never holds more than the limit allows, and gives the same events
//! and the same refusal as when it reads everything at once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{Decoder, Event, FrameError};

#[allow(dead_code, reason = "the decoder is only a part of what the modules offer")]
#[path = "../wire.rs"]
mod wire;

/// What a decoder may hold beyond the message itself.
const OVERHEAD: usize = 256;

fn run(stream: &[u8], limit: usize, sizes: &[u8]) -> (Vec<String>, Option<FrameError>) {
    let mut decoder = Decoder::new(limit);
    let mut seen = Vec::new();
    let mut rest = stream;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let size = if *size == 0 {
            rest.len()
        } else {
            usize::from(*size).min(rest.len())
        };
        let mut read = rest[..size].to_vec();
        rest = &rest[size..];
        let mut at = 0;
        while at < read.len() {
            match decoder.feed(&mut read[at..]) {
                Ok(step) => {
                    assert!(step.consumed > 0);
                    at += step.consumed;
                    if let Some(Event::Close { code, reason }) = &step.event {
                        seen.push(format!("close {code:?} {reason}"));
                    } else if let Some(event) = &step.event {
                        seen.push(format!("{event:?}"));
                    }
                }
                Err(error) => {
                    assert_eq!(decoder.heap_bytes(), 0);
                    return (seen, Some(error));
                }
            }
            assert!(decoder.heap_bytes() <= limit + OVERHEAD);
        }
    }
    (seen, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((settings, stream)) = input.split_at_checked(5) else {
        return;
    };
    let limit = usize::from(u16::from_le_bytes([settings[0], settings[1]]));
    assert_eq!(run(stream, limit, &[0]), run(stream, limit, &settings[2..]));
});
