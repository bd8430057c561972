//! Redis sessions beside the contract: what stands in Redis, log-outs that race with saves, and a Redis that is down.

use std::time::Duration;

use super::super::conformance::{self, Sessions, World, record_of};
use super::super::{ADDRESS_KEY, AGENT_KEY};
use super::*;
use crate::model::{SystemTime, Timestamp};
use crate::redis_link::testing::{Cluster, Server, Watched, answering, shared, until};

struct RedisWorld(RedisLink);

impl RedisWorld {
    fn open(&self) -> RedisSessions {
        RedisSessions::new(self.0.clone(), Arc::new(SystemTime))
    }
}

#[async_trait]
impl World for RedisWorld {
    async fn sessions(&self) -> Arc<dyn Sessions> {
        Arc::new(self.open())
    }

    fn now(&self) -> Timestamp {
        SystemTime.now()
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

#[tokio::test]
async fn redis_keeps_every_clause() {
    let Some((link, _server)) = shared().await else { return };
    assert_eq!(conformance::failures(&RedisWorld(link)).await, []);
}

#[tokio::test]
async fn the_id_is_nowhere_in_redis_and_everything_expires() {
    let Some(server) = Server::start(&[]) else { return };
    let world = RedisWorld(server.link());
    answering(&world.0).await;
    let sessions = world.open();
    let mut record = record_of(&world, UserId::random());
    sessions.create(&mut record).await.unwrap();
    sessions.load(&record.id).await.unwrap();
    let keys: Vec<String> = world.0.query(redis::cmd("KEYS").arg("*")).await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    let secret = record.id.to_string();
    for key in keys {
        let dump: Vec<u8> = world.0.query(redis::cmd("DUMP").arg(&key)).await.unwrap();
        let held = dump.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!key.contains(&secret) && !held, "{key}");
        let left: i64 = world.0.query(redis::cmd("PTTL").arg(&key)).await.unwrap();
        assert!(left > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn a_log_out_wins_over_saves_that_run_beside_it() {
    let Some((link, _server)) = shared().await else { return };
    let world = RedisWorld(link);
    let user = UserId::random();
    for _ in 0..20 {
        let (one, other) = (world.open(), world.open());
        let mut record = record_of(&world, user);
        one.create(&mut record).await.unwrap();
        let saving = tokio::spawn({
            let (other, mut record) = (other.clone(), record.clone());
            async move {
                for number in 0..20 {
                    record.data.insert("number".into(), number.into());
                    other.save(&record).await.unwrap();
                }
            }
        });
        one.delete(&record.id).await.unwrap();
        assert!(other.load(&record.id).await.unwrap().is_none());
        saving.await.unwrap();
        assert!(other.load(&record.id).await.unwrap().is_none());
    }
    assert_eq!(world.open().list(user).await.unwrap(), []);
    let index = world.open().index_key(user);
    let left: u64 = world.0.query(redis::cmd("ZCARD").arg(index)).await.unwrap();
    assert_eq!(left, 0, "the index names sessions that ended");
}

#[tokio::test]
async fn every_node_knows_for_a_while_whose_session_has_ended() {
    let Some((link, _server)) = shared().await else { return };
    let world = RedisWorld(link);
    let (one, other) = (world.open(), world.open());
    let user = UserId::random();
    let mut record = record_of(&world, user);
    one.create(&mut record).await.unwrap();
    let handle = SessionHandle::of(record.id);
    assert_eq!(other.ended(&handle).await.unwrap(), None, "it lives");
    assert!(one.end(user, &handle).await.unwrap());
    assert_eq!(other.ended(&handle).await.unwrap(), Some(user));
    // What is left of it is no session, whoever still holds it.
    assert!(other.load(&record.id).await.unwrap().is_none() && other.live(&handle).await.unwrap().is_none());
    other.save(&record).await.unwrap();
    assert!(!other.end(user, &handle).await.unwrap() && other.load(&record.id).await.unwrap().is_none());
    let left: i64 = world.0.query(redis::cmd("PTTL").arg(other.key(&handle))).await.unwrap();
    assert!(left > 0 && u128::from(left.unsigned_abs()) <= limits::ENDED_SESSION_KEPT.as_millis());
    other.settled(UserId::random(), &handle).await.unwrap();
    assert_eq!(
        one.ended(&handle).await.unwrap(),
        Some(user),
        "nobody else speaks for it"
    );
    other.settled(user, &handle).await.unwrap();
    assert_eq!(one.ended(&handle).await.unwrap(), None, "everybody knows");
}

#[tokio::test]
async fn a_session_that_changes_hands_is_listed_under_its_new_user() {
    let Some((link, _server)) = shared().await else { return };
    let world = RedisWorld(link);
    let sessions = world.open();
    let (ann, ben) = (UserId::random(), UserId::random());
    let mut record = record_of(&world, ann);
    record.data.insert(AGENT_KEY.into(), "Firefox".into());
    record.data.insert(ADDRESS_KEY.into(), "192.0.2.7".into());
    sessions.create(&mut record).await.unwrap();
    record
        .data
        .insert(super::super::USER_KEY.into(), ben.to_string().into());
    sessions.save(&record).await.unwrap();
    assert_eq!(sessions.list(ann).await.unwrap(), []);
    let list = sessions.list(ben).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (list[0].agent.as_str(), list[0].address.as_str()),
        ("Firefox", "192.0.2.7")
    );
    assert_eq!(sessions.end_all(ann, None).await.unwrap(), 0);
    assert!(sessions.load(&record.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_redis_that_is_down_is_unavailable_and_lets_nobody_in() {
    let Some(mut server) = Server::start(&[]) else { return };
    let world = RedisWorld(server.link());
    answering(&world.0).await;
    let sessions = world.open();
    let mut record = record_of(&world, UserId::random());
    sessions.create(&mut record).await.unwrap();
    let handle = SessionHandle::of(record.id);
    server.kill();
    let user = UserId::random();
    assert!(matches!(
        sessions.load(&record.id).await,
        Err(session_store::Error::Backend(_))
    ));
    assert!(matches!(
        sessions.delete(&record.id).await,
        Err(session_store::Error::Backend(_))
    ));
    assert!(matches!(
        sessions.save(&record).await,
        Err(session_store::Error::Backend(_))
    ));
    assert!(matches!(
        sessions.create(&mut record).await,
        Err(session_store::Error::Backend(_))
    ));
    assert!(matches!(sessions.live(&handle).await, Err(Error::Unavailable(_))));
    assert!(matches!(sessions.list(user).await, Err(Error::Unavailable(_))));
    assert!(matches!(sessions.end(user, &handle).await, Err(Error::Unavailable(_))));
    assert!(matches!(sessions.end_all(user, None).await, Err(Error::Unavailable(_))));
    assert!(matches!(sessions.ping().await, Err(Error::Unavailable(_))));
    server.restart();
    answering(&world.0).await;
    assert!(sessions.load(&record.id).await.unwrap().is_none(), "it came back empty");
}

#[tokio::test]
async fn a_cluster_keeps_every_clause() {
    let Some(cluster) = Cluster::start().await else { return };
    let link = cluster.link();
    answering(&link).await;
    assert_eq!(conformance::failures(&RedisWorld(link)).await, []);
}

#[tokio::test]
async fn sessions_live_on_after_a_failover_and_ended_ones_stay_ended() {
    let Some(mut watched) = Watched::start().await else {
        return;
    };
    let world = RedisWorld(watched.link());
    answering(&world.0).await;
    let (sessions, user) = (world.open(), UserId::random());
    let mut kept = record_of(&world, user);
    let mut ended = record_of(&world, user);
    sessions.create(&mut kept).await.unwrap();
    sessions.create(&mut ended).await.unwrap();
    assert!(sessions.end(user, &SessionHandle::of(ended.id)).await.unwrap());
    watched.replicated().await;
    watched.master.kill();
    until("the replica answers", async || sessions.load(&kept.id).await.is_ok()).await;
    assert!(sessions.load(&kept.id).await.unwrap().is_some());
    assert!(sessions.load(&ended.id).await.unwrap().is_none());
    until("the replica takes writes", async || {
        sessions.create(&mut ended).await.is_ok()
    })
    .await;
    assert_eq!(sessions.list(user).await.unwrap().len(), 2);
}
