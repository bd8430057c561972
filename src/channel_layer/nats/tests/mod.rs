//! The layer against real servers: the contract's suite, what reaches the server, log-ins, and faults.

mod faults;
mod logins;
mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;

use self::server::{Gate, Server};
use super::super::conformance::{self, World};
use super::super::{ChannelLayer, Class, Incoming};
use super::{NatsLayer, NatsOptions};
use crate::model::RoomId;

/// As many layers with the same options.
async fn layers(options: &NatsOptions, count: usize) -> Vec<Arc<NatsLayer>> {
    let mut layers = Vec::new();
    for _ in 0..count {
        layers.push(NatsLayer::connect(options.clone()).await.expect("it connects"));
    }
    layers
}

/// The next payload; losses and broadcasts are passed over.
async fn next_payload(layer: &NatsLayer) -> Bytes {
    loop {
        if let Incoming::Payload { payload, .. } = layer.next().await.expect("an open layer") {
            return payload;
        }
    }
}

struct Nats {
    address: String,
    gate: Mutex<Option<Arc<Gate>>>,
}

impl Nats {
    fn gate(&self) -> Arc<Gate> {
        Arc::clone(self.gate.lock().as_ref().expect("nodes were made"))
    }
}

#[async_trait]
impl World for Nats {
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let direct = server::options(&self.address);
        let gate = Arc::new(Gate::before(direct.servers[0].clone()).await);
        let options = NatsOptions {
            capacity: self.capacity(),
            servers: server::options(&gate.address()).servers,
            ..direct
        };
        *self.gate.lock() = Some(gate);
        let nodes = layers(&options, count).await;
        nodes.into_iter().map(|node| node as Arc<dyn ChannelLayer>).collect()
    }

    async fn cut(&self) {
        self.gate().set_open(false);
    }

    async fn restore(&self) {
        self.gate().set_open(true);
    }

    fn capacity(&self) -> usize {
        64
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(400)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nats_layer_keeps_every_clause() {
    let Some((address, _server)) = server::shared() else {
        return;
    };
    let gate = Mutex::default();
    assert_eq!(conformance::failures(&Nats { address, gate }).await, []);
}

#[tokio::test]
async fn one_publish_per_message_and_one_subscription_per_room() {
    let Some(server) = Server::start(|_| String::new()) else {
        return;
    };
    let options = server::options(&server.address());
    let nodes = layers(&options, 3).await;
    let witness = async_nats::connect(server.address()).await.expect("it connects");
    let mut heard = witness
        .subscribe(format!("{}.>", options.prefix))
        .await
        .expect("a subject");
    witness.flush().await.expect("a connection");
    let rooms: Vec<_> = (0..5).map(|_| RoomId::random()).collect();
    for node in &nodes {
        for room in &rooms {
            // As often as members of the node come.
            for _ in 0..4 {
                node.join(*room).await.expect("it joins");
            }
        }
        assert_eq!(node.counters().subscriptions.load(Ordering::Relaxed), 5);
    }
    assert_eq!(room_subscriptions(&server, &options.prefix), 3 * 5);
    for number in 0..20_u8 {
        let room = rooms[usize::from(number) % 5];
        nodes[0]
            .publish(room, Class::Durable, Bytes::from(vec![number]))
            .await
            .expect("it publishes");
    }
    nodes[0]
        .broadcast(Bytes::from_static(b"end"))
        .await
        .expect("it broadcasts");
    for node in &nodes[1..] {
        for _ in 0..20 {
            next_payload(node).await;
        }
    }
    nodes[0].ping().await.expect("it answers");
    witness.flush().await.expect("a connection");
    let mut published = Vec::new();
    while published.len() < 21 {
        let message = heard.next().await.expect("a subscription");
        // The probes by which the connections were made sure of carry nothing.
        if !message.payload.is_empty() {
            published.push(message.payload);
        }
    }
    let once: std::collections::HashSet<_> = published.iter().collect();
    assert_eq!(once.len(), 21, "each message was published once");
    let counters = nodes[0].counters();
    assert_eq!(counters.published_durable.load(Ordering::Relaxed), 20);
    assert_eq!(counters.published_broadcast.load(Ordering::Relaxed), 1);
    for room in &rooms {
        nodes[0].leave(*room).await.expect("it leaves");
    }
    nodes[0].ping().await.expect("it answers");
    assert_eq!(room_subscriptions(&server, &options.prefix), 2 * 5);
    for node in &nodes {
        node.close().await;
    }
}

/// How many subscriptions to rooms the server holds.
fn room_subscriptions(server: &Server, prefix: &str) -> usize {
    let answer = server.ask("/connz?subs=1");
    let connections = answer["connections"].as_array().expect("connections");
    let subjects = connections
        .iter()
        .filter_map(|connection| connection["subscriptions_list"].as_array())
        .flatten()
        .filter_map(|subject| subject.as_str());
    let rooms = format!("{prefix}.*.");
    subjects.filter(|subject| subject.starts_with(&rooms)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_again_and_again_brings_nothing_twice() {
    let Some((address, _server)) = server::shared() else {
        return;
    };
    let nodes = layers(&server::options(&address), 2).await;
    let room = RoomId::random();
    let coming_and_going = async {
        for _ in 0..100 {
            nodes[1].join(room).await.expect("it joins");
            nodes[1].leave(room).await.expect("it leaves");
        }
        nodes[1].join(room).await.expect("it joins");
    };
    let publishing = async {
        for number in 0_u64.. {
            let payload = Bytes::copy_from_slice(&number.to_be_bytes());
            nodes[0]
                .publish(room, Class::Durable, payload)
                .await
                .expect("it publishes");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = coming_and_going => {}
        () = publishing => {}
    }
    let end = Bytes::from_static(b"end");
    nodes[0]
        .publish(room, Class::Durable, end.clone())
        .await
        .expect("it publishes");
    let mut seen = std::collections::HashSet::new();
    loop {
        let payload = next_payload(&nodes[1]).await;
        if payload == end {
            break;
        }
        assert!(seen.insert(payload), "a payload arrived twice");
    }
    assert!(!seen.is_empty());
}
