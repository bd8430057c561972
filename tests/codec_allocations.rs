//! Counts the codec's allocations with an allocator that counts, instead of believing what the codec says of itself.

use allocation_counter::measure;
use natter::limits::FRAME_BYTES_MAX;
use natter::wire::frame::{Decoder, Event, FrameBuilder, FrameError, text_frame};

/// A masked text frame; the mask is zero, which leaves the payload readable.
fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()).expect("a short payload") {
        len @ 0..=125 => frame.push(0x80 | u8::try_from(len).expect("below 126")),
        len => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&len.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn frames_that_lie_in_the_buffer_allocate_nothing() {
    let mut buffer = client_frame(br#"{"message":"hi"}"#);
    buffer.extend(client_frame(&[b'a'; 4000]));
    let (mut decoder, mut texts) = (Decoder::text_only(FRAME_BYTES_MAX), 0);
    let counted = measure(|| {
        let mut at = 0;
        while at < buffer.len() {
            let step = decoder.feed(&mut buffer[at..]).expect("valid frames");
            texts += usize::from(matches!(step.event, Some(Event::Text(_))));
            at += step.consumed;
        }
    });
    assert_eq!((texts, counted.count_total), (2, 0));
}

#[test]
fn announcements_allocate_nothing() {
    let mut sixty_mib = [0x82, 0xff, 0, 0, 0, 0, 3, 0xc0, 0, 0, 1, 2, 3, 4];
    let mut within = [0x81, 0xfe, 0xff, 0xff, 1, 2, 3, 4];
    let mut outcome = None;
    let counted = measure(|| {
        outcome = Some(
            Decoder::new(FRAME_BYTES_MAX)
                .feed(&mut sixty_mib)
                .map(|step| step.consumed),
        );
        let step = Decoder::new(FRAME_BYTES_MAX)
            .feed(&mut within)
            .expect("a header within the limit");
        assert!(step.event.is_none());
    });
    assert_eq!(outcome, Some(Err(FrameError::TooBig(FRAME_BYTES_MAX))));
    assert_eq!(counted.count_total, 0);
}

#[test]
fn a_message_over_many_reads_holds_at_most_twice_what_arrived() {
    let mut frame = client_frame(&[b'a'; 60_000]);
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let counted = measure(|| {
        for piece in frame[..30_000].chunks_mut(1_000) {
            assert!(decoder.feed(piece).expect("a part of a valid frame").event.is_none());
        }
    });
    // While it grows, the old and the new memory exist side by side.
    assert!(counted.bytes_max <= 3 * 30_000, "{} bytes", counted.bytes_max);
}

#[test]
fn a_frame_costs_one_buffer() {
    let payload = [b'a'; 500];
    let once = measure(|| drop(text_frame(&payload)));
    assert_eq!(once.count_total, 1);
    // The builder's buffer is larger than the frame, which costs `Bytes` a second, small record.
    let built = measure(|| {
        let mut builder = FrameBuilder::begin(512);
        std::io::Write::write_all(&mut builder, &payload).expect("memory takes everything");
        drop(builder.finish());
    });
    assert!(built.count_total <= 2, "{} allocations", built.count_total);
}
