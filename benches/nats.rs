//! What a node's subscriptions cost on NATS: one per room, one per room and class, or one per shard; and what several
//! connections bring. The decision that rests on it is docs/adr/0008-nats-subscriptions.md.
//!
//! `NATTER_TEST_NATS=nats://127.0.0.1:4222 cargo bench --bench nats`. The variants take turns in an order that changes
//! from round to round, and medians are shown beside their ratio to the first variant, so that a busy machine blurs the
//! figures but not the comparison. Processor time is that of the node's thread alone, in which the client parses, the
//! small tasks run and payloads are copied, as in the layer itself. `NATTER_BENCH_ROUNDS` changes the 7 rounds.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use natter::channel_layer::nats::shard;
use natter::model::RoomId;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const MESSAGES: u64 = 40_000;
const WINDOW: u64 = 1_000;
const BODY: [u8; 200] = [b'x'; 200];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    /// One subscription per room, with a wildcard in the class's place.
    Room,
    /// Two per room, one for each class.
    RoomAndClass,
    /// One per shard of 256.
    Shard,
}

const LAYOUTS: [Layout; 3] = [Layout::Room, Layout::RoomAndClass, Layout::Shard];

/// A node: its connections and what it has subscribed to.
struct Node {
    prefix: String,
    links: Vec<Client>,
    shards: HashSet<usize>,
    tasks: JoinSet<()>,
    received: Arc<AtomicU64>,
}

impl Node {
    async fn connect(address: &str, prefix: &str, links: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..links {
            let client = ConnectOptions::new().no_echo().connect(address).await;
            clients.push(client.expect("a NATS server"));
        }
        Self {
            prefix: prefix.to_owned(),
            links: clients,
            shards: HashSet::new(),
            tasks: JoinSet::new(),
            received: Arc::default(),
        }
    }

    /// Subscribes as the layout has it; returns when the server has it.
    async fn join(&mut self, layout: Layout, room: RoomId) {
        let shard = shard(room);
        let link = self.links[shard % self.links.len()].clone();
        let (prefix, room) = (&self.prefix, room.as_u128());
        let subjects = match layout {
            Layout::Room => vec![format!("{prefix}.*.{shard:02x}.{room:032x}")],
            Layout::RoomAndClass => ["room", "eph"]
                .map(|class| format!("{prefix}.{class}.{shard:02x}.{room:032x}"))
                .to_vec(),
            Layout::Shard if !self.shards.insert(shard) => return,
            Layout::Shard => vec![format!("{prefix}.*.{shard:02x}.*")],
        };
        for subject in subjects {
            let mut subscriber = link.subscribe(subject).await.expect("a subject");
            let received = Arc::clone(&self.received);
            self.tasks.spawn(async move {
                while let Some(message) = subscriber.next().await {
                    std::hint::black_box(Bytes::copy_from_slice(&message.payload));
                    received.fetch_add(1, Ordering::Release);
                }
            });
        }
        // Nobody is there to answer, so the server does.
        let _ = link.request(format!("{prefix}.nobody"), Bytes::new()).await;
    }
}

/// Publishes to the rooms in turn, never more than a window ahead of what `wanted` is heard.
fn publish(address: &str, prefix: &str, rooms: &[RoomId], received: &AtomicU64, wanted: u64) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = async_nats::connect(address).await.expect("a NATS server");
        let mut ahead = 0;
        for number in 0..MESSAGES {
            let room = rooms[usize::try_from(number).expect("small") % rooms.len()];
            let subject = format!("{prefix}.room.{:02x}.{:032x}", shard(room), room.as_u128());
            client
                .publish(subject, Bytes::from_static(&BODY))
                .await
                .expect("a connection");
            ahead += 1;
            if ahead == WINDOW {
                // The rooms that are heard are not spread evenly over a window.
                let due = ((number + 1) * wanted / MESSAGES).saturating_sub(WINDOW / 2);
                client.flush().await.expect("a connection");
                while received.load(Ordering::Acquire) < due {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
                ahead = 0;
            }
        }
    });
}

/// What this thread has used of the processor.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn fresh_prefix() -> String {
    format!("bench-{:016x}", rand::random::<u64>())
}

fn random_rooms(count: usize) -> Vec<RoomId> {
    (0..count).map(|_| RoomId::random()).collect()
}

/// Joining: microseconds and live bytes of the node for each room.
fn joining(address: &str, layout: Layout) -> Vec<f64> {
    const ROOMS: usize = 2_000;
    let rooms = random_rooms(ROOMS);
    let runtime = runtime();
    let mut node = runtime.block_on(Node::connect(address, &fresh_prefix(), 1));
    let begun = Instant::now();
    let memory = allocation_counter::measure(|| {
        runtime.block_on(async {
            for room in &rooms {
                node.join(layout, *room).await;
            }
        });
    });
    let each = ROOMS as f64;
    vec![
        begun.elapsed().as_secs_f64() * 1e6 / each,
        memory.bytes_current as f64 / each,
    ]
}

