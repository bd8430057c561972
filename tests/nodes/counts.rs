//! Counts that must hold whatever the number of members and nodes.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::common::within;
use crate::world::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_published_once_whatever_the_number_of_members() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let mut sockets = Vec::new();
    for n in 0..12 {
        let user = cluster.user(n % 3, "user").await;
        sockets.push(cluster.server(n % 3).room(&room, &user).await);
    }
    let ear = async_nats::connect(cluster.nats[0].address().to_string())
        .await
        .expect("a connection");
    let mut heard = ear.subscribe("natter.room.>").await.expect("a subscription");
    ear.flush().await.expect("it is in place");
    for n in 0..30 {
        let text = format!("message {n}");
        let sender = n % sockets.len();
        sockets[sender].say(&text).await;
        for (at, socket) in sockets.iter_mut().enumerate() {
            if at != sender {
                socket.hears(&text).await;
            }
        }
    }
    // A marker of our own comes after everything that was published before it. Inboxes are told things too; what counts
    // is the room's messages.
    let user = cluster.user(0, "marker").await;
    let mut marker = cluster.server(0).room(&cluster.name("marker"), &user).await;
    marker.say("the end").await;
    let mut count = 0;
    within("what was published", async {
        loop {
            let payload = heard.next().await.expect("a payload").payload;
            let text = String::from_utf8_lossy(&payload);
            if text.contains("\"message\":\"the end\"") {
                return;
            }
            count += usize::from(text.contains("\"type\":\"message\"") && text.contains(&room));
        }
    })
    .await;
    assert_eq!(count, 30, "publishes for 30 messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_joins_of_a_room_at_once_read_its_messages_at_most_twice() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let room = cluster.name("hall");
    let user = cluster.user(0, "ann").await;
    let mut writer = cluster.server(0).room(&room, &user).await;
    for n in 0..60 {
        writer.say(&format!("message {n}")).await;
    }
    // The other node has never served the room: it has to read it, once for all of them.
    let reads = "natter_store_reads_total{kind=\"message_range\"}";
    let before = cluster.server(1).metric(reads).await;
    let joins = (0..1_000).map(|_| async {
        let path = format!("/ws/chat/{room}/");
        let mut socket = loop {
            // A node admits handshakes in turn, and tells the rest to come again.
            match cluster.server(1).open(&path, &user).await {
                Ok(socket) => break socket,
                Err((503, _)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(other) => panic!("refused: {other:?}"),
            }
        };
        let frames = socket.all_until("live").await;
        assert_eq!(frames.iter().filter(|frame| frame["type"] == "message").count(), 50);
        socket
    });
    let sockets = futures_util::future::join_all(joins).await;
    assert_eq!(sockets.len(), 1_000);
    let after = cluster.server(1).metric(reads).await;
    assert!(after - before <= 2.0, "{} message-range reads", after - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_costs_no_lightweight_transaction_and_no_read_of_messages() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let room = cluster.name("hall");
    let mut sockets = Vec::new();
    for node in 0..2 {
        let user = cluster.user(node, "user").await;
        sockets.push(cluster.server(node).room(&room, &user).await);
    }
    let counts = async || {
        let mut counts = Vec::new();
        for node in 0..2 {
            for series in [
                "natter_store_lwts_total",
                "natter_store_reads_total{kind=\"message_range\"}",
            ] {
                counts.push(cluster.server(node).metric(series).await.to_bits());
            }
            assert!(
                cluster.server(node).metric("natter_store_lwts_total").await > 0.0,
                "names are unique by them"
            );
        }
        counts
    };
    let before = counts().await;
    for n in 0..40 {
        let text = format!("message {n}");
        sockets[n % 2].say(&text).await;
        sockets[(n + 1) % 2].hears(&text).await;
    }
    assert_eq!(counts().await, before);
}
