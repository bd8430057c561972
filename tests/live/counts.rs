//! Counts that must hold whatever the number of members.

use serde_json::json;

use crate::common::{Got, Server, Sock};

/// Reads of ranges of messages.
const READS: &str = "natter_store_reads_total{kind=\"message_range\"}";

async fn next_message(socket: &mut Sock) -> Vec<u8> {
    loop {
        match socket.next().await {
            Got::Frame(frame, bytes) if frame["type"] == "message" => return bytes,
            Got::Frame(..) => {}
            other => panic!("a message was expected, {other:?} came"),
        }
    }
}

#[tokio::test]
async fn a_message_is_encoded_once_and_the_same_bytes_go_to_everybody() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let mut readers = Vec::new();
    for n in 0..12 {
        let user = server.user(&format!("reader{n}-")).await;
        readers.push(server.room("hall", &user).await);
    }
    let before = server.metric("natter_encodings_total").await;
    for n in 0..10 {
        writer.say(&format!("message {n} with \"quotes\" and ünïcode")).await;
        let first = next_message(&mut readers[0]).await;
        for reader in &mut readers[1..] {
            assert_eq!(next_message(reader).await, first);
        }
    }
    let encodings = server.metric("natter_encodings_total").await - before;
    assert!((encodings - 10.0).abs() < 0.5, "{encodings} encodings for 10 messages");
}

#[tokio::test]
async fn joins_of_a_warm_room_read_no_messages_from_the_store() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    for n in 0..60 {
        writer.say(&format!("message {n}")).await;
    }
    server.room("hall", &ann).await;
    let before = server.metric(READS).await;
    for _ in 0..20 {
        let mut socket = server.socket("/ws/chat/hall/", &ann).await;
        let frames = socket.all_until("live").await;
        assert_eq!(frames.iter().filter(|frame| frame["type"] == "message").count(), 50);
        socket.send(json!({ "type": "ping" })).await;
        socket.until("pong").await;
    }
    assert_eq!(server.metric(READS).await.to_bits(), before.to_bits());
}

/// Everybody is cut at once and comes back with a cursor, to a server that remembers nothing: the readers of a room
/// share one read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_resumes_reads_each_room_once() {
    const READERS: usize = 40;
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let rooms = ["hall", "yard"];
    let mut cursors = Vec::new();
    for room in rooms {
        let mut writer = server.room(room, &ann).await;
        let mut ids = Vec::new();
        for n in 0..30 {
            let ack = writer.say(&format!("message {n}")).await;
            ids.push(ack["id"].as_str().expect("an id").to_owned());
        }
        cursors.push(ids.swap_remove(9));
    }
    server.kill();
    server.start_again();
    let come_back = |number: usize| {
        let (server, ann, at) = (&server, &ann, number % rooms.len());
        let path = format!("/ws/chat/{}/?since={}", rooms[at], cursors[at]);
        async move {
            let mut socket = server.socket(&path, ann).await;
            let frames = socket.all_until("live").await;
            let told = frames.iter().filter(|frame| frame["type"] == "message").count();
            assert!((20..=30).contains(&told), "{told} messages to reader {number}");
        }
    };
    futures_util::future::join_all((0..READERS).map(come_back)).await;
    let reads = server.metric(READS).await;
    assert!(
        reads <= 2.0,
        "{reads} reads of messages for {READERS} readers of two rooms"
    );
}

/// Nobody reads the room and none of them is a member yet: what the joins of all of them need is read together, and what
/// is unread to each begins after the newest message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_joins_of_many_at_once_read_the_room_at_most_twice() {
    const JOINERS: usize = 40;
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let mut newest = String::new();
    for n in 0..60 {
        let ack = writer.say(&format!("message {n}")).await;
        ack["id"].as_str().expect("an id").clone_into(&mut newest);
    }
    let mut users = Vec::new();
    for n in 0..JOINERS {
        users.push(server.user(&format!("joiner{n}-")).await);
    }
    server.kill();
    server.start_again();
    let join = |user| {
        let (server, newest) = (&server, &newest);
        async move {
            let mut socket = server.socket("/ws/chat/hall/", user).await;
            let frames = socket.all_until("live").await;
            let joined = frames.iter().find(|frame| frame["type"] == "joined").expect("joined");
            assert_eq!(joined["read"], **newest, "where unread messages begin");
            assert_eq!(frames.iter().filter(|frame| frame["type"] == "message").count(), 50);
        }
    };
    futures_util::future::join_all(users.iter().map(join)).await;
    let reads = server.metric(READS).await;
    assert!(reads <= 2.0, "{reads} reads of messages for {JOINERS} first joins");
}
