//! The socket for many rooms: joining, leaving, and the inbox.

use http::Method;
use serde_json::json;

use crate::common::Server;

#[tokio::test]
async fn one_socket_hears_several_rooms() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut many = server.socket("/ws", &ann).await;
    for room in ["one", "two"] {
        many.send(json!({ "type": "join", "room": room, "ref": room })).await;
        let frames = many.all_until("live").await;
        let joined = frames.iter().find(|frame| frame["type"] == "joined").expect("joined");
        assert_eq!((&joined["ref"], &joined["created"]), (&json!(room), &json!(true)));
        assert_eq!(frames.last().unwrap()["ref"], room);
    }
    for room in ["two", "one"] {
        let mut single = server.room(room, &bob).await;
        single.say(&format!("in {room}")).await;
        let message = many.until("message").await;
        assert_eq!(
            (&message["room"], &message["message"]),
            (&json!(room), &json!(format!("in {room}")))
        );
    }
    let nameless = many.ask(json!({ "type": "send", "message": "where?" })).await;
    assert_eq!(nameless["code"], "invalid_frame", "{nameless}");
    let stranger = many
        .ask(json!({ "type": "send", "room": "three", "message": "x" }))
        .await;
    assert_eq!(stranger["code"], "not_joined", "{stranger}");
}

#[tokio::test]
async fn unsubscribed_is_silent_and_left_is_out() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut owner = server.room("hall", &ann).await;
    let mut many = server.socket("/ws", &bob).await;
    many.send(json!({ "type": "join", "room": "hall" })).await;
    many.until("live").await;
    let left = many.ask(json!({ "type": "unsubscribe", "room": "hall" })).await;
    assert_eq!(
        (&left["type"], &left["reason"]),
        (&json!("left"), &json!("unsubscribed"))
    );
    owner.say("unheard").await;
    // Whatever was on its way would have come before the answer.
    many.send(json!({ "type": "ping" })).await;
    let before = many.all_until("pong").await;
    assert!(before.iter().all(|frame| frame["type"] != "message"), "{before:?}");
    let members = server.done(Method::GET, "/api/rooms/hall/members", &ann, None).await;
    assert_eq!(members["members"].as_array().unwrap().len(), 2);

    many.send(json!({ "type": "join", "room": "hall" })).await;
    assert!(
        many.all_until("live")
            .await
            .iter()
            .any(|frame| frame["message"] == "unheard")
    );
    let left = many.ask(json!({ "type": "leave", "room": "hall" })).await;
    assert_eq!((&left["type"], &left["reason"]), (&json!("left"), &json!("left")));
    let members = server.done(Method::GET, "/api/rooms/hall/members", &ann, None).await;
    assert_eq!(members["members"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_second_join_on_one_connection_starts_afresh() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut socket = server.room("hall", &ann).await;
    socket.say("once").await;
    for _ in 0..3 {
        socket.send(json!({ "type": "join", "room": "hall" })).await;
        socket.expect("joined").await;
        socket.hears("once").await;
        socket.expect("live").await;
    }
    let bob = server.user("bob").await;
    server.room("hall", &bob).await.say("twice?").await;
    socket.hears("twice?").await;
    socket.send(json!({ "type": "ping" })).await;
    socket.expect("pong").await;
}

#[tokio::test]
async fn the_inbox_tells_what_concerns_the_user() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut inbox = server.socket("/ws", &bob).await;

    let mut direct = server.socket(&format!("/ws/direct/{}/", bob.username), &ann).await;
    direct.until("live").await;
    let told = inbox.until("inbox").await;
    assert_eq!((&told["what"], &told["with"]), (&json!("direct"), &json!(ann.username)));

    let room = json!({ "name": "vault", "visibility": "private" });
    server.done(Method::POST, "/api/rooms", &ann, Some(room)).await;
    let member = format!("/api/rooms/vault/members/{}", bob.username);
    server.done(Method::PUT, &member, &ann, Some(json!({}))).await;
    let told = inbox.until("inbox").await;
    assert_eq!(
        (&told["what"], &told["room"], &told["by"]),
        (&json!("invited"), &json!("vault"), &json!(ann.username))
    );

    let mut vault = server.room("vault", &ann).await;
    let ack = vault.say(&format!("look, @{}!", bob.username)).await;
    let told = inbox.until("inbox").await;
    assert_eq!((&told["what"], &told["id"]), (&json!("mention"), &ack["id"]));

    server
        .done(Method::PUT, &member, &ann, Some(json!({ "role": "moderator" })))
        .await;
    let told = inbox.until("inbox").await;
    assert_eq!((&told["what"], &told["role"]), (&json!("role"), &json!("moderator")));

    server.done(Method::DELETE, &member, &ann, None).await;
    let told = inbox.until("inbox").await;
    assert_eq!((&told["what"], &told["room"]), (&json!("kicked"), &json!("vault")));
}
