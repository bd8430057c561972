//! What a message costs between the wire and the wire, without sockets and without the store: reading the client's
//! frame, making the one frame that everybody gets, keeping it in the room's ring, and handing it to each member.
//!
//! `cargo bench --bench fanout`. What a delivery costs beside this is the system call; `make bench` measures both.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use natter::client::{Opcode, mask_frame};
use natter::fanout::{Outlet, Taken};
use natter::limits::FRAME_BYTES_MAX;
use natter::model::{Author, ConnectionId, EventId, Message, Name, RoomId, Timestamp, UserId};
use natter::rooms::state::{Committed, Plan, RoomState};
use natter::wire::frame::{Decoder, Event, text_frame};
use natter::wire::inbound::{self, JoinFrom};
use natter::wire::outbound::{MessageView, Outbound, RoomRef, to_json};

/// Where a room's messages begin, in milliseconds since 1970.
const BEGIN: u64 = 1_700_000_000_000;

/// A member that counts the bytes it is handed, and keeps nothing.
struct Member {
    connection: ConnectionId,
    author: Author,
    bytes: AtomicU64,
}

impl Member {
    fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            connection: ConnectionId::random(),
            author: Author {
                id: UserId::random(),
                name: Name::parse(&format!("member{number}")).expect("a name"),
            },
            bytes: AtomicU64::new(0),
        })
    }

    fn take(&self, frames: &Bytes) -> Taken {
        self.bytes.fetch_add(frames.len() as u64, Ordering::Relaxed);
        Taken::Yes
    }
}

impl Outlet for Member {
    fn connection(&self) -> ConnectionId {
        self.connection
    }

    fn author(&self) -> &Author {
        &self.author
    }

    fn echo(&self) -> bool {
        false
    }

    fn events(&self, frames: &Bytes) -> Taken {
        self.take(frames)
    }

    fn answer(&self, frames: Bytes) -> Taken {
        self.take(&frames)
    }

    fn ephemeral(&self, _: &Bytes) {}

    fn behind(&self, _: RoomId, _: u64) {}

    fn send_answered(&self) {}
}

/// A room whose members are all live.
struct Hall {
    state: RoomState<Member>,
    room: RoomId,
    members: Vec<Arc<Member>>,
    said: u64,
}

impl Hall {
    fn new(members: usize) -> Self {
        let room = RoomId::random();
        let label = "hall".to_owned();
        let mut state = RoomState::new(RoomRef { id: room, label });
        state.prime(&[], true, None);
        let members: Vec<_> = (0..members).map(Member::new).collect();
        for member in &members {
            let plan = state.plan(JoinFrom::default(), Timestamp::from_millis(BEGIN), false);
            assert!(matches!(plan, Plan::From { .. }), "an empty room needs no read");
            let joined = text_frame(br#"{"type":"joined"}"#);
            let _ = state.join(Arc::clone(member), joined, plan, None, None);
        }
        Self {
            state,
            room,
            members,
            said: 0,
        }
    }

    /// What the store answers for so many sends of the first member.
    fn batch(&mut self, count: usize) -> Vec<Committed<Member>> {
        let link = Arc::clone(&self.members[0]);
        let one = |at: u64| Committed {
            link: Arc::clone(&link),
            message: message(self.room, &link.author, at),
            reference: None,
            nonce: None,
            fresh: true,
            late: None,
            published: false,
            answered: false,
        };
        let batch = (0..count as u64).map(|nth| one(self.said + nth)).collect();
        self.said += count as u64;
        batch
    }
}

fn message(room: RoomId, author: &Author, at: u64) -> Message {
    Message {
        room,
        id: EventId::new(BEGIN + at, 0, at),
        author: author.clone(),
        body: "x".repeat(64),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted_at: None,
        last_event: None,
    }
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wire");
    let send = format!(
        r#"{{"type":"send","ref":7,"nonce":"n-7","message":"{}"}}"#,
        "x".repeat(64)
    );
    let frame = mask_frame(Opcode::Text, send.as_bytes(), [1, 2, 3, 4]);
    group.throughput(Throughput::Elements(1));
    group.bench_function("decode a send", |bencher| {
        let mut decoder = Decoder::text_only(FRAME_BYTES_MAX);
        bencher.iter_batched_ref(
            || frame.clone(),
            |bytes| {
                let step = decoder.feed(bytes).expect("a valid frame");
                let Some(Event::Text(text)) = step.event else {
                    panic!("a text frame");
                };
                black_box(inbound::decode(&text)).is_ok()
            },
            BatchSize::SmallInput,
        );
    });
    let member = Member::new(0);
    let message = message(RoomId::random(), &member.author, 0);
    group.bench_function("encode a message", |bencher| {
        bencher.iter(|| {
            let view = MessageView::new("hall", black_box(&message));
            text_frame(&to_json(&Outbound::Message(view)))
        });
    });
    group.finish();
}

fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for count in [1, 16] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new("commit", count), |bencher| {
            let mut hall = Hall::new(1);
            bencher.iter(|| {
                let batch = hall.batch(count);
                black_box(hall.state.committed(batch)).events
            });
        });
    }
    group.finish();
}

fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for members in [10, 1_000, 10_000] {
        let mut hall = Hall::new(members);
        let batch = hall.batch(1);
        let burst = hall.state.committed(batch);
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::new("deliver", members), |bencher| {
            bencher.iter(|| {
                let mut at = Some(0);
                while let Some(start) = at {
                    at = hall.state.deliver(&burst, start, 128);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wire, ring, fan_out);
criterion_main!(benches);
