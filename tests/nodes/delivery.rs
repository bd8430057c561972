//! Messages, edits, direct conversations, inboxes and read markers between nodes.

use http::Method;
use serde_json::{Value, json};

use crate::common::{Sock, User};
use crate::world::Cluster;

/// The ids and texts of a page.
fn told(messages: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    messages
        .iter()
        .map(|one| (text(&one["id"]), text(&one["message"])))
        .collect()
}

async fn echoing(cluster: &Cluster, node: usize, room: &str, user: &User) -> Sock {
    let path = format!("/ws/chat/{room}/?echo=1");
    let mut socket = cluster.server(node).socket(&path, user).await;
    socket.until("live").await;
    socket
}

/// The next messages, so many.
async fn messages(socket: &mut Sock, count: usize) -> Vec<Value> {
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        found.push(socket.until("message").await);
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_connected_wherever_sees_the_same_messages_in_the_same_order() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let mut sockets = Vec::new();
    let mut users = Vec::new();
    for node in 0..3 {
        let user = cluster.user(node, "user").await;
        sockets.push(echoing(&cluster, node, &room, &user).await);
        users.push(user);
    }
    for n in 0..20 {
        for (node, socket) in sockets.iter_mut().enumerate() {
            socket.send(json!({ "message": format!("{node}: {n}") })).await;
        }
    }
    let mut stored = Vec::new();
    for (node, socket) in sockets.iter_mut().enumerate() {
        let heard = told(&messages(socket, 60).await);
        for sender in 0..3 {
            let of: Vec<_> = heard
                .iter()
                .filter(|(_, text)| text.starts_with(&format!("{sender}:")))
                .collect();
            assert!(
                of.windows(2).all(|pair| pair[0].0 < pair[1].0),
                "the sends of {sender} on {node}: {of:?}"
            );
            assert_eq!(of.len(), 20);
        }
        let mut sorted = heard.clone();
        sorted.sort();
        let history = told(&cluster.server(node).history(&users[node], &room).await);
        assert_eq!(history, sorted, "what node {node} has stored and what it told");
        stored.push(history);
    }
    assert!(stored.windows(2).all(|pair| pair[0] == pair[1]), "the nodes disagree");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_deletions_typing_and_read_markers_cross_nodes() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let (ann, ben) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await);
    let mut one = cluster.server(0).room(&room, &ann).await;
    let mut two = cluster.server(1).room(&room, &ben).await;
    let first = one.say("first").await["id"].clone();
    let second = one.say("second").await["id"].clone();
    two.hears("first").await;
    two.hears("second").await;
    one.send(json!({ "type": "typing" })).await;
    assert_eq!(two.until("typing").await["user"], json!(ann.username));
    one.ask(json!({ "type": "edit", "id": first, "message": "better" }))
        .await;
    let edited = two.until("edited").await;
    assert_eq!((&edited["id"], &edited["message"]), (&first, &json!("better")));
    one.ask(json!({ "type": "delete", "id": second })).await;
    assert_eq!(two.until("deleted").await["id"], second);
    let reply = two
        .ask(json!({ "type": "send", "message": "a reply", "reply_to": first }))
        .await;
    assert!(
        reply["id"].as_str() > second.as_str(),
        "a reply sorts after what was there"
    );
    assert_eq!(one.hears("a reply").await["reply_to"], first);
    let mut device = cluster.server(2).socket("/ws", &ben).await;
    two.ask(json!({ "type": "read", "id": first })).await;
    let marker = device.until("read").await;
    assert_eq!(marker["id"], first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_conversation_and_the_inbox_reach_people_wherever_they_are() {
    let Some(cluster) = Cluster::start(3).await else {
        return;
    };
    let (ann, ben) = (cluster.user(0, "ann").await, cluster.user(1, "ben").await);
    let mut bens = cluster.server(1).socket("/ws", &ben).await;
    let path = format!("/ws/direct/{}/", ben.username);
    let mut anns = cluster.server(0).socket(&path, &ann).await;
    anns.until("live").await;
    let notice = bens.until("inbox").await;
    assert_eq!(
        (&notice["what"], &notice["with"]),
        (&json!("direct"), &json!(ann.username)),
        "{notice}"
    );
    let path = format!("/ws/direct/{}/", ann.username);
    let mut other = cluster.server(2).socket(&path, &ben).await;
    other.until("live").await;
    anns.say("psst").await;
    other.hears("psst").await;
    other.say("what?").await;
    anns.hears("what?").await;
    // A private room made on one node lets in on another whom it invites on a third.
    let room = cluster.name("den");
    let made = json!({ "name": room, "visibility": "private" });
    cluster
        .server(0)
        .done(Method::POST, "/api/rooms", &ann, Some(made))
        .await;
    let refused = cluster
        .server(1)
        .open(&format!("/ws/chat/{room}/"), &ben)
        .await
        .err()
        .map(|(status, _)| status);
    assert_eq!(refused, Some(404));
    let path = format!("/api/rooms/{room}/members/{}", ben.username);
    let role = Some(json!({ "role": "member" }));
    cluster.server(2).done(Method::PUT, &path, &ann, role).await;
    let notice = bens.until("inbox").await;
    assert_eq!(notice["what"], "invited", "{notice}");
    cluster.server(1).room(&room, &ben).await;
}
