//! What is refused before the upgrade, and what ends a socket for bad framing.

use http::Method;
use natter::client::{Opcode, mask_frame};
use serde_json::{Value, json};

use crate::common::{Got, Open, Server, Sock};

fn code(refused: Result<Sock, (u16, String)>) -> (u16, String) {
    let (status, body) = refused.err().expect("a refusal");
    let problem: Value = serde_json::from_str(&body).expect("a problem document");
    (status, problem["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn refusals_come_before_the_upgrade() {
    let server = Server::start();
    let user = server.user("ann").await;
    let other = server.user("bob").await;
    let open = |path: &str| Open::new(server.address(), path).cookie(&user.cookie);

    let nobody = Open::new(server.address(), "/ws").open().await;
    assert_eq!(code(nobody), (401, "not_logged_in".to_owned()));
    let stale = Open::new(server.address(), "/ws/chat/hall/")
        .cookie("natter_session=AAAA")
        .open()
        .await;
    assert_eq!(code(stale), (401, "not_logged_in".to_owned()));
    let foreign = open("/ws").header("Origin: http://elsewhere.example").open().await;
    assert_eq!(code(foreign), (403, "bad_origin".to_owned()));
    assert_eq!(
        code(open("/ws/direct/nobody/").open().await),
        (404, "not_found".to_owned())
    );
    assert_eq!(code(open("/ws/chat/bad%20name/").open().await).0, 400);
    for query in ["since=x", "have=1", "latest=51", "echo=2"] {
        let refused = code(open(&format!("/ws/chat/hall/?{query}")).open().await);
        assert_eq!(refused.0, 400, "{query}: {refused:?}");
    }
    let plain = Open::plain(server.address(), "/ws").cookie(&user.cookie).open().await;
    assert_eq!(code(plain), (426, "upgrade_required".to_owned()));

    let private = json!({ "name": "vault", "visibility": "private" });
    server.done(Method::POST, "/api/rooms", &other, Some(private)).await;
    assert_eq!(
        code(open("/ws/chat/vault/").open().await),
        (404, "not_found".to_owned())
    );
    server.room("hall", &other).await;
    let ban = format!("/api/rooms/hall/bans/{}", user.username);
    server.done(Method::PUT, &ban, &other, None).await;
    assert_eq!(code(open("/ws/chat/hall/").open().await), (403, "banned".to_owned()));

    let own = format!("Origin: http://{}", server.address());
    let mut welcome = open("/ws").header(&own).open().await.expect("the own origin opens");
    welcome.expect("hello").await;
}

#[tokio::test]
async fn a_client_too_old_is_told_so() {
    let server = Server::start();
    let user = server.user("ann").await;
    let open = Open::new(server.address(), "/ws").cookie(&user.cookie);
    let mut socket = open
        .header("Sec-WebSocket-Protocol: natter.v0")
        .open()
        .await
        .expect("an upgrade");
    let bye = socket.until("bye").await;
    assert_eq!(
        (&bye["reason"], &bye["resume"]),
        (&json!("client_too_old"), &json!(false))
    );
    assert_eq!(socket.closed().await, Some(4205));
}

#[tokio::test]
async fn bad_framing_ends_the_socket_with_its_code() {
    let server = Server::start();
    let user = server.user("ann").await;
    let huge = mask_frame(Opcode::Text, &vec![b'a'; 65_537], [1, 2, 3, 4]);
    let mut binary = mask_frame(Opcode::Text, b"{}", [1, 2, 3, 4]);
    binary[0] = 0x82;
    let not_utf8 = mask_frame(Opcode::Text, &[0xff, 0xfe], [1, 2, 3, 4]);
    let mut reserved = mask_frame(Opcode::Text, b"{}", [1, 2, 3, 4]);
    reserved[0] = 0xc1;
    for (bytes, expected) in [
        (huge, 1009),
        (binary, 1003),
        (not_utf8, 1007),
        (reserved, 1002),
        (vec![0x81, 0x02, b'{', b'}'], 1002),
    ] {
        let mut socket = server.room("hall", &user).await;
        socket.raw(&bytes).await;
        assert_eq!(socket.closed().await, Some(expected));
    }
    let mut polite = server.room("hall", &user).await;
    polite
        .raw(&mask_frame(Opcode::Close, &1000_u16.to_be_bytes(), [1, 2, 3, 4]))
        .await;
    assert_eq!(polite.closed().await, Some(1000));
}

#[tokio::test]
async fn a_frame_in_pieces_and_control_frames_between_them_are_understood() {
    let server = Server::start();
    let user = server.user("ann").await;
    let mut socket = server.room("hall", &user).await;
    let text = br#"{"type":"ping","ref":"whole"}"#;
    let mut first = mask_frame(Opcode::Text, &text[..9], [1, 2, 3, 4]);
    first[0] = 0x01;
    let mut last = mask_frame(Opcode::Text, &text[9..], [5, 6, 7, 8]);
    last[0] = 0x80;
    socket.raw(&first).await;
    socket.raw(&mask_frame(Opcode::Ping, b"between", [1, 2, 3, 4])).await;
    for byte in last {
        socket.raw(&[byte]).await;
    }
    let pong = socket.expect("pong").await;
    assert_eq!(pong["ref"], "whole");
}

#[tokio::test]
async fn what_is_no_request_is_answered_and_the_socket_stays() {
    let server = Server::start();
    let user = server.user("ann").await;
    let mut socket = server.room("hall", &user).await;
    for (text, code) in [
        ("nonsense", "invalid_json"),
        ("[1]", "invalid_json"),
        (r#"{"type":"dance","ref":1}"#, "unknown_type"),
        (r#"{"type":"send","ref":1}"#, "invalid_frame"),
        (r#"{"type":"send","message":5,"ref":1}"#, "invalid_frame"),
        (
            r#"{"type":"send","message":"hi","nonce":"a b","ref":1}"#,
            "invalid_frame",
        ),
        (r#"{"type":"send","message":" \n ","ref":1}"#, "message_empty"),
        (r#"{"type":"edit","id":"x","message":"y","ref":1}"#, "invalid_frame"),
        (
            r#"{"type":"send","room":"elsewhere","message":"hi","ref":1}"#,
            "not_joined",
        ),
        (r#"{"ref":1}"#, "invalid_frame"),
    ] {
        socket.text(text).await;
        let error = socket.error(code).await;
        assert!(!error["detail"].as_str().unwrap().is_empty(), "{error}");
        if text.contains("\"ref\"") {
            assert_eq!(error["ref"], 1, "{text}: {error}");
        }
    }
    socket.send(json!({ "message": "é".repeat(4_001) })).await;
    socket.error("message_too_long").await;
    socket.say(&"é".repeat(4_000)).await;
    let history = server.history(&user, "hall").await;
    assert_eq!(history.len(), 1);
    socket.send(json!({ "type": "ping" })).await;
    assert!(matches!(socket.next().await, Got::Frame(frame, _) if frame == json!({ "type": "pong" })));
}
