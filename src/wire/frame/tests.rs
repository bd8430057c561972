//! What the codec takes, what it refuses, and what it costs.

use std::io::Write as _;

use fastwebsockets::{OpCode, Role, WebSocket};
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::wire::close;

const LIMIT: usize = 64 * 1024;
/// What a decoder may hold beyond the message itself: the record of the partial message and one control frame.
pub(super) const OVERHEAD: usize = 256;

/// An event that outlives the buffer it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(bytes) => Self::Ping(bytes.into_owned()),
            Event::Pong => Self::Pong,
            Event::Close { code, reason } => Self::Close(code, reason.into_owned()),
        }
    }
}

/// Feeds all bytes of one read and collects what comes out.
pub(super) fn read(decoder: &mut Decoder, bytes: &[u8], seen: &mut Vec<Seen>) -> Result<(), FrameError> {
    let mut buffer = bytes.to_vec();
    let mut at = 0;
    while at < buffer.len() {
        let step = decoder.feed(&mut buffer[at..])?;
        let (consumed, event) = (step.consumed, step.event.map(Seen::from));
        if event.is_none() {
            assert_eq!(consumed, buffer.len() - at, "without an event everything is taken");
        }
        at += consumed;
        seen.extend(event);
    }
    Ok(())
}

/// Reads a stream in pieces of `size` bytes.
fn run(decoder: &mut Decoder, stream: &[u8], size: usize) -> (Vec<Seen>, Option<FrameError>) {
    let mut seen = Vec::new();
    for piece in stream.chunks(size) {
        if let Err(error) = read(decoder, piece, &mut seen) {
            return (seen, Some(error));
        }
    }
    (seen, None)
}

/// Reads a stream at once and byte by byte, which has to give the same, and returns it.
fn both(stream: &[u8]) -> (Vec<Seen>, Option<FrameError>) {
    let whole = run(&mut Decoder::new(LIMIT), stream, usize::MAX);
    let bytewise = run(&mut Decoder::new(LIMIT), stream, 1);
    assert_eq!(whole, bytewise);
    whole
}

/// A masked client frame; `first` is its first byte.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn refusal(stream: &[u8]) -> FrameError {
    both(stream).1.expect("the stream is refused")
}

