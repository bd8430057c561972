//! Redis presence beside the contract: leases that run out, Redis killed, paused and restarted empty, many at once.

use std::collections::HashSet;

use redis::Value;

use super::super::conformance::{self, World};
use super::*;
use crate::redis_link::testing::{Cluster, Server, Watched, answering, apart, shared, until};

/// Short, so that the suite need not wait for the real one; nothing but the waiting depends on it.
const SHORT: Timing = Timing {
    beat: Duration::from_millis(200),
    lease: Duration::from_millis(2_000),
};

struct RedisWorld {
    link: RedisLink,
    latest: Mutex<Option<RedisLink>>,
}

impl RedisWorld {
    fn new(link: RedisLink) -> Self {
        Self {
            link,
            latest: Mutex::default(),
        }
    }
}

async fn node(link: &RedisLink, timing: Timing) -> RedisPresence {
    RedisPresence::start(link.clone(), BootId::random(), timing, None).await
}

async fn registered(link: &RedisLink) -> u64 {
    let mut count = redis::cmd("ZCARD");
    count.arg(Keys(link).nodes());
    link.query(&count).await.unwrap()
}

#[async_trait]
impl World for RedisWorld {
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn Presence>> {
        let link = apart(&self.link);
        *self.latest.lock() = Some(link.clone());
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(Arc::new(node(&link, SHORT).await) as Arc<dyn Presence>);
        }
        nodes
    }

    async fn lose(&self, node: Arc<dyn Presence>) {
        let link = self.latest.lock().clone().expect("nodes were made");
        let before = registered(&link).await;
        drop(node);
        while registered(&link).await >= before {
            tokio::time::sleep(SHORT.beat).await;
        }
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[tokio::test]
async fn redis_keeps_every_clause() {
    let Some((link, _server)) = shared().await else { return };
    assert_eq!(conformance::failures(&RedisWorld::new(link)).await, []);
}

#[tokio::test]
async fn a_dead_node_is_gone_with_its_lease_and_leaves_nothing() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (sender, mut gone) = mpsc::channel(1_000);
    let room = RoomId::random();
    let stays = RedisPresence::start(link.clone(), BootId::random(), Timing::default(), Some(sender)).await;
    let dies = node(&link, Timing::default()).await;
    let mut users = HashSet::new();
    for number in 0..600 {
        let (user, connection) = (UserId::random(), ConnectionId::random());
        users.insert(user);
        dies.connect(user, connection).await.unwrap();
        let name = name(&format!("user{number}"));
        dies.enter(room, user, &name, connection).await.unwrap();
    }
    assert_eq!(stays.present(room, 0).await.unwrap().count, 600);
    drop(dies);
    until("the dead node's people are gone", async || {
        stays.present(room, 1).await == Ok(Present::default())
    })
    .await;
    until("nothing of it is left", async || registered(&link).await == 1).await;
    let keys: Vec<String> = link.query(redis::cmd("KEYS").arg("*")).await.unwrap();
    assert_eq!(keys, [Keys(&link).nodes()]);
    let (mut left, mut offline) = (HashSet::new(), HashSet::new());
    while let Ok(news) = gone.try_recv() {
        match news {
            Gone::Left(of, who) => {
                assert_eq!(of, room);
                left.extend(who);
            }
            Gone::Offline(user) => drop(offline.insert(user)),
        }
    }
    assert!(
        left == users && offline == users,
        "{} left, {} offline",
        left.len(),
        offline.len()
    );
}

#[test]
fn a_dead_nodes_entries_are_gone_within_ten_seconds() {
    let Timing { beat, lease } = Timing::default();
    assert!(lease + beat < Duration::from_secs(10));
    assert!(lease > beat * 3, "a lease outlasts a few beats that got lost");
}

#[tokio::test]
async fn what_an_emptied_redis_lost_is_entered_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let nodes = [node(&link, SHORT).await, node(&link, SHORT).await];
    let room = RoomId::random();
    let (ann, ben, cleo) = (UserId::random(), UserId::random(), UserId::random());
    let (one, two) = (ConnectionId::random(), ConnectionId::random());
    nodes[0].connect(ann, one).await.unwrap();
    nodes[0].enter(room, ann, &name("ann"), one).await.unwrap();
    nodes[1].enter(room, ben, &name("ben"), two).await.unwrap();
    server.kill();
    // What happens meanwhile is refused, and made up for.
    let third = ConnectionId::random();
    assert!(nodes[1].enter(room, cleo, &name("cleo"), third).await.is_err());
    assert!(nodes[1].leave(room, ben, two).await.is_err());
    assert!(matches!(nodes[0].present(room, 10).await, Err(Error::Unavailable(_))));
    assert!(matches!(nodes[0].online(&[ann]).await, Err(Error::Unavailable(_))));
    server.restart();
    until("both nodes have entered their people again", async || {
        let present = nodes[0].present(room, 10).await;
        let online = nodes[1].online(&[ann, ben]).await;
        present.is_ok_and(|present| present.names == [name("ann"), name("cleo")])
            && online.is_ok_and(|online| online == [ann])
    })
    .await;
    assert!(nodes[0].leave(room, ann, one).await.unwrap());
    assert!(nodes[0].disconnect(ann, one).await.unwrap());
    assert_eq!(nodes[1].present(room, 10).await.unwrap().count, 1);
}