/// Hearing all there is, in so many rooms: processor time for each message.
fn hearing(address: &str, layout: Layout, rooms: usize) -> Vec<f64> {
    let rooms = random_rooms(rooms);
    let heard = hear(address, layout, &rooms, &rooms);
    vec![heard.processor.as_secs_f64() * 1e6 / MESSAGES as f64]
}

/// A node in a quarter of the cluster's active rooms: messages that reach it, and its processor time, for each message
/// that it needs.
fn sharing(address: &str, layout: Layout, rooms: usize) -> Vec<f64> {
    let rooms = random_rooms(rooms);
    let heard = hear(address, layout, &rooms, &rooms[..rooms.len() / 4]);
    let needed = MESSAGES as f64 / 4.0;
    vec![
        heard.messages as f64 / needed,
        heard.processor.as_secs_f64() * 1e6 / needed,
    ]
}

struct Heard {
    messages: u64,
    processor: Duration,
}

fn hear(address: &str, layout: Layout, rooms: &[RoomId], joined: &[RoomId]) -> Heard {
    let prefix = fresh_prefix();
    let runtime = runtime();
    let mut node = runtime.block_on(Node::connect(address, &prefix, 1));
    runtime.block_on(async {
        for room in joined {
            node.join(layout, *room).await;
        }
    });
    let covered = |room: &&RoomId| match layout {
        Layout::Shard => node.shards.contains(&shard(**room)),
        _ => joined.contains(room),
    };
    let wanted = MESSAGES * rooms.iter().filter(covered).count() as u64 / rooms.len() as u64;
    let received = Arc::clone(&node.received);
    let before = processor_time();
    thread::scope(|scope| {
        scope.spawn(|| publish(address, &prefix, rooms, &received, wanted));
        runtime.block_on(async {
            while received.load(Ordering::Acquire) < wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    });
    let messages = received.load(Ordering::Acquire);
    Heard {
        messages,
        processor: processor_time().saturating_sub(before),
    }
}

/// Several connections on two threads: microseconds by the clock for each message.
fn connections(address: &str, links: usize) -> Vec<f64> {
    let (prefix, rooms) = (fresh_prefix(), random_rooms(500));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut node = runtime.block_on(Node::connect(address, &prefix, links));
    runtime.block_on(async {
        for room in &rooms {
            node.join(Layout::Room, *room).await;
        }
    });
    let begun = Instant::now();
    publish(address, &prefix, &rooms, &node.received, MESSAGES);
    while node.received.load(Ordering::Acquire) < MESSAGES {
        thread::sleep(Duration::from_micros(200));
    }
    vec![begun.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64]
}

/// A name, and a run that yields its figures.
type Variant<'a> = (String, Box<dyn Fn() -> Vec<f64> + 'a>);

/// Runs the variants in turns and shows the median of each figure, and its ratio to the first variant's.
fn compare(title: &str, figures: &[&str], variants: &[Variant<'_>]) {
    let rounds = std::env::var("NATTER_BENCH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(7);
    let mut seen = vec![Vec::new(); variants.len()];
    for round in 0..rounds {
        for turn in 0..variants.len() {
            let place = (turn + round) % variants.len();
            seen[place].push(variants[place].1());
        }
    }
    println!("\n{title}");
    for (number, figure) in figures.iter().enumerate() {
        let median = |place: usize| {
            let mut all: Vec<f64> = seen[place].iter().map(|round: &Vec<f64>| round[number]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        for (place, (name, _)) in variants.iter().enumerate() {
            println!(
                "  {figure}, {name}: {:.2} ({:.2} x)",
                median(place),
                median(place) / median(0)
            );
        }
    }
}

fn main() {
    let Some(address) = std::env::var("NATTER_TEST_NATS")
        .ok()
        .filter(|address| !address.is_empty())
    else {
        println!("SKIPPED: NATTER_TEST_NATS names no server");
        return;
    };
    let address = address.as_str();
    let layouts = |run: fn(&str, Layout, usize) -> Vec<f64>, rooms: usize| {
        LAYOUTS
            .map(|layout| {
                let run: Box<dyn Fn() -> Vec<f64>> = Box::new(move || run(address, layout, rooms));
                (format!("{layout:?}"), run)
            })
            .into_iter()
            .collect::<Vec<_>>()
    };
    let join = |address: &str, layout, _| joining(address, layout);
    compare(
        "joining 2,000 rooms",
        &["us per join", "bytes per room"],
        &layouts(join, 0),
    );
    for rooms in [100, 2_000] {
        compare(
            &format!("a node in all of {rooms} rooms"),
            &["us of processor per message"],
            &layouts(hearing, rooms),
        );
    }
    for rooms in [100, 2_000] {
        compare(
            &format!("a node in a quarter of {rooms} rooms"),
            &[
                "messages received per message needed",
                "us of processor per message needed",
            ],
            &layouts(sharing, rooms),
        );
    }
    let several: Vec<_> = [1, 2, 4]
        .map(|links| {
            let run: Box<dyn Fn() -> Vec<f64>> = Box::new(move || connections(address, links));
            (format!("{links} connections"), run)
        })
        .into_iter()
        .collect();
    compare("500 rooms over several connections", &["us per message"], &several);
}
