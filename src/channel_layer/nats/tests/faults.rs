//! Servers that die, freeze and come back, and nodes that are too slow.

use super::server;
use super::*;
use crate::channel_layer::Error;

async fn until_answering(layer: &NatsLayer) {
    while layer.ping().await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn next_loss(layer: &NatsLayer) -> u64 {
    loop {
        if let Incoming::Lost { count } = layer.next().await.expect("an open layer") {
            return count;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_found_again_and_the_hole_is_told() {
    let Some(mut server) = Server::start(|_| String::new()) else {
        return;
    };
    let nodes = layers(&server::options(&server.address()), 2).await;
    let (rooms, left) = ([RoomId::random(), RoomId::random()], RoomId::random());
    for room in rooms.iter().chain([&left]) {
        nodes[1].join(*room).await.expect("it joins");
    }
    server.kill();
    assert_eq!(next_loss(&nodes[1]).await, 0, "nobody knows how many");
    while nodes[0].ping().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = nodes[0].publish(rooms[0], Class::Durable, Bytes::new()).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    let refused = nodes[0].join(rooms[0]).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    // It must not come back with the connection.
    nodes[1].leave(left).await.expect("leaving works without a server");
    assert!(server.run());
    until_answering(&nodes[0]).await;
    until_answering(&nodes[1]).await;
    assert_eq!(
        next_loss(&nodes[1]).await,
        0,
        "told again when everything is joined again"
    );
    for number in 0..50_u8 {
        for room in [rooms[0], rooms[1], left] {
            let payload = Bytes::from(vec![number, room.as_bytes()[0], u8::from(room == left)]);
            nodes[0]
                .publish(room, Class::Durable, payload)
                .await
                .expect("it publishes");
        }
    }
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        let payload = next_payload(&nodes[1]).await;
        assert_eq!(payload[2], 0, "of a room that was left meanwhile");
        assert!(seen.insert(payload), "a payload arrived twice");
    }
    assert!(nodes[1].counters().interruptions.load(Ordering::Relaxed) >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_makes_nobody_wait_without_end() {
    let Some(server) = Server::start(|_| String::new()) else {
        return;
    };
    let nodes = layers(&server::options(&server.address()), 2).await;
    let room = RoomId::random();
    nodes[1].join(room).await.expect("it joins");
    server.signal("STOP");
    assert!(matches!(nodes[0].ping().await, Err(Error::Unavailable(_))));
    let big = Bytes::from(vec![0; 60_000]);
    let mut taken = 0;
    // What the kernel and the client take in is bounded, and what comes then is refused.
    while nodes[0].publish(room, Class::Durable, big.clone()).await.is_ok() {
        taken += 1;
        assert!(taken < 4 * crate::limits::LAYER_COMMANDS_MAX, "it takes without bound");
    }
    assert!(nodes[0].join(RoomId::random()).await.is_err());
    let ephemeral = nodes[0].publish(room, Class::Ephemeral, big).await;
    assert!(ephemeral.is_err(), "{ephemeral:?}");
    server.signal("CONT");
    until_answering(&nodes[0]).await;
    let arrival = async {
        loop {
            if next_payload(&nodes[1]).await == "after" {
                return;
            }
        }
    };
    let publishing = async {
        loop {
            // Whatever was on its way comes first, and some of it may be given up.
            let _ = nodes[0]
                .publish(room, Class::Durable, Bytes::from_static(b"after"))
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = arrival => {}
        () = publishing => {}
    }
}

#[tokio::test]
async fn a_slow_node_is_told_how_many_it_lost() {
    let Some(server) = Server::start(|_| String::new()) else {
        return;
    };
    let options = NatsOptions {
        capacity: 10,
        ..server::options(&server.address())
    };
    let nodes = layers(&options, 2).await;
    let room = RoomId::random();
    nodes[1].join(room).await.expect("it joins");
    for number in 0..100_u8 {
        let payload = Bytes::from(vec![number]);
        nodes[0]
            .publish(room, Class::Durable, payload)
            .await
            .expect("it publishes");
    }
    let counters = nodes[1].counters();
    while counters.received.load(Ordering::Relaxed) < 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(counters.dropped.load(Ordering::Relaxed), 90);
    assert_eq!(nodes[1].next().await, Ok(Incoming::Lost { count: 90 }));
    for number in 0..10_u8 {
        assert_eq!(next_payload(&nodes[1]).await, vec![number]);
    }
}

#[tokio::test]
async fn what_the_client_drops_is_told_too() {
    let Some(server) = Server::start(|_| String::new()) else {
        return;
    };
    let options = NatsOptions {
        subscription_capacity: 1,
        ..server::options(&server.address())
    };
    let nodes = layers(&options, 2).await;
    let room = RoomId::random();
    nodes[1].join(room).await.expect("it joins");
    let counters = nodes[1].counters();
    let mut published = 0;
    // How many of a burst the client finds at once is up to the kernel.
    while counters.dropped.load(Ordering::Relaxed) == 0 {
        for _ in 0..500 {
            nodes[0]
                .publish(room, Class::Durable, Bytes::from_static(b"x"))
                .await
                .expect("it publishes");
        }
        published += 500;
        nodes[1].ping().await.expect("it answers");
        tokio::task::yield_now().await;
    }
    assert_eq!(next_loss(&nodes[1]).await, 0, "the client does not say how many");
    assert!(counters.received.load(Ordering::Relaxed) < published);
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_refused_by_its_length() {
    let Some(server) = Server::start(|_| "max_payload: 1000".into()) else {
        return;
    };
    let nodes = layers(&server::options(&server.address()), 1).await;
    let publish = |bytes| nodes[0].publish(RoomId::random(), Class::Durable, Bytes::from(vec![0; bytes]));
    assert_eq!(publish(1_000).await, Ok(()));
    assert_eq!(
        publish(1_001).await,
        Err(Error::TooLong {
            bytes: 1_001,
            most: 1_000
        })
    );
    nodes[0].ping().await.expect("the connection is as before");
    // By which a node knows before it serves that its frames of status would be lost.
    let frame = crate::limits::STATUS_BYTES_MAX;
    let short = Err(Error::TooLong {
        bytes: frame,
        most: 1_000,
    });
    assert_eq!((nodes[0].carries(1_000), nodes[0].carries(frame)), (Ok(()), short));
    let Some(usual) = Server::start(|_| String::new()) else {
        return;
    };
    assert_eq!(
        layers(&server::options(&usual.address()), 1).await[0].carries(frame),
        Ok(())
    );
}

/// Publishes until it arrives, which in a cluster of servers takes until they have told each other of the subscription.
async fn until_heard(from: &NatsLayer, to: &NatsLayer, room: RoomId) {
    let text = Bytes::from(server::prefix());
    let publishing = async {
        loop {
            let _ = from.publish(room, Class::Durable, text.clone()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let arriving = async { while next_payload(to).await != text {} };
    tokio::select! {
        () = publishing => {}
        () = arriving => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_move_to_another_server_of_a_cluster() {
    let routes = [server::free_port(), server::free_port()];
    let start = |own: usize| {
        Server::start(|_| {
            let (listen, other) = (routes[own], routes[1 - own]);
            format!(
                "cluster {{ name: test, listen: \"127.0.0.1:{listen}\", no_advertise: true, \
                 routes: [\"nats://127.0.0.1:{other}\"] }}"
            )
        })
    };
    let (Some(mut one), Some(two)) = (start(0), start(1)) else {
        return;
    };
    let mut options = server::options(&one.address());
    options.servers.push(format!("127.0.0.1:{}", two.port));
    let nodes = layers(&options, 3).await;
    let rooms: Vec<_> = (0..8).map(|_| RoomId::random()).collect();
    for room in &rooms {
        for node in &nodes[1..] {
            node.join(*room).await.expect("it joins");
            until_heard(&nodes[0], node, *room).await;
        }
    }
    one.kill();
    for node in &nodes {
        until_answering(node).await;
    }
    for room in &rooms {
        for node in &nodes[1..] {
            until_heard(&nodes[0], node, *room).await;
        }
    }
    let on_two = two.ask("/varz")["connections"].as_u64();
    assert_eq!(
        on_two,
        Some(6),
        "two connections of each node are at the server that is left"
    );
}
