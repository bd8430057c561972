//! Any node serves any client: resuming, sending again and logging in on another one.

use http::Method;
use serde_json::{Value, json};

use crate::common::Sock;
use crate::world::Cluster;

fn ids(frames: &[Value]) -> Vec<String> {
    let messages = frames.iter().filter(|frame| frame["type"] == "message");
    messages
        .map(|frame| frame["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn digest(ids: &[String]) -> String {
    let numbers = ids
        .iter()
        .map(|id| u128::from_str_radix(&id.replace('-', ""), 16).expect("an id"));
    format!("{}.{:032x}", ids.len(), numbers.fold(0, |xor, id| xor ^ id))
}

async fn fill(socket: &mut Sock, texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids = Vec::new();
    for text in texts {
        ids.push(socket.say(&text).await["id"].as_str().expect("an id").to_owned());
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_resumes_on_another_node_without_a_hole() {
    let Some(mut cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, ben) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await);
    let mut writer = cluster.server(0).room(&room, &ann).await;
    let mut reader = cluster.server(1).room(&room, &ben).await;
    let before = fill(&mut writer, (0..10).map(|n| format!("before {n}"))).await;
    for n in 0..10 {
        reader.hears(&format!("before {n}")).await;
    }
    cluster.nodes[1].server.kill();
    let after = fill(&mut writer, (0..15).map(|n| format!("after {n}"))).await;
    let path = format!("/ws/chat/{room}/?since={}&have={}", before[9], digest(&before));
    let mut reader = cluster.server(2).socket(&path, &ben).await;
    reader.expect("joined").await;
    assert_eq!(
        ids(&reader.all_until("live").await),
        after,
        "a digest spares what is known"
    );
    writer.say("live again").await;
    reader.hears("live again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_is_repeated_on_other_nodes_is_one_message() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, ben) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await);
    let mut reader = cluster.server(1).room(&room, &ben).await;
    let send = json!({ "type": "send", "message": "once", "nonce": "n-1" });
    let mut first = cluster.server(0).room(&room, &ann).await;
    let id = first.ask(send.clone()).await["id"].clone();
    assert!(id.is_string(), "{id}");
    reader.hears("once").await;
    for node in [1, 2, 0] {
        let mut again = cluster.server(node).room(&room, &ann).await;
        let mut send = send.clone();
        send["retry"] = json!(true);
        assert_eq!(again.ask(send).await["id"], id, "the retry on node {node}");
        let other = json!({ "type": "send", "message": "twice", "nonce": "n-1", "retry": true });
        assert_eq!(again.ask(other).await["code"], "nonce_reused");
    }
    first.say("the next").await;
    reader.hears("the next").await;
    let history = cluster.server(2).history(&ben, &room).await;
    assert_eq!(history.len(), 2, "{history:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_one_node_is_known_to_the_others() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let ann = cluster.user(0, "ann").await;
    let mut socket = cluster.server(1).room(&room, &ann).await;
    let listed = cluster.server(2).done(Method::GET, "/api/sessions", &ann, None).await;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(1), "{listed}");
    let again = cluster.server(2).log_in(&ann).await;
    let listed = cluster.server(0).done(Method::GET, "/api/sessions", &again, None).await;
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2), "{listed}");
    cluster.server(2).done(Method::DELETE, "/api/session", &ann, None).await;
    assert_eq!(socket.closed().await, Some(4200));
    for node in 0..3 {
        let refused = cluster
            .server(node)
            .open("/ws", &ann)
            .await
            .err()
            .map(|(status, _)| status);
        assert_eq!(refused, Some(401), "node {node} lets a session in that was ended");
        cluster.server(node).socket("/ws", &again).await;
    }
}
