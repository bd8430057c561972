//! Order as it arrives at raw sockets, before anybody sorts.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::common::{Server, Sock};

const SENDERS: usize = 6;
const MESSAGES_EACH: usize = 100;

/// Sends without waiting for acknowledgements and hears everything; gives frames in the order of arrival.
async fn converse(socket: Sock, name: usize) -> Vec<Value> {
    let (mut hearing, mut write) = socket.split();
    let hears = async {
        let mut frames = Vec::new();
        while frames.len() < SENDERS * MESSAGES_EACH {
            let frame = hearing.next().await.expect("the socket stays open");
            if frame["type"] == "message" || frame["type"] == "ack" {
                frames.push(frame);
            }
        }
        frames
    };
    let says = async {
        for n in 0..MESSAGES_EACH {
            let text = json!({ "message": format!("{name} {n}"), "ref": n }).to_string();
            let frame = natter::client::mask_frame(natter::client::Opcode::Text, text.as_bytes(), [3, 1, 4, 1]);
            tokio::io::AsyncWriteExt::write_all(&mut write, &frame)
                .await
                .expect("written");
        }
    };
    let (frames, ()) = tokio::join!(hears, says);
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_socket_gets_the_same_order_and_nothing_is_inserted_late() {
    let server = Server::start();
    let mut sockets = Vec::new();
    for n in 0..SENDERS {
        let user = server.user(&format!("user{n}-")).await;
        sockets.push((n, server.room("hall", &user).await));
    }
    let talks = sockets.into_iter().map(|(n, socket)| tokio::spawn(converse(socket, n)));
    let talks = futures_util::future::join_all(talks).await;
    let mut orders = Vec::new();
    for (me, frames) in talks.into_iter().enumerate() {
        let frames = frames.expect("a conversation");
        let mut ids: Vec<String> = frames
            .iter()
            .map(|frame| frame["id"].as_str().expect("an id").to_owned())
            .collect();
        // An acknowledgement may overtake: who is behind gets it at once, so it is left out of this count.
        let told = frames.iter().filter(|frame| frame["type"] == "message");
        let told: Vec<&str> = told.map(|frame| frame["id"].as_str().expect("an id")).collect();
        let late = told.windows(2).filter(|pair| pair[0] > pair[1]).count();
        // One writer gives the ids in the order in which it makes messages durable: none can come late.
        assert_eq!(late, 0, "late insertions at socket {me}");
        let mut next: HashMap<String, usize> = HashMap::new();
        for frame in &frames {
            let (sender, number) = if frame["type"] == "ack" {
                (me.to_string(), frame["ref"].as_u64().expect("a ref").to_string())
            } else {
                let (sender, number) = frame["message"]
                    .as_str()
                    .expect("text")
                    .split_once(' ')
                    .expect("two words");
                (sender.to_owned(), number.to_owned())
            };
            let expected = next.entry(sender.clone()).or_default();
            assert_eq!(number, expected.to_string(), "sender {sender} at socket {me}");
            *expected += 1;
        }
        ids.sort_unstable();
        orders.push(ids);
    }
    assert!(
        orders.iter().all(|order| *order == orders[0]),
        "the same messages for everyone"
    );
    let reader = server.user("reader").await;
    server.room("hall", &reader).await;
    let history = server.history(&reader, "hall").await;
    let history: Vec<String> = history
        .iter()
        .map(|m| m["id"].as_str().expect("an id").to_owned())
        .collect();
    assert_eq!(history, orders[0], "and history has it too");
}
