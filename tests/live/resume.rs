//! Coming back: with a cursor, with and without a digest, after little and after much.

use serde_json::{Value, json};

use crate::common::{Server, Sock};

/// Sends so many messages on a one-room socket, in a row, and takes their acknowledgements.
async fn fill(socket: &mut Sock, count: usize, text: &str) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for start in (0..count).step_by(30) {
        let batch = start..count.min(start + 30);
        for n in batch.clone() {
            socket.send(json!({ "message": format!("{text} {n}") })).await;
        }
        for _ in batch {
            ids.push(socket.until("ack").await["id"].as_str().expect("an id").to_owned());
        }
    }
    ids
}

fn digest(ids: &[String]) -> String {
    let numbers = ids
        .iter()
        .map(|id| u128::from_str_radix(&id.replace('-', ""), 16).expect("an id"));
    format!("{}.{:032x}", ids.len(), numbers.fold(0, |xor, id| xor ^ id))
}

/// Opens a one-room socket with this query, and gives what comes between `joined` and `live`, and the live cursor.
async fn replay(server: &Server, user: &crate::common::User, query: &str) -> (Vec<Value>, Value) {
    let mut socket = server.socket(&format!("/ws/chat/hall/?{query}"), user).await;
    socket.expect("joined").await;
    let mut frames = socket.all_until("live").await;
    let live = frames.pop().expect("live");
    frames.retain(|frame| frame["type"] != "presence");
    (frames, live["cursor"].clone())
}

fn ids(frames: &[Value]) -> Vec<String> {
    let messages = frames.iter().filter(|frame| frame["type"] == "message");
    messages
        .map(|frame| frame["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_cursor_brings_what_came_after_it_and_a_digest_spares_the_overlap() {
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let sent = fill(&mut writer, 20, "message").await;
    for restart in [false, true] {
        if restart {
            server.kill();
            server.start_again();
        }
        let cursor = &sent[9];
        let (frames, live) = replay(&server, &ann, &format!("since={cursor}")).await;
        assert_eq!(
            ids(&frames),
            sent,
            "the span before the cursor comes too (restart: {restart})"
        );
        assert_eq!(live, json!(sent[19]));
        let (frames, _) = replay(&server, &ann, &format!("since={cursor}&have={}", digest(&sent[..10]))).await;
        assert_eq!(ids(&frames), sent[10..], "a digest that agrees (restart: {restart})");
        let tail = format!("since={cursor}&have={}.{}", digest(&sent[4..10]), sent[4]);
        let (frames, _) = replay(&server, &ann, &tail).await;
        assert_eq!(ids(&frames), sent[10..], "a digest of a tail (restart: {restart})");
        let (frames, _) = replay(&server, &ann, &format!("since={cursor}&have={}", digest(&sent[1..10]))).await;
        assert_eq!(ids(&frames), sent, "a digest that does not agree (restart: {restart})");
        let newest = &sent[19];
        let (frames, _) = replay(&server, &ann, &format!("since={newest}&have={}", digest(&sent))).await;
        assert_eq!(ids(&frames), Vec::<String>::new(), "nothing new (restart: {restart})");
    }
}

#[tokio::test]
async fn edits_and_deletions_are_replayed() {
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let sent = fill(&mut writer, 4, "message").await;
    let edit = json!({ "type": "edit", "id": sent[0], "message": "edited" });
    writer.ask(edit).await;
    let last = writer.ask(json!({ "type": "delete", "id": sent[1] })).await["event_id"].clone();
    for restart in [false, true] {
        if restart {
            server.kill();
            server.start_again();
        }
        let query = format!("since={}&have={}", sent[3], digest(&sent));
        let (frames, live) = replay(&server, &ann, &query).await;
        let edited = frames.iter().find(|frame| frame["type"] == "edited").expect("the edit");
        assert_eq!((&edited["id"], &edited["message"]), (&json!(sent[0]), &json!("edited")));
        let deleted = frames
            .iter()
            .find(|frame| frame["type"] == "deleted")
            .expect("the deletion");
        assert_eq!(deleted["id"], json!(sent[1]));
        assert_eq!(live, last, "restart: {restart}");
        let (frames, _) = replay(&server, &ann, &format!("since={}", last.as_str().unwrap())).await;
        let texts: Vec<_> = frames
            .iter()
            .filter(|frame| frame["type"] == "message")
            .map(|m| m["message"].clone())
            .collect();
        assert_eq!(texts, ["edited", "", "message 2", "message 3"], "restart: {restart}");
    }
}

#[tokio::test]
async fn a_thousand_events_are_replayed_and_more_are_a_gap() {
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let sent = fill(&mut writer, 1_002, "message").await;
    for restart in [false, true] {
        if restart {
            server.kill();
            server.start_again();
        }
        let (frames, live) = replay(&server, &ann, &format!("since={}", sent[1])).await;
        assert!(
            frames.iter().all(|frame| frame["type"] != "reset"),
            "restart: {restart}"
        );
        let told = ids(&frames);
        assert!(
            told.ends_with(&sent[2..]),
            "all after the cursor, in order (restart: {restart}): {}",
            told.len()
        );
        assert_eq!(live, json!(sent[1_001]));

        let (frames, live) = replay(&server, &ann, &format!("since={}", sent[0])).await;
        assert_eq!(frames[0]["type"], "reset", "restart: {restart}: {}", frames[0]);
        assert_eq!(
            (&frames[0]["from"], &frames[0]["to"]),
            (&json!(sent[0]), &json!(sent[952]))
        );
        assert_eq!(ids(&frames), sent[952..], "the latest page (restart: {restart})");
        assert_eq!(live, json!(sent[1_001]));
    }
}

#[tokio::test]
async fn rooms_of_the_shared_socket_resume_too() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let sent = fill(&mut writer, 6, "message").await;
    let mut many = server.socket("/ws", &ann).await;
    many.send(json!({ "type": "join", "room": "hall", "since": sent[2], "have": digest(&sent[..3]) }))
        .await;
    assert_eq!(ids(&many.all_until("live").await), sent[3..]);
    let wrong = many
        .ask(json!({ "type": "join", "room": "hall", "since": "yesterday" }))
        .await;
    assert_eq!(wrong["code"], "invalid_frame", "{wrong}");
}