#[test]
fn an_idle_decoder_is_small_and_holds_nothing() {
    assert!(size_of::<Decoder>() <= 64, "{}", size_of::<Decoder>());
    let mut decoder = Decoder::new(LIMIT);
    let mut seen = Vec::new();
    read(&mut decoder, &client(0x81, b"hello"), &mut seen).unwrap();
    assert_eq!(seen, [Seen::Text("hello".into())]);
    assert_eq!(decoder.heap_bytes(), 0);
    // A message that spans reads is held meanwhile, and let go with its last byte.
    let frame = client(0x81, &[b'a'; 5000]);
    read(&mut decoder, &frame[..100], &mut seen).unwrap();
    assert!(decoder.heap_bytes() > 0);
    read(&mut decoder, &frame[100..], &mut seen).unwrap();
    assert_eq!(decoder.heap_bytes(), 0);
    // So is a control frame.
    let frame = client(0x89, b"ping");
    read(&mut decoder, &frame[..8], &mut seen).unwrap();
    assert!(decoder.heap_bytes() > 0);
    read(&mut decoder, &frame[8..], &mut seen).unwrap();
    assert_eq!(seen.last(), Some(&Seen::Ping(b"ping".to_vec())));
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn a_frame_that_lies_in_the_buffer_is_borrowed() {
    let mut frame = client(0x81, "grün".as_bytes());
    let mut decoder = Decoder::new(LIMIT);
    let step = decoder.feed(&mut frame).unwrap();
    assert!(matches!(
        step.event,
        Some(Event::Text(std::borrow::Cow::Borrowed("grün")))
    ));
}

#[test]
fn announcements_allocate_nothing() {
    // 14 bytes that announce 60 MiB are refused before a payload byte is seen.
    let mut header = vec![0x82, 0xff];
    header.extend_from_slice(&(60u64 << 20).to_be_bytes());
    header.extend_from_slice(&[1, 2, 3, 4]);
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(run(&mut decoder, &header, 14).1, Some(FrameError::TooBig(LIMIT)));
    assert_eq!(decoder.heap_bytes(), 0);
    // The largest that is allowed costs what has arrived, not what it announces.
    let mut frame = client(0x81, &[b'a'; LIMIT]);
    let mut decoder = Decoder::new(LIMIT);
    let step = decoder.feed(&mut frame[..14]).unwrap();
    assert_eq!(step.event, None);
    assert_eq!(decoder.heap_bytes(), 0);
    decoder.feed(&mut frame[14..114]).unwrap();
    assert!(decoder.heap_bytes() <= 2 * 100 + OVERHEAD);
}

#[test]
fn the_limit_counts_all_fragments() {
    assert_eq!(both(&client(0x81, &[b'a'; LIMIT])).1, None);
    assert_eq!(refusal(&client(0x81, &[b'a'; LIMIT + 1])), FrameError::TooBig(LIMIT));
    let half = [b'a'; LIMIT / 2];
    let mut stream = [client(0x01, &half), client(0x00, &half), client(0x80, b"")].concat();
    assert_eq!(both(&stream).0, [Seen::Text("a".repeat(LIMIT))]);
    stream = [
        client(0x01, &half),
        client(0x00, &half),
        client(0x89, b"x"),
        client(0x80, b"b"),
    ]
    .concat();
    let (seen, error) = both(&stream);
    assert_eq!(seen, [Seen::Ping(b"x".to_vec())]);
    assert_eq!(error.unwrap().close_code(), CloseCode::TooBig);
    // Thousands of small ones as well.
    let mut decoder = Decoder::new(LIMIT);
    let mut seen = Vec::new();
    read(&mut decoder, &client(0x02, b""), &mut seen).unwrap();
    let error = (0..).find_map(|n| Some((n, read(&mut decoder, &client(0x00, &[7; 64]), &mut seen).err()?)));
    assert_eq!(error, Some((LIMIT / 64, FrameError::TooBig(LIMIT))));
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn broken_framing_is_refused_by_name() {
    assert_eq!(refusal(&[0x81, 0x02, b'h', b'i']), FrameError::Unmasked);
    for bit in [0x40, 0x20, 0x10] {
        assert_eq!(refusal(&client(0x81 | bit, b"hi")), FrameError::ReservedBits);
    }
    for opcode in (3..=7).chain(11..=15) {
        assert_eq!(refusal(&client(0x80 | opcode, b"hi")), FrameError::Opcode(opcode));
    }
    for opcode in 8..=10 {
        assert_eq!(refusal(&client(opcode, b"")), FrameError::FragmentedControl);
        assert_eq!(refusal(&client(0x80 | opcode, &[b'a'; 126])), FrameError::LargeControl);
        assert_eq!(
            refusal(&client(0x80 | opcode, &[b'a'; 70_000])),
            FrameError::LargeControl
        );
    }
    assert_eq!(refusal(&client(0x80, b"hi")), FrameError::Stray);
    assert_eq!(
        refusal(&[client(0x81, b"a"), client(0x00, b"b")].concat()),
        FrameError::Stray
    );
    for opcode in [0x01, 0x81, 0x02, 0x82] {
        let stream = [client(0x01, b"a"), client(opcode, b"b")].concat();
        assert_eq!(refusal(&stream), FrameError::Interleaved);
    }
    assert_eq!(refusal(&[0x81, 0xfe, 0, 125, 1, 2, 3, 4]), FrameError::Length);
    assert_eq!(
        refusal(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4]),
        FrameError::Length
    );
    assert_eq!(
        refusal(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]),
        FrameError::Length
    );
}

#[test]
fn refusals_do_not_wait_for_more() {
    let mut decoder = Decoder::new(LIMIT);
    assert_eq!(decoder.feed(&mut [0x81, 0x02]).unwrap_err(), FrameError::Unmasked);
    assert_eq!(
        Decoder::text_only(LIMIT).feed(&mut [0x82, 0x80]).unwrap_err(),
        FrameError::Binary
    );
    assert_eq!(FrameError::Binary.close_code(), CloseCode::Unsupported);
    // The bad byte of an unfinished text is refused when it arrives.
    let frame = client(0x81, b"abc\xf4\x90\x80\x80 and much more");
    let mut decoder = Decoder::new(LIMIT);
    let mut seen = Vec::new();
    assert!(read(&mut decoder, &frame[..6 + 4], &mut seen).is_ok());
    assert_eq!(
        read(&mut decoder, &frame[6 + 4..6 + 5], &mut seen),
        Err(FrameError::Utf8)
    );
    assert!(decoder.is_over());
    assert_eq!(run(&mut decoder, &client(0x81, b"later"), 100), (vec![], None));
}

