//! Envelopes there and back, cut, spoiled and of newer builds.

use super::*;
use crate::model::Name;
use proptest::prelude::*;

fn author() -> Author {
    Author {
        id: UserId::from_bytes([7; 16]),
        name: Name::parse("ann").unwrap(),
    }
}

fn durable(content: Content) -> Envelope {
    Envelope::Durable(Durable {
        boot: BootId::from_bytes([9; 16]),
        number: 41,
        previous: Timestamp::from_millis(12),
        id: EventId::new(1_700_000_000_000, 3, 99),
        content,
    })
}

fn samples() -> Vec<Envelope> {
    let message = EventId::new(1_600_000_000_000, 1, 5);
    let frame = Bytes::from_static(b"\x81\x02hi");
    let plain = Bytes::from_static(b"\x81\x05plain");
    let author = author();
    let contents = [
        Content::Message {
            author: author.clone(),
            cause: None,
            frame: frame.clone(),
        },
        Content::Message {
            author: author.clone(),
            cause: Some(message),
            frame: frame.clone(),
        },
        Content::Late {
            message,
            author: author.clone(),
            cause: Some(message),
            frame: frame.clone(),
            plain: plain.clone(),
        },
        Content::Edited {
            message,
            author: author.clone(),
            frame: frame.clone(),
            plain,
        },
        Content::Deleted {
            message,
            frame: frame.clone(),
        },
    ];
    let passing = [
        Passing::Typing { frame: frame.clone() },
        Passing::Presence { frame: frame.clone() },
        Passing::Person {
            author: author.clone(),
            online: true,
            last_seen: None,
        },
        Passing::Person {
            author,
            online: false,
            last_seen: Some(Timestamp::from_millis(5)),
        },
        Passing::Notice {
            user: UserId::from_bytes([1; 16]),
            unless_reading: None,
            frame: frame.clone(),
        },
        Passing::Notice {
            user: UserId::from_bytes([1; 16]),
            unless_reading: Some(RoomId::from_bytes([2; 16])),
            frame,
        },
    ];
    let durables = contents.into_iter().map(durable);
    durables.chain(passing.into_iter().map(Envelope::Passing)).collect()
}

#[test]
fn every_kind_round_trips_and_no_cut_one_passes_for_whole() {
    for envelope in samples() {
        let bytes = envelope.encode();
        assert_eq!(Envelope::decode(&bytes).as_ref(), Ok(&envelope));
        let header = FIXED + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])) + 4;
        for end in 0..header {
            assert_eq!(Envelope::decode(&bytes.slice(..end)), Err(InvalidEnvelope::Short));
        }
    }
}

#[test]
fn a_newer_build_is_counted_or_passed_over() {
    let Envelope::Durable(known) = &samples()[0] else {
        panic!("the first sample is durable")
    };
    // A durable kind that does not exist yet, with fields that this build can't know.
    let mut bytes = samples()[0].encode().to_vec();
    bytes[1] = 77;
    let Ok(Envelope::Durable(unknown)) = Envelope::decode(&bytes.clone().into()) else {
        panic!("an unknown durable kind is still counted")
    };
    assert_eq!(
        (unknown.boot, unknown.number, unknown.id),
        (known.boot, known.number, known.id)
    );
    assert_eq!(unknown.content, Content::Unknown(77));
    // A passing kind that does not exist yet.
    bytes[1] = 200;
    assert_eq!(Envelope::decode(&bytes.into()), Ok(Envelope::Unknown(200)));
    // One more field at the end of a known kind's header.
    let whole = samples()[0].encode();
    let length = usize::from(u16::from_be_bytes([whole[2], whole[3]]));
    let mut longer = whole[..2].to_vec();
    longer.extend_from_slice(&u16::try_from(length + 3).unwrap().to_be_bytes());
    longer.extend_from_slice(&whole[FIXED..FIXED + length]);
    longer.extend_from_slice(b"new");
    longer.extend_from_slice(&whole[FIXED + length..]);
    assert_eq!(Envelope::decode(&longer.into()).as_ref(), Ok(&samples()[0]));
    // Another layout: who published which event under which number is known, nothing else.
    let mut other = whole.to_vec();
    other[0] = VERSION + 1;
    let newer = Envelope::Newer {
        boot: known.boot,
        number: known.number,
        previous: known.previous,
        id: known.id,
    };
    assert_eq!(Envelope::decode(&other.clone().into()), Ok(newer));
    for hidden in [8, 24, 40, 47] {
        let mut short = other[..2].to_vec();
        short.extend_from_slice(&u16::try_from(hidden).unwrap().to_be_bytes());
        short.extend_from_slice(&other[FIXED..FIXED + hidden]);
        assert_eq!(
            Envelope::decode(&short.into()),
            Err(InvalidEnvelope::Version(VERSION + 1))
        );
    }
    other[1] = 200;
    assert_eq!(Envelope::decode(&other.clone().into()), Ok(Envelope::Unknown(200)));
    other[0] = VERSION - 1;
    assert_eq!(
        Envelope::decode(&other.into()),
        Err(InvalidEnvelope::Version(VERSION - 1))
    );
    // A build before the last field.
    let fixed = usize::from(u16::from_be_bytes([whole[2], whole[3]])) - 1;
    let mut older = whole[..2].to_vec();
    older.extend_from_slice(&u16::try_from(fixed).unwrap().to_be_bytes());
    older.extend_from_slice(&whole[FIXED..FIXED + fixed]);
    older.extend_from_slice(&whole[FIXED + fixed + 1..]);
    assert_eq!(Envelope::decode(&older.into()).as_ref(), Ok(&samples()[0]));
}

#[test]
fn fields_that_can_not_be_are_refused() {
    let whole = samples()[0].encode();
    let spoil = |at: std::ops::Range<usize>, with: u8| {
        let mut bytes = whole.to_vec();
        bytes[at].fill(with);
        Envelope::decode(&bytes.into())
    };
    assert_eq!(spoil(20..28, 0), Err(InvalidEnvelope::Field("publish number")));
    assert_eq!(spoil(20..28, 0xff), Err(InvalidEnvelope::Field("publish number")));
    assert_eq!(spoil(36..52, 0xff), Err(InvalidEnvelope::Field("event id")));
    assert_eq!(spoil(69..72, b' '), Err(InvalidEnvelope::Field("author")));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), proper in any::<bool>()) {
        let mut bytes = bytes;
        if proper && bytes.len() > 3 {
            (bytes[0], bytes[2]) = (VERSION, 0);
        }
        let _ = Envelope::decode(&bytes.into());
    }
}