#[tokio::test]
async fn a_paused_redis_is_not_felt_and_leaves_no_ghosts() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let nodes = [node(&link, SHORT).await, node(&link, SHORT).await];
    let room = RoomId::random();
    let (ann, one) = (UserId::random(), ConnectionId::random());
    server.pause();
    let mut refused = 0;
    for _ in 0..2_000 {
        let (user, connection) = (UserId::random(), ConnectionId::random());
        let entered = nodes[0].enter(room, user, &name("gone"), connection).await;
        let left = nodes[0].leave(room, user, connection).await;
        refused += u32::from(entered.is_err()) + u32::from(left.is_err());
    }
    assert_eq!(refused, 4_000);
    assert!(nodes[0].enter(room, ann, &name("ann"), one).await.is_err());
    server.resume();
    until("the one who is there is the only one", async || {
        let present = nodes[1].present(room, 10).await;
        present.is_ok_and(|present| present.count == 1 && present.names == [name("ann")])
    })
    .await;
}

#[tokio::test]
async fn a_node_that_lost_its_lease_comes_back_under_another_name() {
    let Some((link, _server)) = shared().await else { return };
    let link = apart(&link);
    let nodes = [node(&link, SHORT).await, node(&link, SHORT).await];
    let room = RoomId::random();
    let (ann, one) = (UserId::random(), ConnectionId::random());
    nodes[0].enter(room, ann, &name("ann"), one).await.unwrap();
    // As if the node had been paused for longer than its lease.
    let mut expire = redis::cmd("ZADD");
    expire.arg(Keys(&link).nodes()).arg(1).arg(nodes[0].inner.name(0));
    let _: Value = link.query(&expire).await.unwrap();
    until("it has another name and nothing of the old one is left", async || {
        let mut former = redis::cmd("EXISTS");
        former.arg(&Keys(&link).room(room, nodes[0].inner.name(0))[0]);
        let former: i64 = link.query(&former).await.unwrap();
        let renamed = nodes[0].inner.state.lock().generation == 1;
        let present = nodes[1].present(room, 10).await;
        former == 0 && renamed && present.is_ok_and(|present| present.count == 1)
    })
    .await;
    until("it answers again", async || nodes[0].present(room, 0).await.is_ok()).await;
    assert!(nodes[0].leave(room, ann, one).await.unwrap(), "it is the last");
}

#[tokio::test]
async fn many_who_come_and_go_at_once_have_one_first_and_one_last() {
    let Some((link, _server)) = shared().await else { return };
    let link = apart(&link);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Arc::new(node(&link, Timing::default()).await));
    }
    for _ in 0..10 {
        let (room, ann) = (RoomId::random(), UserId::random());
        let connections: Vec<_> = (0..30).map(|number| (number % 3, ConnectionId::random())).collect();
        let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
        for (place, connection) in connections.clone() {
            let node = Arc::clone(&nodes[place]);
            firsts.push(tokio::spawn(async move {
                node.enter(room, ann, &name("ann"), connection).await.unwrap()
            }));
        }
        let firsts = futures_util::future::join_all(firsts).await;
        assert_eq!(firsts.into_iter().filter(|first| *first.as_ref().unwrap()).count(), 1);
        for (place, connection) in connections {
            let node = Arc::clone(&nodes[place]);
            lasts.push(tokio::spawn(
                async move { node.leave(room, ann, connection).await.unwrap() },
            ));
        }
        let lasts = futures_util::future::join_all(lasts).await;
        assert_eq!(lasts.into_iter().filter(|last| *last.as_ref().unwrap()).count(), 1);
    }
    for node in &nodes {
        node.close().await;
    }
    assert_eq!(registered(&link).await, 0);
}

#[tokio::test]
async fn a_cluster_keeps_every_clause() {
    let Some(cluster) = Cluster::start().await else { return };
    let link = cluster.link();
    answering(&link).await;
    assert_eq!(conformance::failures(&RedisWorld::new(link)).await, []);
}

#[tokio::test]
async fn a_failover_loses_nobody() {
    let Some(mut watched) = Watched::start().await else {
        return;
    };
    let link = watched.link();
    answering(&link).await;
    let nodes = [node(&link, SHORT).await, node(&link, SHORT).await];
    let room = RoomId::random();
    let mut connections = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        let (user, connection) = (UserId::random(), ConnectionId::random());
        connections.push((user, connection));
        let name = name(&format!("user{number}"));
        node.enter(room, user, &name, connection).await.unwrap();
    }
    // Not waited for: what the replica has not got is entered again.
    watched.master.kill();
    until("everybody is there", async || {
        nodes[1].present(room, 10).await.is_ok_and(|present| present.count == 2)
    })
    .await;
    until("those who go are gone", async || {
        let (user, connection) = connections[0];
        let _ = nodes[0].leave(room, user, connection).await;
        nodes[1]
            .present(room, 10)
            .await
            .is_ok_and(|present| present.names == [name("user1")])
    })
    .await;
}
