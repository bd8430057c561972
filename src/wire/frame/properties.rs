//! The codec against any stream in any pieces, with the other implementation's client framing as a second opinion.

use fastwebsockets::{Frame, OpCode, Payload};
use proptest::prelude::*;

use super::tests::{OVERHEAD, Seen, read};
use super::*;

/// One thing that a client sends.
#[derive(Debug, Clone)]
enum Sent {
    /// A message, cut at these places (modulo what is left).
    Message {
        binary: bool,
        text: String,
        cuts: Vec<usize>,
    },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn controls() -> impl Strategy<Value = Sent> {
    let payload = || prop::collection::vec(any::<u8>(), 0..=CONTROL_MAX);
    prop_oneof![payload().prop_map(Sent::Ping), payload().prop_map(Sent::Pong)]
}

fn sent() -> impl Strategy<Value = Sent> {
    let text = prop_oneof![4 => "\\PC{0,40}", 1 => "[a-zü€😀]{100,200}", 1 => "[x€]{20000,22000}"];
    let cuts = prop::collection::vec(any::<usize>(), 0..4);
    let message = (any::<bool>(), text, cuts).prop_map(|(binary, text, cuts)| Sent::Message { binary, text, cuts });
    prop_oneof![3 => message, 1 => controls()]
}

/// Frames what was sent with the other implementation's client side, a control frame after each fragment, and says
/// what has to come out.
fn framed(sent: &[Sent], between: &[Sent]) -> (Vec<u8>, Vec<Seen>) {
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    let mut between = between.iter().cycle();
    let mut put = |fin, opcode, payload: &[u8]| {
        let mut frame = Frame::new(fin, opcode, None, Payload::Owned(payload.to_vec()));
        frame.mask();
        let mut buffer = Vec::new();
        stream.extend_from_slice(frame.write(&mut buffer));
    };
    for item in sent {
        match item {
            Sent::Ping(payload) => {
                put(true, OpCode::Ping, payload);
                expected.push(Seen::Ping(payload.clone()));
            }
            Sent::Pong(payload) => {
                put(true, OpCode::Pong, payload);
                expected.push(Seen::Pong);
            }
            Sent::Message { binary, text, cuts } => {
                let mut opcode = if *binary { OpCode::Binary } else { OpCode::Text };
                let mut rest = text.as_bytes();
                for cut in cuts {
                    let (piece, after) = rest.split_at(cut % (rest.len() + 1));
                    put(false, opcode, piece);
                    (rest, opcode) = (after, OpCode::Continuation);
                    if let Some(Sent::Ping(payload)) = between.next() {
                        put(true, OpCode::Ping, payload);
                        expected.push(Seen::Ping(payload.clone()));
                    }
                }
                put(true, opcode, rest);
                expected.push(if *binary {
                    Seen::Binary(text.clone().into_bytes())
                } else {
                    Seen::Text(text.clone())
                });
            }
        }
    }
    (stream, expected)
}

/// Feeds a stream in pieces of these sizes, again and again, watching what the decoder holds.
fn in_pieces(stream: &[u8], sizes: &[usize], limit: usize) -> (Vec<Seen>, Option<FrameError>) {
    let mut decoder = Decoder::new(limit);
    let (mut seen, mut at) = (Vec::new(), 0);
    for size in sizes.iter().cycle() {
        if at == stream.len() {
            break;
        }
        let end = (at + size).min(stream.len());
        let outcome = read(&mut decoder, &stream[at..end], &mut seen);
        assert!(
            decoder.heap_bytes() <= limit + OVERHEAD,
            "{} held",
            decoder.heap_bytes()
        );
        if let Err(error) = outcome {
            assert_eq!(decoder.heap_bytes(), 0);
            return (seen, Some(error));
        }
        at = end;
    }
    (seen, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_valid_stream_gives_the_same_events(
        sent in prop::collection::vec(sent(), 1..6),
        between in prop::collection::vec(controls(), 1..4),
        sizes in prop::collection::vec(1usize..300, 1..20),
    ) {
        let (stream, expected) = framed(&sent, &between);
        prop_assert_eq!(in_pieces(&stream, &sizes, 1 << 20), (expected.clone(), None));
        prop_assert_eq!(in_pieces(&stream, &[usize::MAX / 2], 1 << 20), (expected, None));
    }

    #[test]
    fn random_bytes_never_panic_nor_hold_more_than_the_limit(
        stream in prop::collection::vec(any::<u8>(), 0..4000),
        sizes in prop::collection::vec(1usize..300, 1..20),
        limit in 0usize..2000,
    ) {
        let split = in_pieces(&stream, &sizes, limit);
        prop_assert_eq!(split, in_pieces(&stream, &[usize::MAX / 2], limit));
    }

    #[test]
    fn spoilt_streams_never_panic_and_end_the_same_however_they_are_split(
        sent in prop::collection::vec(sent(), 1..4),
        between in prop::collection::vec(controls(), 1..3),
        sizes in prop::collection::vec(1usize..300, 1..20),
        spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        limit in 0usize..70_000,
    ) {
        let (mut stream, _) = framed(&sent, &between);
        for (place, value) in spoilt {
            let place = place.index(stream.len());
            stream[place] = value;
        }
        let split = in_pieces(&stream, &sizes, limit);
        prop_assert_eq!(split, in_pieces(&stream, &[usize::MAX / 2], limit));
    }
}
