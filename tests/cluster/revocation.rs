//! Revocation over several nodes: whoever is thrown out anywhere gets nothing any more, also from a node that can't know
//! it yet, and whatever becomes of Redis.

use std::time::Duration;

use http::{Method, StatusCode};
use natter::client::Session;
use natter::model::{Timestamp, UserId};
use natter::sessions::UserSessions;
use serde_json::json;

use crate::common::{Sock, within};
use crate::world::{Node, World};

const BOB: &str = "/api/rooms/lobby/members/bob";

/// Says something, again and again while the node refuses it.
async fn say(socket: &mut Sock, text: &str) {
    within("a send that is accepted", async {
        loop {
            let answer = socket.ask(json!({ "type": "send", "message": text })).await;
            if answer["type"] == "ack" {
                return;
            }
            assert_eq!(answer["code"], "refused", "{answer}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Revokes something that both nodes confirm, so that neither has acted on more than the other: where one has, the other
/// has to wait for the log.
async fn level(node: &Node, owner: &Session) {
    node.user("eve").await;
    node.done(Method::PUT, "/api/rooms/lobby/bans/eve", owner, None).await;
}

/// Takes frames up to a message with this text.
async fn hears(socket: &mut Sock, text: &str) {
    while socket.until("message").await["message"] != text {}
}

/// Waits until a node does or does not reach the control log.
async fn reaches(node: &Node, reaches: bool) {
    within("the control log", async {
        while node.lease.condition().1 != reaches {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn kicked(node: &Node, by: &Session) {
    within("a kick that is answered", async {
        loop {
            let status = node.ask(Method::DELETE, BOB, by, None).await.status;
            if status.is_success() {
                return;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        }
    })
    .await;
}

/// Everything up to the end of a one-room socket: no message with this text, and then this code.
async fn silenced(mut socket: Sock, unheard: &str, code: u16) {
    let (messages, found) = socket.rest("message").await;
    let heard = messages.iter().find(|frame| frame["message"] == unheard);
    assert_eq!(heard, None, "a silenced connection was told something");
    assert_eq!(found, Some(code), "{messages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_from_the_log_delivers_nothing_until_it_has_read_it() {
    let Some(world) = World::on_redis().await else { return };
    let [one, two] = world.nodes().await;
    let (ann, bob, eve) = (one.user("ann").await, two.user("bob").await, two.user("eve").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    let mut c = two.room("lobby", &eve).await;
    say(&mut a, "before").await;
    hears(&mut b, "before").await;
    hears(&mut c, "before").await;
    let way = two.way.as_ref().expect("a way to Redis");
    way.cut(true);
    two.delivers(false).await;
    // The other node has not confirmed, but it can't deliver either.
    one.done(Method::DELETE, BOB, &ann, None).await;
    say(&mut a, "after").await;
    let refused = c
        .ask(json!({ "type": "send", "message": "from a node that can't know" }))
        .await;
    assert_eq!(refused["code"], "refused", "{refused}");
    way.cut(false);
    hears(&mut c, "after").await;
    silenced(b, "after", 4203).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_sockets_go_on_and_revocations_wait_for_it() {
    let Some(mut world) = World::on_redis().await else {
        return;
    };
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    say(&mut a, "with").await;
    hears(&mut b, "with").await;
    level(&one, &ann).await;
    world.redis.as_mut().expect("Redis").kill();
    for node in [&one, &two] {
        reaches(node, false).await;
        node.delivers(true).await;
    }
    say(&mut a, "without").await;
    hears(&mut b, "without").await;
    let answer = one.ask(Method::DELETE, BOB, &ann, None).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    // What is lost with it is found out by looking: the kick was stored.
    world.redis.as_mut().expect("Redis").restart().await;
    kicked(&one, &ann).await;
    say(&mut a, "after").await;
    silenced(b, "after", 4203).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_redis_stops_nobody_and_is_believed_again() {
    let Some(world) = World::on_redis().await else { return };
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    level(&one, &ann).await;
    let redis = world.redis.as_ref().expect("Redis");
    redis.pause();
    for node in [&one, &two] {
        reaches(node, false).await;
        node.delivers(true).await;
    }
    say(&mut a, "without").await;
    hears(&mut b, "without").await;
    redis.resume();
    reaches(&one, true).await;
    kicked(&one, &ann).await;
    say(&mut a, "after").await;
    silenced(b, "after", 4203).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_lost_with_redis_gets_nothing_more() {
    let Some(mut world) = World::on_redis().await else {
        return;
    };
    let [one, two] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, two.user("bob").await);
    let mut a = one.room("lobby", &ann).await;
    let b = two.room("lobby", &bob).await;
    // Nobody says so in the log: it went with what Redis held.
    let user = UserId::parse(&bob.id).expect("an id");
    world.redis.as_mut().expect("Redis").kill();
    world.sessions.end_all(user, None).await.expect("ended");
    reaches(&two, false).await;
    world.redis.as_mut().expect("Redis").restart().await;
    for node in [&one, &two] {
        reaches(node, true).await;
        node.delivers(true).await;
    }
    say(&mut a, "after").await;
    silenced(b, "after", 4101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_runs_out_ends_its_socket() {
    let world = World::new();
    let [one] = world.nodes().await;
    let bob = one.user("bob").await;
    let b = one.room("lobby", &bob).await;
    let user = UserId::parse(&bob.id).expect("an id");
    world.sessions.end_all(user, None).await.expect("gone from the store");
    for link in one.hub.registry().of_user(user) {
        link.set_expires_at(Timestamp::from_millis(1));
    }
    silenced(b, "", 4201).await;
}
