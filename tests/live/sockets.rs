//! What is said in a room, who hears it, and what can be done to it afterwards.

use http::Method;
use serde_json::json;

use crate::common::{Open, Server};

#[tokio::test]
async fn a_first_join_makes_the_room_and_tells_who_is_here() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let open = Open::new(server.address(), "/ws/chat/hall").cookie(&ann.cookie);
    let mut first = open.open().await.expect("an upgrade");
    let hello = first.expect("hello").await;
    assert_eq!(
        (&hello["user"], &hello["user_id"]),
        (&json!(ann.username), &json!(ann.id))
    );
    assert_eq!(hello["superuser"], false);
    assert_eq!(
        hello["limits"],
        json!({ "message_chars": 4_000, "frame_bytes": 65_536, "rooms": 500 })
    );
    let joined = first.expect("joined").await;
    for (key, value) in [
        ("room", json!("hall")),
        ("kind", json!("public")),
        ("role", json!("owner")),
        ("created", json!(true)),
        ("cursor", json!(null)),
        ("read", json!(null)),
        ("present_count", json!(1)),
        ("present", json!([ann.username])),
    ] {
        assert_eq!(joined[key], value, "{key} of {joined}");
    }
    let live = first.expect("live").await;
    assert_eq!(live["room_id"], joined["room_id"]);

    let mut second = server.socket("/ws/chat/HALL/", &bob).await;
    let joined = second.expect("joined").await;
    assert_eq!((&joined["role"], &joined["created"]), (&json!("member"), &json!(false)));
    assert_eq!(joined["present_count"], 2);
}

#[tokio::test]
async fn a_join_brings_the_latest_messages_oldest_first() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut socket = server.room("hall", &ann).await;
    for n in 0..60 {
        socket.say(&format!("message {n}")).await;
    }
    for (query, count) in [("", 50), ("?latest=50", 50), ("?latest=7", 7), ("?latest=0", 0)] {
        let mut late = server.socket(&format!("/ws/chat/hall/{query}"), &ann).await;
        late.expect("joined").await;
        for n in 60 - count..60 {
            late.hears(&format!("message {n}")).await;
        }
        late.expect("live").await;
    }
}

#[tokio::test]
async fn others_hear_it_and_the_sender_has_an_ack() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut sender = server.room("hall", &ann).await;
    let mut own_other = server.room("hall", &ann).await;
    let mut other = server.room("hall", &bob).await;
    let mut echoing = server.socket("/ws/chat/hall/?echo=1", &bob).await;
    echoing.until("live").await;

    sender
        .send(json!({ "type": "send", "message": "hi", "nonce": "n-1", "ref": "r" }))
        .await;
    let ack = sender.expect("ack").await;
    assert_eq!(
        (&ack["ref"], &ack["nonce"], &ack["room"]),
        (&json!("r"), &json!("n-1"), &json!("hall"))
    );
    for socket in [&mut own_other, &mut other, &mut echoing] {
        let message = socket.hears("hi").await;
        for key in ["id", "at", "room", "room_id"] {
            assert_eq!(message[key], ack[key], "{key}");
        }
        assert_eq!(
            (&message["author"], &message["author_id"]),
            (&json!(ann.username), &json!(ann.id))
        );
    }
    // With echo the connection gets both; the sender of the first message hears only the second.
    echoing.send(json!({ "message": "and hello" })).await;
    let both = [echoing.frame().await, echoing.frame().await];
    let mut kinds: Vec<_> = both.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["ack", "message"]);
    assert_eq!(both[0]["id"], both[1]["id"]);
    for socket in [&mut sender, &mut own_other, &mut other] {
        socket.hears("and hello").await;
    }
    sender
        .send(json!({ "message": "a reply", "reply_to": ack["id"] }))
        .await;
    sender.expect("ack").await;
    assert_eq!(other.hears("a reply").await["reply_to"], ack["id"]);
    sender
        .send(json!({ "message": "to nothing", "reply_to": bob.id }))
        .await;
    let refused = sender.expect("error").await;
    assert!(
        refused["code"] == "not_found" || refused["code"] == "invalid_frame",
        "{refused}"
    );
}

