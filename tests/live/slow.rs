//! A slow reader costs only itself, and loses nothing.

use std::collections::BTreeSet;

use serde_json::json;

use crate::common::{Got, Open, Server, Sock, User};

const SENDERS: usize = 3;
const MESSAGES_EACH: usize = 400;
const BODY_CHARS: usize = 3_500;

/// A reader with a small kernel buffer, live in the room.
async fn small(server: &Server, user: &User) -> Sock {
    let open = Open::new(server.address(), "/ws/chat/hall/").cookie(&user.cookie);
    let mut socket = open.receive_buffer(4_096).open().await.expect("an upgrade");
    socket.until("live").await;
    socket
}

/// Sends many large messages, a few at a time; gives the acknowledged ids.
async fn pour(server: &Server, user: &User) -> Vec<String> {
    let mut socket = server.room("hall", user).await;
    let body = "x".repeat(BODY_CHARS);
    let mut ids = Vec::new();
    for start in (0..MESSAGES_EACH).step_by(10) {
        for n in start..start + 10 {
            socket.send(json!({ "message": format!("{n} {body}") })).await;
        }
        for _ in 0..10 {
            ids.push(socket.until("ack").await["id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

/// Reads until all of these came; gives the ids in the order of arrival.
async fn collect(mut socket: Sock, wanted: &BTreeSet<String>) -> Vec<String> {
    let (mut missing, mut arrived) = (wanted.clone(), Vec::new());
    while !missing.is_empty() {
        match socket.next().await {
            Got::Frame(frame, _) => match frame["type"].as_str().expect("a type") {
                "message" => {
                    let id = frame["id"].as_str().expect("an id").to_owned();
                    missing.remove(&id);
                    arrived.push(id);
                }
                "presence" => {}
                other => panic!("{other} came to a slow reader: {frame}"),
            },
            other => panic!("{other:?} came with {} messages missing", missing.len()),
        }
    }
    arrived
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_gets_everything_later_and_delays_nobody() {
    let server = Server::start();
    let mut users = Vec::new();
    for n in 0..SENDERS + 2 {
        users.push(server.user(&format!("user{n}-")).await);
    }
    let mut slow = Vec::new();
    for _ in 0..4 {
        slow.push(small(&server, &users[SENDERS]).await);
    }
    let quick = server.room("hall", &users[SENDERS + 1]).await;
    let quick = tokio::spawn(async move {
        // Reads all the time, so that it is never behind for long; stops when every sender's last message has come.
        let (mut quick, mut ids) = (quick, Vec::new());
        while ids.len() < SENDERS * MESSAGES_EACH {
            ids.push(quick.until("message").await["id"].as_str().expect("an id").to_owned());
        }
        ids
    });
    let poured = futures_util::future::join_all(users[..SENDERS].iter().map(|user| pour(&server, user))).await;
    let wanted: BTreeSet<String> = poured.into_iter().flatten().collect();
    assert_eq!(wanted.len(), SENDERS * MESSAGES_EACH);
    let in_order: Vec<String> = wanted.iter().cloned().collect();
    // The quick reader has everything although nobody reads the slow ones.
    assert_eq!(quick.await.expect("the quick reader"), in_order);
    for socket in slow {
        let arrived = collect(socket, &wanted).await;
        let distinct: BTreeSet<String> = arrived.iter().cloned().collect();
        assert_eq!(distinct, wanted);
        assert_eq!(arrived, in_order, "in order, each once");
    }
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    let kib: usize = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_little_memory() {
    const READERS: u32 = 50;
    const POURS_MAX: usize = 20;
    let server = Server::start();
    let ann = server.user("ann").await;
    // The room's ring and the store's caches are full before anything is measured.
    pour(&server, &ann).await;
    let mut slow = Vec::new();
    for _ in 0..READERS {
        slow.push(small(&server, &ann).await);
    }
    let before = resident(server.id());
    let (mut wanted, mut behind, mut pours) = (BTreeSet::new(), 0.0, 0);
    // The kernel takes some megabytes for each of them before anything has to wait in the server.
    while behind < f64::from(READERS) {
        assert!(pours < POURS_MAX, "only {behind} of {READERS} had to wait");
        pours += 1;
        wanted.extend(pour(&server, &ann).await);
        behind = server.metric("natter_connections_behind").await;
        let deepest = server.metric("natter_outbox_deepest_bytes").await;
        assert!(deepest <= 64.0 * 1024.0, "{deepest} bytes wait for one reader");
    }
    let (waiting, deepest) = (
        server.metric("natter_outbox_bytes").await,
        server.metric("natter_outbox_deepest_bytes").await,
    );
    assert!(deepest > 0.0, "nothing waits in the server");
    let grown = resident(server.id()).saturating_sub(before);
    // Without a bound each would hold megabytes; with it 64 KiB, as much again for what the allocator keeps.
    println!("{grown} bytes grown for {READERS} slow readers; {waiting} wait, {deepest} at most for one");
    assert!(
        grown < READERS as usize * 128 * 1024,
        "{grown} bytes for {READERS} slow readers"
    );
    let last = collect(slow.pop().expect("a reader"), &wanted).await;
    assert!(last.is_sorted());
}
