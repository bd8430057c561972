//! What the embedded store costs: durable appends at several degrees of concurrency, and a page of history.
//!
//! `cargo bench --bench store`. Each append is its own call, as rooms make them; those that wait together share a
//! sync. The directory is a temporary one: set TMPDIR to a real disk, a tmpfs syncs for nothing. With
//! `NATTER_BENCH_MESSAGES` the history holds so many messages instead of 100,000.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use natter::model::message::Author;
use natter::model::{EventId, Message, Name, NewMessage, Nonce, RoomId, SystemTime, UserId};
use natter::store::sqlite::SqliteStore;
use natter::store::{MessageStore, Range};

const ROOMS: usize = 50;
const MESSAGES: u64 = 100_000;
const FIRST_MILLIS: u64 = 1_700_000_000_000;

struct Bench {
    runtime: tokio::runtime::Runtime,
    store: Arc<SqliteStore>,
    rooms: Vec<RoomId>,
    author: Author,
    messages: u64,
    _directory: tempfile::TempDir,
}

fn bench() -> Bench {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .expect("a runtime");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = SqliteStore::open(&directory.path().join("natter.db"), Arc::new(SystemTime)).expect("a store");
    let rooms: Vec<_> = (0..ROOMS).map(|_| RoomId::random()).collect();
    let author = Author {
        id: UserId::random(),
        name: Name::parse("ann").expect("a name"),
    };
    let wanted = std::env::var("NATTER_BENCH_MESSAGES").ok();
    let messages = wanted.map_or(MESSAGES, |count| {
        count.parse().expect("NATTER_BENCH_MESSAGES is a number")
    });
    let message = |nth: u64| Message {
        room: rooms[usize::try_from(nth).expect("a small number") % ROOMS],
        id: EventId::new(FIRST_MILLIS + nth, 0, nth),
        author: author.clone(),
        body: "x".repeat(100),
        reply_to: None,
        mentions: Vec::new(),
        edited_at: None,
        deleted_at: None,
        last_event: None,
    };
    let mut seeded = 0;
    while seeded < messages {
        let until = messages.min(seeded + 20_000);
        let some = (seeded..until).map(message).collect();
        runtime.block_on(store.seed_messages(some)).expect("messages");
        seeded = until;
    }
    Bench {
        runtime,
        store,
        rooms,
        author,
        messages,
        _directory: directory,
    }
}

fn appends(c: &mut Criterion) {
    let b = bench();
    let mut group = c.benchmark_group("append");
    for at_once in [1u64, 16, 128, 512] {
        group.throughput(Throughput::Elements(at_once));
        group.bench_function(BenchmarkId::from_parameter(at_once), |bencher| {
            bencher.iter(|| {
                let sends = (0..at_once).map(|nth| {
                    b.store.append(vec![NewMessage {
                        room: b.rooms[usize::try_from(nth).expect("a small number") % ROOMS],
                        author: b.author.clone(),
                        body: "x".repeat(64),
                        nonce: Nonce::parse(&format!("{:032x}", rand::random::<u128>())),
                        retry: false,
                        reply_to: None,
                        mentions: Vec::new(),
                    }])
                });
                let results = b.runtime.block_on(join_all(sends));
                assert!(results.iter().flatten().all(Result::is_ok), "an append failed");
            });
        });
    }
    group.finish();
}

fn pages(c: &mut Criterion) {
    let b = bench();
    c.bench_function("latest page of 50", |bencher| {
        let mut nth = 0;
        bencher.iter(|| {
            nth = (nth + 1) % ROOMS;
            black_box(b.runtime.block_on(b.store.page(b.rooms[nth], Range::Latest, 50))).expect("a page")
        });
    });
    c.bench_function("page of 50 anywhere", |bencher| {
        bencher.iter(|| {
            let room = b.rooms[rand::random_range(0..ROOMS)];
            let before = EventId::new(FIRST_MILLIS + rand::random_range(0..b.messages), 0, 0);
            black_box(b.runtime.block_on(b.store.page(room, Range::Before(before), 50))).expect("a page")
        });
    });
    c.bench_function("unread count of 100", |bencher| {
        let mut nth = 0;
        bencher.iter(|| {
            nth = (nth + 1) % ROOMS;
            let unread = b.store.unread(b.rooms[nth], UserId::from_bytes([7; 16]), None);
            black_box(b.runtime.block_on(unread)).expect("a count")
        });
    });
}

criterion_group!(benches, appends, pages);
criterion_main!(benches);
