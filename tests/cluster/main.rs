//! Several nodes are one chat server: what is said on one is heard on all, whatever the way between them loses.

#[path = "../common/mod.rs"]
mod common;
mod edges;
mod holding;
mod redis;
mod revocation;
mod storm;
mod world;

use std::sync::atomic::Ordering;

use http::Method;
use serde_json::{Value, json};

use common::{Got, Sock, within};
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_on_one_node_is_heard_on_all_in_one_order() {
    let world = World::new();
    let [one, two, three] = world.nodes().await;
    let (ann, bob, eve) = (one.user("ann").await, two.user("bob").await, three.user("eve").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    let mut c = three.room("lobby", &eve).await;
    let mut acked = Vec::new();
    for n in 0..20 {
        acked.push(a.say(&format!("a{n}")).await["id"].clone());
        let frame = b.hears(&format!("a{n}")).await;
        assert_eq!(frame["id"], acked[n], "{frame}");
        c.hears(&format!("a{n}")).await;
    }
    b.say("from two").await;
    a.hears("from two").await;
    c.hears("from two").await;
    // One publish for each message, one encoding in the whole cluster.
    let published = |node: &world::Node| node.cluster.counts().published.get();
    assert_eq!((published(&one), published(&two), published(&three)), (20, 1, 0));
    let encodings = [&one, &two, &three].map(|node| node.hub.counters().encodings.get());
    assert_eq!(encodings.iter().sum::<u64>(), 21, "{encodings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_and_deletions_reach_every_node_and_those_who_join_later() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    let first = a.say("helo").await["id"].clone();
    let second = a.say("oops").await["id"].clone();
    b.hears("helo").await;
    b.hears("oops").await;
    a.ask(json!({ "type": "edit", "id": first, "message": "hello" })).await;
    let edited = b.expect("edited").await;
    assert_eq!((&edited["id"], &edited["message"]), (&first, &json!("hello")));
    a.ask(json!({ "type": "delete", "id": second })).await;
    assert_eq!(b.expect("deleted").await["id"], second);
    let eve = two.user("eve").await;
    let mut c = two.socket("/ws/chat/lobby/", &eve).await;
    let page = c.all_until("live").await;
    let messages: Vec<(&Value, &Value)> = page
        .iter()
        .filter(|frame| frame["type"] == "message")
        .map(|frame| (&frame["message"], &frame["deleted"]))
        .collect();
    assert_eq!(
        messages,
        [(&json!("hello"), &Value::Null), (&json!(""), &json!(true))],
        "{page:?}"
    );
    assert_eq!(page.iter().find(|f| f["id"] == second).unwrap()["author"], "ann");
}

/// Waits for a presence frame like this.
async fn presence(socket: &mut Sock, wanted: impl Fn(&Value) -> bool) {
    loop {
        let frame = socket.until("presence").await;
        if wanted(&frame) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_presence_and_the_inbox_cross_nodes() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut everything = two.socket("/ws", &bob).await;
    {
        let _b = two.room("lobby", &bob).await;
        presence(&mut a, |frame| frame["joined"] == json!(["bob"]) && frame["count"] == 2).await;
    }
    presence(&mut a, |frame| frame["left"] == json!(["bob"]) && frame["count"] == 1).await;
    let mut b = two.room("lobby", &bob).await;
    a.send(json!({ "type": "typing" })).await;
    assert_eq!(b.until("typing").await["user"], "ann");
    // Named, on a connection that does not read the room.
    a.send(json!({ "message": "look, @bob" })).await;
    let mention = loop {
        let frame = everything.until("inbox").await;
        if frame["what"] == "mention" {
            break frame;
        }
    };
    assert_eq!(
        (&mention["author"], &mention["message"]),
        (&json!("ann"), &json!("look, @bob"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_on_another_node_misses_nothing_and_a_retry_there_stores_nothing() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    let first = a.say("one").await;
    b.hears("one").await;
    drop(b);
    a.send(json!({ "message": "two", "nonce": "n1" })).await;
    let sent = a.expect("ack").await;
    // Bob returns to the node where he was not, with his cursor.
    let cursor = first["id"].as_str().unwrap();
    let mut b = one.socket(&format!("/ws/chat/lobby/?since={cursor}"), &bob).await;
    let frames = b.all_until("live").await;
    assert!(frames.iter().any(|frame| frame["message"] == "two"), "{frames:?}");
    // Ann sends again on the other node what was acknowledged on the first.
    let mut again = two.room("lobby", &ann).await;
    again
        .send(json!({ "message": "two", "nonce": "n1", "retry": true, "type": "send" }))
        .await;
    assert_eq!(again.until("ack").await["id"], sent["id"]);
    let page = one.done(Method::GET, "/api/rooms/lobby/messages", &ann, None).await;
    let texts: Vec<&Value> = page["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["message"])
        .collect();
    assert_eq!(texts, ["one", "two"]);
    again.say("three").await;
    // The retry told nobody anything new.
    b.hears("three").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_layer_loses_is_repaired() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    a.say("heard").await;
    b.hears("heard").await;
    // A hole between two that arrive.
    one.layer.lose.store(1, Ordering::SeqCst);
    a.say("lost").await;
    a.say("after").await;
    let texts = [b.expect("message").await, b.expect("message").await].map(|frame| frame["message"].clone());
    assert_eq!(texts, ["lost", "after"], "in order, although the first was lost");
    // The last one lost: only the status frame can tell.
    one.layer.lose.store(1, Ordering::SeqCst);
    a.say("last").await;
    b.hears("last").await;
    assert!(two.cluster.counts().repaired.get() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_between_write_and_publish_loses_nothing_and_takes_its_people_along() {
    let world = World::new();
    let [mut one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    a.say("heard").await;
    b.hears("heard").await;
    one.layer.deaf.store(true, Ordering::SeqCst);
    one.layer.mute.store(true, Ordering::SeqCst);
    a.say("stored, never published").await;
    one.kill();
    world.forget(one.boot()).await;
    // What was said comes from the store once its silence is noticed; who was there is seen to be gone.
    let (mut heard, mut left) = (false, false);
    while !(heard && left) {
        let Got::Frame(frame, _) = b.next().await else {
            panic!("the socket ended")
        };
        heard |= frame["message"] == "stored, never published";
        left |= frame["left"] == json!(["ann"]) && frame["count"] == 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_joins_cost_two_reads_of_messages() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let ann = one.user("ann").await;
    let mut a = one.room("lobby", &ann).await;
    for n in 0..60 {
        a.say(&format!("m{n}")).await;
    }
    let reads = || world.store.counters().range_reads.load(Ordering::Relaxed);
    let bob = two.user("bob").await;
    two.done(Method::PUT, "/api/rooms/lobby/members/bob", &ann, None).await;
    let before = reads();
    let joins = (0..1_000).map(|_| async {
        let mut socket = two.socket("/ws/chat/lobby/", &bob).await;
        let frames = socket.all_until("live").await;
        assert_eq!(frames.iter().filter(|frame| frame["type"] == "message").count(), 50);
        socket
    });
    let sockets = within("a thousand joins", futures_util::future::join_all(joins)).await;
    assert!(reads() - before <= 2, "{} reads", reads() - before);
    a.say("to all of you").await;
    for mut socket in sockets {
        socket.hears("to all of you").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_on_one_node_is_silenced_on_the_other() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    a.say("hello").await;
    b.hears("hello").await;
    one.done(Method::DELETE, "/api/rooms/lobby/members/bob", &ann, None)
        .await;
    a.say("he is gone").await;
    loop {
        match b.next().await {
            Got::Frame(frame, _) => assert_ne!(frame["type"], "message", "{frame}"),
            Got::Close(code) => assert_eq!(code, 4203),
            Got::End => break,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_marker_that_was_moved_on_one_node_does_not_go_back_on_another() {
    let world = World::new();
    let [one, two] = world.nodes().await;
    let ann = one.user("ann").await;
    let mut a = one.room("lobby", &ann).await;
    for n in 0..5 {
        let id = a.say(&format!("m{n}")).await["id"].clone();
        a.ask(json!({ "type": "read", "id": id })).await;
        // Each node has told it before, and tells it again.
        for node in [&two, &one] {
            let joined = node.socket("/ws/chat/lobby/", &ann).await.expect("joined").await;
            assert_eq!(joined["read"], id, "{joined}");
        }
    }
}