#[test]
fn text_is_checked_across_fragments() {
    let euro = "€".as_bytes();
    let good = [
        client(0x01, &euro[..1]),
        client(0x00, &euro[1..2]),
        client(0x80, &euro[2..]),
    ]
    .concat();
    assert_eq!(both(&good).0, [Seen::Text("€".into())]);
    let pinged = [
        client(0x01, &euro[..2]),
        client(0x89, b"\xff"),
        client(0x80, &euro[2..]),
    ]
    .concat();
    assert_eq!(both(&pinged).0, [Seen::Ping(vec![0xff]), Seen::Text("€".into())]);
    // Wrong at the border: the second fragment does not continue the character.
    let wrong = [client(0x01, &euro[..2]), client(0x00, b"a")].concat();
    assert_eq!(refusal(&wrong), FrameError::Utf8);
    // Cut off: a message that ends within a character.
    assert_eq!(
        refusal(&[client(0x01, b"a"), client(0x80, &euro[..2])].concat()),
        FrameError::Utf8
    );
    assert_eq!(refusal(&client(0x81, &euro[..2])), FrameError::Utf8);
    // Surrogates and overlong forms.
    assert_eq!(refusal(&client(0x81, b"\xed\xa0\x80")), FrameError::Utf8);
    assert_eq!(refusal(&client(0x81, b"\xc0\xaf")), FrameError::Utf8);
    assert_eq!(FrameError::Utf8.close_code(), CloseCode::BadText);
    // Binary messages may hold anything.
    assert_eq!(both(&client(0x82, b"\xc0\xaf")).0, [Seen::Binary(b"\xc0\xaf".to_vec())]);
}

#[test]
fn closes_are_judged_and_final() {
    let close = |payload: &[u8]| both(&[client(0x88, payload), client(0x81, b"after")].concat());
    assert_eq!(close(b"").0, [Seen::Close(None, String::new())]);
    assert_eq!(close(b"\x03\xe8bye").0, [Seen::Close(Some(1000), "bye".into())]);
    assert_eq!(close(b"\x03").1, Some(FrameError::Close));
    assert_eq!(close(b"\x03\xe8\xff").1, Some(FrameError::Utf8));
    for code in 0..=u16::MAX {
        let seen = run(&mut Decoder::new(LIMIT), &client(0x88, &code.to_be_bytes()), usize::MAX);
        assert_eq!(seen.1.is_none(), close::may_be_received(code), "{code}");
    }
}

#[test]
fn headers_of_every_length_are_put_in_front_once() {
    for len in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![b'x'; len];
        let header: &[u8] = match len {
            0 => b"\x81\x00",
            1 => b"\x81\x01",
            125 => b"\x81\x7d",
            126 => b"\x81\x7e\x00\x7e",
            65_535 => b"\x81\x7e\xff\xff",
            _ => b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
        };
        let expected = [header, &payload].concat();
        assert_eq!(text_frame(&payload), expected);
        let mut builder = FrameBuilder::begin(16);
        builder.write_all(&payload[..len / 2]).unwrap();
        builder.write_all(&payload[len / 2..]).unwrap();
        assert_eq!(builder.payload_len(), len);
        assert_eq!(builder.finish(), expected);
        let mut burst = b"before".to_vec();
        put_frame(&mut burst, OpCode::Text, &payload);
        assert_eq!(burst, [b"before", expected.as_slice()].concat());
    }
}

#[test]
fn control_frames_stay_within_their_bounds() {
    assert_eq!(
        ping_frame(b"1"),
        b"\x89\x01".iter().chain(b"1").copied().collect::<Vec<_>>()
    );
    assert_eq!(pong_frame(&[7; 200]).len(), 2 + CONTROL_MAX);
    assert_eq!(close_frame(CloseCode::GoingAway, ""), [0x88, 2, 0x0f, 0xa0].as_slice());
    // The reason is cut at a character's border: 61 two-byte characters fit into 123 bytes.
    let frame = close_frame(CloseCode::Kicked, &"ü".repeat(100));
    assert_eq!(frame.len(), 2 + 2 + 122);
    assert!(str::from_utf8(&frame[4..]).is_ok());
}

#[tokio::test]
async fn our_frames_are_read_by_another_implementation() {
    let (mut server, client) = tokio::io::duplex(1 << 20);
    let mut client = WebSocket::after_handshake(client, Role::Client);
    client.set_auto_pong(false);
    client.set_auto_close(false);
    client.set_max_message_size(1 << 20);
    for len in [0, 5, 125, 126, 4_000, 65_535, 65_536, 100_000] {
        let payload = vec![b'z'; len];
        server.write_all(&text_frame(&payload)).await.unwrap();
        let frame = client.read_frame().await.unwrap();
        assert_eq!(
            (frame.opcode, frame.fin, &*frame.payload),
            (OpCode::Text, true, &*payload)
        );
    }
    for (bytes, opcode, payload) in [
        (binary_frame(b"b"), OpCode::Binary, b"b".as_slice()),
        (ping_frame(b"p"), OpCode::Ping, b"p"),
        (pong_frame(b"q"), OpCode::Pong, b"q"),
        (close_frame(CloseCode::Left, "left"), OpCode::Close, b"\x10\x70left"),
    ] {
        server.write_all(&bytes).await.unwrap();
        let frame = client.read_frame().await.unwrap();
        assert_eq!((frame.opcode, frame.fin, &*frame.payload), (opcode, true, payload));
    }
}
