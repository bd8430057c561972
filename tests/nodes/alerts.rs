//! What the alerts are for, caused on real nodes: each condition shows in the figures, and what Prometheus would have
//! scraped is kept for the check of the rules.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{Open, Server, Sock, User};
use crate::metrics::until;
use crate::proxy::Flow;
use crate::samples::Samples;
use crate::world::Cluster;

/// Two people in a room, one on each node.
async fn talk(cluster: &Cluster) -> (String, User, Sock, Sock) {
    let room = cluster.name("hall");
    let (ann, bob) = (cluster.user(0, "ann").await, cluster.user(1, "bob").await);
    let mut one = cluster.server(0).room(&room, &ann).await;
    let mut two = cluster.server(1).room(&room, &bob).await;
    one.say("hello").await;
    two.hears("hello").await;
    (room, bob, one, two)
}

/// Deliveries that took longer than a second.
async fn long(server: &Server) -> f64 {
    let family = "natter_send_to_delivery_seconds";
    let all = server.metric(&format!("{family}_count")).await;
    all - server.metric(&format!("{family}_bucket{{le=\"1\"}}")).await
}

/// Waits until a node's counter is greater than it was.
async fn rises(server: &Server, name: &str, by: f64) {
    let before = server.metric(name).await;
    until(server, name, |now| now >= before + by).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_or_nats_out_of_a_nodes_reach() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let (room, bob, mut one, mut two) = talk(&cluster).await;
    let node = &cluster.nodes[1];
    let server = &node.server;

    let mut down = Samples::before(server, &["NatterRedisDown", "NatterControlLogLag"]).await;
    let mut refused = Samples::before(server, &["NatterHandshakesRefused", "NatterHttpFails"]).await;
    node.redis.cut();
    until(server, "natter_redis_up", |value| value < 0.5).await;
    until(server, "natter_control_log_lag_seconds", |value| value > 2.0).await;
    down.take(server).await;
    for _ in 0..2 {
        let path = format!("/ws/chat/{room}/");
        let tries = join_all((0..30).map(|_| server.open(&path, &bob))).await;
        assert!(
            tries.iter().all(|one| matches!(one, Err((503, _)))),
            "nobody is let in unchecked"
        );
        refused.take(server).await;
    }
    node.redis.heal();
    until(server, "natter_redis_up", |value| value > 0.5).await;
    until(server, "natter_control_log_lag_seconds", |value| value < 1.9).await;
    down.resolved(server).await;

    let mut down = Samples::before(server, &["NatterChannelLayerDown", "NatterPublishersInDoubt"]).await;
    let mut lost = Samples::before(server, &["NatterNotPublished"]).await;
    node.nats.cut();
    until(server, "natter_channel_layer_up", |value| value < 0.5).await;
    until(server, "natter_publishers_in_doubt", |value| value > 0.5).await;
    down.take(server).await;
    for text in ["not heard", "nor this"] {
        let before = server.metric("natter_unpublished_total").await;
        two.say(text).await;
        until(server, "natter_unpublished_total", |now| now > before).await;
        lost.take(server).await;
    }
    node.nats.heal();
    until(server, "natter_channel_layer_up", |value| value > 0.5).await;
    until(server, "natter_publishers_in_doubt", |value| value < 0.5).await;
    down.resolved(server).await;
    for text in ["not heard", "nor this"] {
        one.hears(text).await;
    }

    let mut often = Samples::before(server, &["NatterHolesOften"]).await;
    for _ in 0..3 {
        let before = server.metric("natter_holes_total").await;
        node.nats.cut();
        until(server, "natter_holes_total", |now| now > before).await;
        node.nats.heal();
        until(server, "natter_publishers_in_doubt", |value| value < 0.5).await;
    }
    often.take(server).await;

    let mut silent = Samples::before(server, &["NatterNotDelivering"]).await;
    node.nats.cut();
    node.redis.cut();
    until(server, "natter_delivering", |value| value < 0.5).await;
    silent.take(server).await;
    node.nats.heal();
    node.redis.heal();
    until(server, "natter_delivering", |value| value > 0.5).await;
    silent.resolved(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_slow_or_silent() {
    let Some(cluster) = Cluster::start(2).await else {
        return;
    };
    let (_, _, mut one, mut two) = talk(&cluster).await;
    let node = &cluster.nodes[1];
    let server = &node.server;

    let mut slow = Samples::before(server, &["NatterSendsSlow", "NatterStoreSlow"]).await;
    let delay = Flow::Delay(Duration::from_millis(400));
    node.cql.flow(delay, delay);
    for text in ["slowly", "and slowly"] {
        two.say(text).await;
        one.hears(text).await;
        slow.take(server).await;
    }
    node.cql.heal();
    let mut late = Samples::before(server, &["NatterDeliveriesSlow"]).await;
    let delay = Flow::Delay(Duration::from_millis(1_300));
    node.nats.flow(Flow::Pass, delay);
    // Some are found in the store before they arrive.
    let before = long(server).await;
    while long(server).await <= before {
        one.say("from afar").await;
        two.hears("from afar").await;
    }
    late.take(server).await;
    node.nats.heal();

    let mut down = Samples::before(server, &["NatterStoreDown"]).await;
    let mut refused = Samples::before(server, &["NatterSendsRefused", "NatterStatementsFail"]).await;
    let mut held = Samples::before(server, &["NatterRoomsHeld", "NatterRepairsFail"]).await;
    node.cql.hold();
    until(server, "natter_store_up", |value| value < 0.5).await;
    down.take(server).await;
    for _ in 0..4 {
        two.send(json!({ "message": "into the void" })).await;
    }
    until(server, "natter_refused_total", |value| value > 3.5).await;
    refused.take(server).await;
    // Something may be missing, and can't be read.
    node.nats.cut();
    until(server, "natter_repairs_failed_total", |value| value > 0.5).await;
    held.take(server).await;
    until(server, "natter_rooms_held", |value| value > 0.5).await;
    rises(server, "natter_repairs_failed_total", 1.0).await;
    held.take(server).await;
    let mut mended = Samples::under_another(server, &["NatterRepairsSlow"]).await;
    let before = server.metric("natter_repair_seconds_count").await;
    node.cql.heal();
    until(server, "natter_repair_seconds_count", |now| now > before).await;
    mended.take(server).await;
    node.nats.heal();
    until(server, "natter_rooms_held", |value| value < 0.5).await;
    until(server, "natter_store_up", |value| value > 0.5).await;
    down.resolved(server).await;
    held.resolved(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_nodes_that_are_in_the_way() {
    let Some(mut cluster) = Cluster::start(2).await else {
        return;
    };

    let mut guessed = Samples::before(cluster.server(0), &["NatterLogInsFail"]).await;
    let target = cluster.server(0).target();
    let victim = cluster.user(0, "victim").await;
    for _ in 0..12 {
        let tries = join_all((0..8).map(|_| target.log_in(&victim.username, "a guess"))).await;
        assert!(tries.iter().all(Result::is_err));
    }
    guessed.take(cluster.server(0)).await;

    // Only now: a socket that nobody reads for a minute is closed.
    let (room, bob, mut one, mut two) = talk(&cluster).await;
    let mut behind = Samples::before(cluster.server(0), &["NatterReadersBehind"]).await;
    let path = format!("/ws/chat/{room}/");
    let open = Open::new(cluster.server(0).address(), &path).cookie(&bob.cookie);
    let deaf = open.receive_buffer(4_096).open().await.expect("an upgrade");
    let long = "x".repeat(3_500);
    while cluster.server(0).metric("natter_connections_behind").await < 0.5 {
        for _ in 0..20 {
            one.say(&long).await;
            two.hears(&long).await;
        }
    }
    assert!(cluster.server(0).metric("natter_outbox_deepest_bytes").await > 0.0);
    assert!(cluster.server(0).metric("natter_outbox_bytes").await > 0.0);
    behind.take(cluster.server(0)).await;
    drop(deaf);

    let mut unreadable = Samples::before(cluster.server(1), &["NatterUnreadable"]).await;
    let stranger = async_nats::connect(cluster.nats[0].address().to_string()).await;
    let stranger = stranger.expect("a connection");
    for _ in 0..2 {
        let before = cluster.server(1).metric("natter_unreadable_total").await;
        let sent = stranger.publish("natter.all", "what is this".into()).await;
        sent.expect("published");
        until(cluster.server(1), "natter_unreadable_total", |now| now > before).await;
        unreadable.take(cluster.server(1)).await;
    }

    let mut slow = Samples::before(cluster.server(0), &["NatterRevocationsSlow"]).await;
    cluster.server(1).signal("STOP");
    let guest = cluster.user(0, "guest").await;
    drop(cluster.server(0).room(&room, &guest).await);
    let path = format!("/api/rooms/{room}/members/{}", guest.username);
    let ann = one_who_owns(&cluster, &room).await;
    cluster.server(0).done(Method::DELETE, &path, &ann, None).await;
    cluster.server(1).signal("CONT");
    slow.take(cluster.server(0)).await;
    cluster.all_ready().await;

    let mut lost = Samples::before(cluster.server(0), &["NatterSessionsLost"]).await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(cluster.server(0).socket("/ws", &bob).await);
    }
    cluster.redis.kill();
    tokio::task::block_in_place(|| cluster.redis.start_again());
    let closed = "natter_connections_closed_total{reason=\"sessions_lost\"}";
    until(cluster.server(0), closed, |value| value > 0.5).await;
    lost.take(cluster.server(0)).await;

    let mut gone = Samples::before(cluster.server(1), &["NatterDown", "NatterGone"]).await;
    cluster.nodes[1].server.kill();
    assert!(cluster.server(1).metrics().await.is_none());
    gone.fail();
    gone.fail();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_of_traces_that_is_away() {
    // Nobody listens there any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", gone.local_addr().expect("its address"));
    drop(gone);
    let server = Server::with(&["--limits", "off", "--otlp-endpoint", &endpoint, "--trace-ratio", "1"]);
    let mut dropped = Samples::before(&server, &["NatterTracesDropped"]).await;
    for _ in 0..2 {
        let before = server.metric("natter_traces_dropped_total").await;
        server.user("ann").await;
        until(&server, "natter_traces_dropped_total", |now| now > before).await;
        dropped.take(&server).await;
    }
}

/// The first who entered a room owns it: logged in anew under the name that the room tells.
async fn one_who_owns(cluster: &Cluster, room: &str) -> User {
    let bob = cluster.user(0, "witness").await;
    drop(cluster.server(0).room(room, &bob).await);
    let path = format!("/api/rooms/{room}/members");
    let members = cluster.server(0).done(Method::GET, &path, &bob, None).await;
    let all = members["members"].as_array().expect("members");
    let owner = all.iter().find(|one| one["role"] == "owner").expect("an owner");
    let name = owner["username"].as_str().expect("a name");
    let logged_in = cluster.server(0).target().log_in(name, crate::common::PASSWORD).await;
    logged_in.expect("logged in")
}

/// Asks for the metrics on a connection that stays: a new one would need a file.
async fn scrape(socket: &mut tokio::net::TcpStream) -> String {
    let asked = socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
    asked.expect("asked");
    let mut text = Vec::new();
    loop {
        let mut some = [0; 16 * 1024];
        let count = crate::common::within("metrics", socket.read(&mut some))
            .await
            .expect("an answer");
        text.extend_from_slice(&some[..count]);
        let told = String::from_utf8_lossy(&text);
        let Some((head, body)) = told.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| length.parse() == Ok(body.len())) {
            return body.to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_run_out() {
    const FILES: usize = 300;
    let server = Server::start();
    let mut many = Samples::before(&server, &["NatterFilesRunOut"]).await;
    let mut none = Samples::before(&server, &["NatterAcceptFails"]).await;
    let mut socket = tokio::net::TcpStream::connect(server.admin()).await.expect("connected");
    scrape(&mut socket).await;
    let limit = format!("--nofile={FILES}:{FILES}");
    let set = Command::new("prlimit")
        .args(["--pid", &server.id().to_string(), &limit])
        .status();
    assert!(set.expect("the command prlimit").success());
    let connect = |address: SocketAddr| TcpStream::connect(address).expect("the kernel takes it");
    let mut held = Vec::new();
    while server.metric("process_open_fds").await < FILES as f64 * 0.93 {
        held.extend((0..10).map(|_| connect(server.address())));
    }
    many.take(&server).await;
    for _ in 0..2 {
        let wanted = held.len() + 50;
        held.resize_with(wanted, || connect(server.address()));
        let fails = |text: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("natter_accept_errors_total "));
            line.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default()
        };
        let before = fails(&scrape(&mut socket).await);
        let mut now = scrape(&mut socket).await;
        while fails(&now) <= before {
            tokio::time::sleep(Duration::from_millis(20)).await;
            now = scrape(&mut socket).await;
        }
        none.put(&now);
    }
    drop(held);
    none.resolved(&server).await;
}
