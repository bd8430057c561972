//! Behind a load balancer: HAProxy, with the file that `compose.yaml` mounts, in front of three nodes. People are known by
//! their own addresses, sockets pass, and a node that drains gets nobody new and loses nobody.
#![allow(
    clippy::disallowed_methods,
    reason = "servers are started where nothing else waits for this worker"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::{Method, StatusCode};
use natter::client::Target;
use natter::limits;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::common::{Open, PASSWORD, User, within};
use crate::crowd::Crowd;
use crate::faults::{seconds, seed};
use crate::judge::Rules;
use crate::raw::exchange;
use crate::servers::{Own, free_port, haproxy};
use crate::world::{Cluster, Special};

const FILE: &str = include_str!("../../compose/haproxy.cfg");

/// A cluster behind a balancer, and where that listens.
async fn balanced(mut special: Special) -> Option<(Cluster, Own)> {
    let program = haproxy()?;
    let version = Command::new(&program).arg("-v").output().expect("haproxy");
    println!(
        "{}",
        String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or("?")
    );
    let port = free_port();
    special.flags.extend([
        ("--public-url", format!("http://127.0.0.1:{port}")),
        ("--trusted-proxies", "127.0.0.1/32".to_owned()),
    ]);
    let cluster = Cluster::start_with(3, special).await?;
    let config = configured(port, &cluster);
    let balancer = block_in_place(|| Own::haproxy(&program, port, &config));
    Some((cluster, balancer))
}

/// The file with other addresses: everything else in it is as people get it.
fn configured(port: u16, cluster: &Cluster) -> String {
    let mut nodes = cluster.nodes.iter();
    let line = |line: &str| match line.trim() {
        "bind :8080" => format!("    bind 127.0.0.1:{port}"),
        "nameserver engine 127.0.0.11:53" => String::new(),
        // A machine of developers may not let it open as many files.
        "maxconn 20000" => "    maxconn 4000".to_owned(),
        line if line.starts_with("server ") => {
            let node = &nodes.next().expect("as many nodes as in the file").server;
            let name = line.split(' ').nth(1).expect("a name");
            let (address, operators) = (node.address(), node.admin().port());
            format!("    server {name} {address} port {operators}")
        }
        _ => line.to_owned(),
    };
    let config: Vec<String> = FILE.lines().map(line).collect();
    assert!(nodes.next().is_none(), "the file has other nodes");
    config.join("\n") + "\n"
}

const fn client(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 3, number))
}

/// Asks from an address, and with a header that claims another one; the status.
async fn ask(to: SocketAddr, from: IpAddr, path: &str, body: &Value) -> u16 {
    let claim = ["X-Forwarded-For: 203.0.113.77"];
    let answer = exchange(to, Some(from), &format!("POST {path}"), &claim, &body.to_string()).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.expect("a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn throttles_know_people_by_their_own_addresses() {
    let special = Special {
        throttles: true,
        ..Special::default()
    };
    let Some((cluster, balancer)) = balanced(special).await else {
        return;
    };
    let to = balancer.address();
    let ann = cluster.user(0, "ann").await;
    // A name that is taken counts as a try to register, and, with its password, to log in: another one logs in here.
    let bob = cluster.user(0, "bob").await;
    let own = json!({ "username": ann.username, "password": PASSWORD });
    let taken = json!({ "username": bob.username, "password": "another horse" });
    for _ in 0..limits::REGISTRATION.burst {
        assert_eq!(ask(to, client(1), "/api/users", &taken).await, 409);
    }
    assert_eq!(ask(to, client(1), "/api/users", &taken).await, 429);
    assert_eq!(
        ask(to, client(2), "/api/users", &taken).await,
        409,
        "it is somebody else"
    );
    // Failed log-ins, over all nodes.
    for n in 0..limits::LOGIN_ADDRESS.burst {
        let wrong = json!({ "username": format!("nobody-{n}"), "password": PASSWORD });
        assert_eq!(ask(to, client(3), "/api/session", &wrong).await, 401);
    }
    assert_eq!(ask(to, client(3), "/api/session", &own).await, 429);
    assert_eq!(ask(to, client(4), "/api/session", &own).await, 200);
    let listed = cluster.server(1).done(Method::GET, "/api/sessions", &ann, None).await;
    assert!(listed.to_string().contains("127.0.3.4"), "{listed}");
    assert!(!listed.to_string().contains("203.0.113.77"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_handshakes_than_one_address_may_make_pass_a_trusted_balancer() {
    let special = Special {
        throttles: true,
        ..Special::default()
    };
    let Some((cluster, balancer)) = balanced(special).await else {
        return;
    };
    let to = balancer.address();
    let mut users: Vec<User> = Vec::new();
    for _ in 0..4 {
        users.push(cluster.user(users.len() % 3, "ann").await);
    }
    let handshake = |n: u32| {
        let user = &users[n as usize % users.len()];
        let from = client(u8::try_from(10 + n % 4).expect("small"));
        async move {
            let open = Open::new(to, "/ws").cookie(&user.cookie).from(from);
            open.open().await.map(drop).map_err(|(status, _)| status)
        }
    };
    let more = limits::HANDSHAKE_ADDRESS.burst + 50;
    let refused: Vec<u16> = stream::iter(0..more)
        .map(handshake)
        .buffer_unordered(16)
        .filter_map(async |opened| opened.err())
        .collect()
        .await;
    assert_eq!(refused, [] as [u16; 0], "the balancer was taken for one client");
    let mut opened = Vec::new();
    for node in &cluster.nodes {
        opened.push(node.server.metric("natter_connections_opened_total").await);
    }
    println!("{opened:?} of {more} handshakes");
    assert!(
        opened.iter().all(|count| *count > f64::from(more) / 6.0),
        "each node has its share: {opened:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_gets_nobody_new_and_loses_nobody() {
    let flags = [("--drain-delay", "7s"), ("--drain-window", "4s")];
    let special = Special {
        flags: flags.map(|(flag, value)| (flag, value.to_owned())).to_vec(),
        ..Special::default()
    };
    let Some((mut cluster, balancer)) = balanced(special).await else {
        return;
    };
    let crowd = Crowd::talk_at(&cluster, balancer.address(), "balanced", 9, seed(1)).await;
    let failures = Arc::new(AtomicUsize::new(0));
    let watching = tokio::spawn(watch(balancer.address(), Arc::clone(&failures)));
    seconds(3).await;
    let connections = async |cluster: &Cluster, node: usize| cluster.server(node).metric("natter_connections").await;
    for node in 0..3 {
        assert!(connections(&cluster, node).await > 0.0, "node {node} has its share");
    }
    crowd.fault("drain", true);
    cluster.server(1).terminate();
    let ended = cluster.nodes[1].server.ended().await;
    assert_eq!(ended.code(), Some(0));
    within("everybody's return", async {
        while !crowd.is_here() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    crowd.fault("drain", false);
    seconds(3).await;
    watching.abort();
    assert_eq!(
        failures.load(Ordering::Relaxed),
        0,
        "requests failed while the node went"
    );
    // Not behind the balancer any more, but its own room is judged too.
    block_in_place(|| cluster.nodes[1].server.start_again());
    crowd.judged(&cluster, &Rules::default()).await;
}

/// Asks through the balancer all the time, and counts what does not get its answer.
async fn watch(balancer: SocketAddr, failures: Arc<AtomicUsize>) {
    let target = Target::at(balancer);
    loop {
        let answer = target.request(Method::GET, "/api/session", None, None).await;
        if !answer.is_ok_and(|answer| answer.status == StatusCode::UNAUTHORIZED) {
            failures.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
