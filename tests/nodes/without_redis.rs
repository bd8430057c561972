//! Redis is away, silently or not: who is connected talks on and may enter rooms, nobody is let in unchecked, and what
//! would have to be announced to all is refused with a time to try again.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::common::{PASSWORD, Sock, User, within};
use crate::raw::exchange;
use crate::world::Cluster;

/// Joins a room on a connection for several; the answer.
async fn join(socket: &mut Sock, room: &str) -> Value {
    let joined = socket.ask(json!({ "type": "join", "room": room })).await;
    if joined["type"] == "joined" {
        socket.until("live").await;
    }
    joined
}

/// Sends until it is acknowledged: a node needs a moment to know that all are without Redis.
async fn say(socket: &mut Sock, room: &str, text: &str) {
    let nonce = text.replace(' ', "-");
    within("an acknowledgement", async {
        let mut retry = false;
        loop {
            let send = json!({ "type": "send", "room": room, "message": text, "nonce": nonce, "retry": retry });
            let answer = socket.ask(send).await;
            if answer["type"] == "ack" {
                return;
            }
            println!("{answer}");
            retry = true;
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    })
    .await;
}

/// Takes what comes until this message does.
async fn hears(socket: &mut Sock, text: &str) {
    while socket.until("message").await["message"] != text {}
}

/// A request is answered 503, and with a time to try again.
async fn is_refused(cluster: &Cluster, node: usize, asked: &str, user: &User, body: &str) {
    let cookie = format!("Cookie: {}", user.cookie);
    let answer = exchange(cluster.server(node).address(), None, asked, &[&cookie], body).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{asked}: {answer}");
    let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.to_ascii_lowercase().contains("\nretry-after: "), "{asked}: {head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_connected_go_on_and_nobody_is_let_in_unchecked() {
    let Some(mut cluster) = Cluster::start(2).await else {
        return;
    };
    let (hall, shed) = (cluster.name("hall"), cluster.name("shed"));
    let (ann, ben) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await);
    let mut one = cluster.server(0).socket("/ws", &ann).await;
    let mut two = cluster.server(1).socket("/ws", &ben).await;
    assert_eq!(join(&mut one, &hall).await["type"], "joined");
    assert_eq!(join(&mut two, &hall).await["type"], "joined");
    // Ben knows that room, as somebody who is not in it.
    cluster
        .server(0)
        .done(Method::POST, "/api/rooms", &ann, Some(json!({ "name": shed })))
        .await;
    for silent in [true, false] {
        println!("silent: {silent}");
        if silent {
            cluster.redis.signal("STOP");
        } else {
            cluster.redis.kill();
        }
        say(&mut one, &hall, &format!("hear me {silent}")).await;
        hears(&mut two, &format!("hear me {silent}")).await;
        // What one is a member of already, what one becomes a member of, and what did not exist.
        one.ask(json!({ "type": "unsubscribe", "room": hall })).await;
        assert_eq!(join(&mut one, &hall).await["type"], "joined");
        let new = cluster.name("new");
        let made = join(&mut one, &new).await;
        assert_eq!(
            (&made["type"], &made["created"]),
            (&json!("joined"), &json!(true)),
            "{made}"
        );
        let entered = join(&mut two, &new).await;
        assert_eq!(
            (&entered["type"], &entered["created"]),
            (&json!("joined"), &json!(false)),
            "{entered}"
        );
        assert_eq!(join(&mut two, &shed).await["type"], "joined");
        say(&mut two, &new, &format!("here too {silent}")).await;
        hears(&mut one, &format!("here too {silent}")).await;
        // Nobody is let in, nothing is taken away.
        let credentials = json!({ "username": ann.username, "password": PASSWORD }).to_string();
        for node in 0..2 {
            let refused = cluster.server(node).open("/ws", &ann).await.err();
            assert_eq!(
                refused.as_ref().map(|(status, _)| *status),
                Some(503),
                "a handshake on node {node}"
            );
            assert!(
                refused.is_some_and(|(_, body)| body.contains("retry_after")),
                "it says when to come back"
            );
            let kick = format!("DELETE /api/rooms/{hall}/members/{}", ben.username);
            is_refused(&cluster, node, "POST /api/session", &ann, &credentials).await;
            for asked in ["DELETE /api/session", &kick] {
                is_refused(&cluster, node, asked, &ann, "").await;
            }
        }
        let left = two.ask(json!({ "type": "leave", "room": shed })).await;
        assert_eq!(left["code"], "unavailable", "{left}");
        assert!(left["retry_after"].as_f64().is_some(), "{left}");
        if silent {
            cluster.redis.signal("CONT");
            within("a handshake that passes again", async {
                while cluster.server(1).open("/ws", &ann).await.is_err() {
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            })
            .await;
            // What was begun meanwhile is known everywhere, and can be ended.
            let path = format!("/api/rooms/{new}/members/{}", ben.username);
            let kicked = cluster.server(1).request(Method::DELETE, &path, &ann, None).await;
            assert_eq!(kicked.status, StatusCode::NO_CONTENT, "{kicked:?}");
            two.until("left").await;
            cluster.all_ready().await;
        }
    }
}
