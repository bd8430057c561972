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

#[tokio::test]
async fn until_balancers_have_noticed_it_is_unready_and_serves_all_the_same() {
    // The delay never ends by itself here: a second signal does.
    let flags = ["--limits", "off", "--drain-delay", "5m", "--shutdown-deadline", "1h"];
    let mut server = Server::with(&flags);
    let ann = server.user("ann").await;
    let mut before = server.room("hall", &ann).await;
    assert!(server.ready().await);
    server.terminate();
    unready(&server).await;
    let bob = server.user("bob").await;
    let mut after = server.room("hall", &bob).await;
    after.say("still here").await;
    before.hears("still here").await;
    before.say("so am I").await;
    after.hears("so am I").await;
    assert!(!server.ready().await);
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(1), "a second signal ends it at once");
}

#[tokio::test]
async fn after_the_delay_nobody_is_let_in_and_who_is_there_is_sent_away_in_batches() {
    let pace = ["--drain-delay", "500ms", "--drain-pace", "40", "--drain-window", "2s"];
    let mut server = Server::with(&[&["--limits", "off"], &pace[..]].concat());
    let ann = server.user("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..40 {
        sockets.push(server.room("hall", &ann).await);
    }
    server.terminate();
    unready(&server).await;
    let mut delays = Vec::new();
    for socket in &mut sockets {
        let bye = socket.until("bye").await;
        delays.push(bye["delay"].as_f64().expect("a number"));
        assert_eq!(socket.closed().await, Some(4000));
    }
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
    assert_eq!(server.ended().await.code(), Some(0));
    // Batches are closed one after the other, so nobody has to wait for longer than until the next one.
    assert!(delays.iter().all(|delay| (0.0..=0.11).contains(delay)), "{delays:?}");
    assert!(delays.iter().any(|delay| *delay > 0.0));
}

async fn unready(server: &Server) {
    crate::common::within("the end of readiness", async {
        while server.ready().await {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}