#[tokio::test]
async fn own_messages_can_be_edited_and_deleted() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut author = server.room("hall", &ann).await;
    let mut reader = server.room("hall", &bob).await;
    let first = author.say("frist").await["id"].clone();
    let second = author.say("second").await["id"].clone();
    reader.hears("frist").await;
    reader.hears("second").await;

    reader
        .send(json!({ "type": "edit", "id": first, "message": "mine" }))
        .await;
    reader.error("forbidden").await;
    reader.send(json!({ "type": "delete", "id": first })).await;
    reader.error("forbidden").await;
    let ack = author
        .ask(json!({ "type": "edit", "id": first, "message": "first" }))
        .await;
    assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &first));
    let edited = reader.expect("edited").await;
    assert_eq!((&edited["id"], &edited["message"]), (&first, &json!("first")));
    assert_eq!(edited["event_id"], ack["event_id"]);
    let ack = author.ask(json!({ "type": "delete", "id": second })).await;
    assert_eq!(ack["type"], "ack");
    let deleted = reader.expect("deleted").await;
    assert_eq!((&deleted["id"], &deleted["event_id"]), (&second, &ack["event_id"]));
    let gone = author
        .ask(json!({ "type": "edit", "id": second, "message": "back" }))
        .await;
    assert_eq!(gone["code"], "not_found", "{gone}");

    let mut late = server.socket("/ws/chat/hall/", &bob).await;
    late.expect("joined").await;
    let first_now = late.hears("first").await;
    assert!(first_now["edited_at"].is_string());
    let second_now = late.hears("").await;
    assert_eq!((&second_now["id"], &second_now["deleted"]), (&second, &json!(true)));
    late.expect("live").await;
}

#[tokio::test]
async fn read_markers_move_forward_only() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut writer = server.room("hall", &ann).await;
    let mut reader = server.room("hall", &bob).await;
    let mut elsewhere = server.socket("/ws", &bob).await;
    let ids = [
        writer.say("one").await["id"].clone(),
        writer.say("two").await["id"].clone(),
    ];
    let room = server.done(Method::GET, "/api/rooms/hall", &bob, None).await;
    assert_eq!((&room["unread"], &room["last"]), (&json!(2), &ids[1]));
    assert_eq!(reader.ask(json!({ "type": "read", "id": ids[1] })).await["type"], "ack");
    let moved = elsewhere.until("read").await;
    assert_eq!(moved["id"], ids[1]);
    assert_eq!(reader.ask(json!({ "type": "read", "id": ids[0] })).await["type"], "ack");
    let room = server.done(Method::GET, "/api/rooms/hall", &bob, None).await;
    assert_eq!((&room["unread"], &room["read"]), (&json!(0), &ids[1]));
    let mut again = server.socket("/ws/chat/hall/", &bob).await;
    assert_eq!(again.expect("joined").await["read"], ids[1]);
}

#[tokio::test]
async fn typing_reaches_the_others() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut typist = server.room("hall", &ann).await;
    let mut watcher = server.room("hall", &bob).await;
    typist.send(json!({ "type": "typing" })).await;
    let typing = watcher.expect("typing").await;
    assert_eq!(
        (&typing["user"], &typing["user_id"]),
        (&json!(ann.username), &json!(ann.id))
    );
    typist.say("done").await;
    watcher.hears("done").await;
}

#[tokio::test]
async fn an_archived_room_is_read_only() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut socket = server.room("hall", &ann).await;
    socket.say("before").await;
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_natter"))
        .args(["createsuperuser", "--username", "root", "--data-dir"])
        .arg(server.folder())
        .env("NATTER_SUPERUSER_PASSWORD", crate::common::PASSWORD)
        .output()
        .expect("the command runs");
    assert!(made.status.success(), "{made:?}");
    let root = server
        .target()
        .log_in("root", crate::common::PASSWORD)
        .await
        .expect("logged in");
    let archived = json!({ "archived": true });
    server
        .done(Method::PATCH, "/api/admin/rooms/hall", &root, Some(archived))
        .await;
    let refused = socket.ask(json!({ "type": "send", "message": "after" })).await;
    assert_eq!(refused["code"], "archived", "{refused}");
    let mut reader = server.socket("/ws", &ann).await;
    reader.send(json!({ "type": "join", "room": "hall" })).await;
    let frames = reader.all_until("live").await;
    assert!(frames.iter().any(|frame| frame["message"] == "before"), "{frames:?}");
    let refused = reader
        .ask(json!({ "type": "send", "room": "hall", "message": "after" }))
        .await;
    assert_eq!(refused["code"], "archived", "{refused}");
}
