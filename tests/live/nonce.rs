//! Sent once, shown once: a retry with the same nonce is the first attempt, wherever it comes from.

use serde_json::{Value, json};

use crate::common::{Server, Sock};

async fn attempt(socket: &mut Sock, nonce: &str, text: &str) -> Value {
    let frame = json!({ "type": "send", "room": "hall", "message": text, "nonce": nonce, "retry": true });
    socket.ask(frame).await
}

#[tokio::test]
async fn a_retry_gets_the_first_id_on_any_connection_and_after_restarts() {
    let mut server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut reader = server.room("hall", &bob).await;
    let mut sender = server.room("hall", &ann).await;
    let first = attempt(&mut sender, "n-1", "once").await;
    assert_eq!((&first["type"], &first["nonce"]), (&json!("ack"), &json!("n-1")));
    let again = attempt(&mut sender, "n-1", "once").await;
    assert_eq!((&again["type"], &again["id"]), (&json!("ack"), &first["id"]));
    drop(sender);
    let mut elsewhere = server.room("hall", &ann).await;
    assert_eq!(attempt(&mut elsewhere, "n-1", "once").await["id"], first["id"]);

    // Nonces belong to their author: another's is another message.
    let other = attempt(&mut reader, "n-1", "once").await;
    assert_eq!(other["type"], "ack");
    assert_ne!(other["id"], first["id"]);

    server.kill();
    server.start_again();
    let mut restarted = server.room("hall", &ann).await;
    assert_eq!(attempt(&mut restarted, "n-1", "once").await["id"], first["id"]);
    let history = server.history(&ann, "hall").await;
    let ids: Vec<&Value> = history.iter().map(|message| &message["id"]).collect();
    assert_eq!(ids, [&first["id"], &other["id"]]);
}

#[tokio::test]
async fn the_others_hear_it_once() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut reader = server.room("hall", &bob).await;
    let mut sender = server.room("hall", &ann).await;
    for _ in 0..5 {
        attempt(&mut sender, "n-1", "once").await;
    }
    sender.say("the end").await;
    reader.hears("once").await;
    reader.hears("the end").await;
}

#[tokio::test]
async fn a_nonce_is_good_for_one_message() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut sender = server.room("hall", &ann).await;
    attempt(&mut sender, "n-1", "once").await;
    let reused = attempt(&mut sender, "n-1", "something else").await;
    assert_eq!(
        (&reused["code"], &reused["nonce"]),
        (&json!("nonce_reused"), &json!("n-1")),
        "{reused}"
    );
    let mut elsewhere = server.room("attic", &ann).await;
    let frame = json!({ "type": "send", "message": "once", "nonce": "n-1", "retry": true });
    let reused = elsewhere.ask(frame).await;
    assert_eq!(reused["code"], "nonce_reused", "{reused}");
    assert_eq!(server.history(&ann, "hall").await.len(), 1);
    assert_eq!(server.history(&ann, "attic").await.len(), 0);
}
