//! A node dies under a room that everybody reads, and all its people come back elsewhere at once, while somebody speaks:
//! what that costs is counted, and nobody misses anything.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use serde_json::Value;

use crate::common::{Sock, within};
use crate::world::{Node, World};

/// Readers on each of the three nodes.
const READERS: usize = 100;
/// Messages said before, during and after the storm, each.
const MESSAGES: usize = 20;

async fn readers(node: &Node, name: &str) -> (natter::client::Session, Vec<Sock>) {
    let user = node.user(name).await;
    // The first one alone: it makes the membership.
    let mut sockets = vec![node.room("lobby", &user).await];
    sockets.extend(join_all((1..READERS).map(|_| node.room("lobby", &user))).await);
    (user, sockets)
}

/// The texts of the next so many messages.
async fn texts(socket: &mut Sock, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let frame = socket.until("message").await;
        texts.push(frame["message"].as_str().expect("a text").to_owned());
    }
    texts
}

async fn all_hear(sockets: &mut [Sock], expected: &[String]) {
    let heard = join_all(sockets.iter_mut().map(|socket| texts(socket, expected.len()))).await;
    for texts in heard {
        assert_eq!(texts, expected);
    }
}

fn said(when: &str) -> Vec<String> {
    (0..MESSAGES).map(|n| format!("{when} {n}")).collect()
}

async fn say(speaker: &mut Sock, what: &[String]) -> Value {
    let mut last = Value::Null;
    for text in what {
        last = speaker.say(text).await["id"].clone();
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_returns_on_a_shared_room_costs_few_reads_and_loses_nothing() {
    let world = World::new();
    let [one, two, mut three] = world.nodes().await;
    let ann = one.user("ann").await;
    let mut speaker = one.room("lobby", &ann).await;
    let (_bob, mut stay_on_one) = readers(&one, "bob").await;
    let (_eve, mut stay_on_two) = readers(&two, "eve").await;
    let (zoe, mut leave_three) = readers(&three, "zoe").await;
    let before = said("before");
    let cursor = say(&mut speaker, &before).await;
    for sockets in [&mut stay_on_one, &mut stay_on_two, &mut leave_three] {
        all_hear(sockets, &before).await;
    }
    let reads = || world.store.counters().range_reads.load(Ordering::Relaxed);
    let encodings = || {
        [&one, &two]
            .map(|node| node.hub.counters().encodings.get())
            .iter()
            .sum::<u64>()
    };
    let deliveries = || {
        [&one, &two]
            .map(|node| node.hub.counters().deliveries.get())
            .iter()
            .sum::<u64>()
    };
    let (read, encoded, delivered) = (reads(), encodings(), deliveries());
    three.kill();
    drop(leave_three);
    let during = said("during");
    let path = format!("/ws/chat/lobby/?since={}", cursor.as_str().expect("a cursor"));
    let back = join_all((0..READERS).map(|n| {
        let node = if n % 2 == 0 { &one } else { &two };
        let (path, zoe, during) = (&path, &zoe, &during);
        async move {
            let mut socket = node.socket(path, zoe).await;
            // What comes back begins some way before the cursor; a client knows those by their ids.
            let mut heard = Vec::new();
            while heard.len() < MESSAGES {
                heard.extend(
                    texts(&mut socket, 1)
                        .await
                        .into_iter()
                        .filter(|text| text.starts_with("during")),
                );
            }
            assert_eq!(
                &heard, during,
                "each once and in order, whether it came as history or live"
            );
            socket
        }
    }));
    let storm = async { tokio::join!(say(&mut speaker, &during), back) };
    let (_, mut back) = within("the storm", storm).await;
    all_hear(&mut stay_on_one, &during).await;
    all_hear(&mut stay_on_two, &during).await;
    // Two rooms are active, and their rings held what was missed: hardly anything is read, whatever the number of
    // returns. What was said was encoded once in the whole cluster.
    let (read, encoded) = (reads() - read, encodings() - encoded);
    assert!(read <= 2 * REPAIRS_OF_ONE_DEATH, "{read} reads for {READERS} returns");
    assert_eq!(encoded, MESSAGES as u64);
    // Everybody who stayed was written to during the storm, not after it.
    let delivered = deliveries() - delivered;
    let least = 2 * READERS as u64;
    let most = (MESSAGES * (3 * READERS + 1)) as u64;
    assert!(
        (least..=most).contains(&delivered),
        "{delivered} bursts for {MESSAGES} messages"
    );
    let after = said("after");
    say(&mut speaker, &after).await;
    for sockets in [&mut stay_on_one, &mut stay_on_two, &mut back] {
        all_hear(sockets, &after).await;
    }
}

/// A node that has gone silent puts its rooms in doubt: each of the others reads the room again every two seconds until
/// the lease of the dead one has run out, and once more then.
const REPAIRS_OF_ONE_DEATH: u64 = 8;
