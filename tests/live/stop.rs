//! A stop in order: clients are told when to come back, and the process ends well and in time.

use serde_json::json;

use crate::common::Server;

#[tokio::test]
async fn a_stop_says_goodbye_and_loses_nothing() {
    let mut server = Server::with(&["--limits", "off", "--drain-window", "0s"]);
    let ann = server.user("ann").await;
    let mut writer = server.room("hall", &ann).await;
    let mut idle = server.socket("/ws", &ann).await;
    let last = writer.say("the last word").await["id"].clone();
    server.terminate();
    for socket in [&mut writer, &mut idle] {
        let bye = socket.until("bye").await;
        assert_eq!((&bye["reason"], &bye["resume"]), (&json!("going_away"), &json!(true)));
        assert!(bye["delay"].is_number(), "{bye}");
        assert_eq!(socket.closed().await, Some(4000));
    }
    assert_eq!(server.ended().await.code(), Some(0));
    server.start_again();
    let mut back = server.socket("/ws/chat/hall/", &ann).await;
    back.expect("joined").await;
    assert_eq!(back.hears("the last word").await["id"], last);
}

#[tokio::test]
async fn a_socket_that_reads_nothing_does_not_hold_the_stop_up() {
    let mut server = Server::with(&["--limits", "off", "--drain-window", "0s", "--shutdown-deadline", "3s"]);
    let ann = server.user("ann").await;
    let open = crate::common::Open::new(server.address(), "/ws/chat/hall/?echo=1").cookie(&ann.cookie);
    let mut deaf = open.receive_buffer(4_096).open().await.expect("an upgrade");
    let body = "x".repeat(3_500);
    for _ in 0..30 {
        deaf.send(json!({ "message": body })).await;
    }
    let mut other = server.room("hall", &ann).await;
    assert_eq!(
        other.ask(json!({ "type": "send", "message": "seen" })).await["type"],
        "ack"
    );
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
    drop(deaf);
}
