//! The log in a real Redis: the suite, and Redis emptied, restarted, paused and failed over.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::super::conformance::{self, Ends, World, some_entry};
use super::super::lease::Told;
use super::super::{confirm, revoke};
use super::*;
use crate::model::{SystemTime, WallClock as _};
use crate::redis_link::testing::{Server, answering, shared};

/// Each log of the suite has a prefix of its own.
struct Redis {
    link: RedisLink,
}

#[async_trait]
impl World for Redis {
    async fn ends(&self, count: usize) -> Ends {
        let prefix = format!("{}{:016x}:", self.link.key(""), rand::random::<u64>());
        let options = self.link.options().clone().with_prefix(&prefix).unwrap();
        let link = RedisLink::new(options);
        let end = |_| {
            let lease = DeliveryLease::of(BootId::random());
            Arc::new(RedisControlLog::with_capacity(link.clone(), lease, self.capacity())) as _
        };
        let nodes = (0..count).map(end).collect();
        let lose = move || {
            let link = link.clone();
            let empty = async move {
                let mut command = redis::cmd("DEL");
                command.arg(Scripts::new(&link).keys());
                let _: u64 = link.query(&command).await.unwrap();
            };
            Box::pin(empty) as _
        };
        Ends {
            nodes,
            lose: Box::new(lose),
        }
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(60)
    }
}

#[tokio::test]
async fn the_log_in_redis_keeps_every_clause() {
    let Some((link, _server)) = shared().await else { return };
    assert_eq!(conformance::failures(&Redis { link }).await, []);
}

/// A node, attached.
async fn node(link: &RedisLink) -> (BootId, RedisControlLog, Position) {
    let (boot, _, log, start) = leased(link).await;
    (boot, log, start)
}

/// The same with the node's lease, which hears others.
async fn leased(link: &RedisLink) -> (BootId, DeliveryLease, RedisControlLog, Position) {
    let boot = BootId::random();
    let lease = DeliveryLease::of(boot);
    let log = RedisControlLog::new(link.clone(), lease.clone());
    let start = log.attach(boot).await.unwrap();
    (boot, lease, log, start)
}

#[tokio::test]
async fn a_restarted_redis_is_another_log() {
    let Some(mut server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (boot, log, _) = node(&link).await;
    let position = log.append(some_entry(1)).await.unwrap();
    log.read(boot, position).await.unwrap();
    server.restart();
    answering(&link).await;
    let Err(Error::Behind { resume_at }) = log.read(boot, position).await else {
        panic!("everything was lost and nobody was told");
    };
    assert_ne!(resume_at.incarnation, position.incarnation);
    assert_eq!(log.read(boot, resume_at).await.unwrap().holders, [(boot, resume_at)]);
}

#[tokio::test]
async fn a_failover_that_lost_an_entry_is_another_log() {
    let Some(mut primary) = Server::start(&[]) else { return };
    let link = primary.link();
    answering(&link).await;
    let port = primary.port().to_string();
    let Some(replica) = Server::start(&["--replicaof", "127.0.0.1", &port]) else {
        return;
    };
    let replica_link = replica.link();
    answering(&replica_link).await;
    let (boot, log, start) = node(&link).await;
    let first = log.append(some_entry(1)).await.unwrap();
    assert!(first > start);
    // The first entry is replicated, the second comes after the replica stopped listening.
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(0);
    let _: u64 = link.dedicated().blocking(&wait, limits::REDIS_BLOCK_MAX).await.unwrap();
    replica.pause();
    let second = log.append(some_entry(2)).await.unwrap();
    primary.kill();
    replica.resume();
    let mut promote = redis::cmd("REPLICAOF");
    promote.arg("NO").arg("ONE");
    answering(&replica_link).await;
    let _: redis::Value = replica_link.query(&promote).await.unwrap();
    let log = RedisControlLog::new(replica_link, DeliveryLease::of(boot));
    let again = log.append(some_entry(3)).await.unwrap();
    assert_ne!(again.incarnation, second.incarnation);
    for acted in [start, first, second] {
        assert!(
            matches!(log.read(boot, acted).await, Err(Error::Behind { .. })),
            "{acted}"
        );
    }
}

#[tokio::test]
async fn a_redis_that_is_away_refuses_revocations_and_is_found_again() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (boot, log, start) = node(&link).await;
    server.pause();
    assert!(matches!(log.append(some_entry(1)).await, Err(Error::Unavailable(_))));
    assert!(matches!(log.read(boot, start).await, Err(Error::Unavailable(_))));
    log.changed(start).await;
    server.resume();
    answering(&link).await;
    // Whether the paused server carries the first attempt out afterwards does not matter: it may be there twice.
    let position = log.append(some_entry(1)).await.unwrap();
    let before = SystemTime.now();
    let reading = log.read(boot, start).await.unwrap();
    assert!(reading.position.reaches(position));
    assert!(reading.entries.iter().all(|entry| **entry == some_entry(1)));
    // Its server runs on this machine, so both show the same clock.
    let time = reading.time.unwrap();
    assert!(before <= time && time <= SystemTime.now());
}

#[tokio::test]
async fn a_revocation_whose_own_node_has_not_acted_is_not_answered() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (_, log, _) = node(&link).await;
    assert!(matches!(revoke(&log, some_entry(1)).await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_node_that_has_left_takes_no_lease_again() {
    let Some((link, _server)) = shared().await else { return };
    let (boot, log, start) = node(&link).await;
    let (other, stays, _) = node(&link).await;
    log.detach(boot).await;
    assert!(matches!(log.read(boot, start).await, Err(Error::Unavailable(_))));
    assert!(matches!(log.append(some_entry(1)).await, Err(Error::Unavailable(_))));
    assert_eq!(stays.read(other, start).await.unwrap().holders, [(other, start)]);
}

/// What a node's frame of this number tells of it: it has acted on a position.
const fn told(boot: BootId, number: u64, position: Position) -> Told {
    Told {
        boot,
        number,
        position: Some(position),
        reaches_log: true,
        goodbye: false,
        echo: None,
    }
}

#[tokio::test]
async fn a_node_that_was_heard_is_waited_for_without_a_lease() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (boot, lease, log, start) = leased(&link).await;
    let other = BootId::random();
    let position = log.append(some_entry(1)).await.unwrap();
    log.read(boot, position).await.unwrap();
    lease.frame_heard(told(other, 1, start));
    let patience = limits::DELIVERY_LEASE + Duration::from_millis(500);
    assert_eq!(log.wait_reported(position, patience).await, Err(Error::Unconfirmed));
    lease.frame_heard(told(other, 2, position));
    assert_eq!(log.wait_reported(position, limits::REVOCATION_WAIT).await, Ok(()));
}

#[tokio::test]
async fn an_emptied_log_confirms_nothing_before_every_node_has_looked_again() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (boot, lease, log, start) = leased(&link).await;
    let other = BootId::random();
    link.repeatable::<()>(&redis::cmd("FLUSHALL")).await.unwrap();
    let end = log.end().await.unwrap();
    assert_ne!(end.incarnation, start.incarnation);
    log.read(boot, end).await.unwrap();
    lease.frame_heard(told(other, 1, start));
    let patience = limits::DELIVERY_LEASE + Duration::from_millis(500);
    assert_eq!(log.wait_reported(end, patience).await, Err(Error::Unconfirmed));
    lease.frame_heard(told(other, 2, end));
    assert_eq!(confirm(&log).await, Ok(end));
}

#[tokio::test]
async fn what_a_newer_build_revokes_makes_an_older_one_check_everything() {
    let Some((link, _server)) = shared().await else { return };
    let (boot, log, start) = node(&link).await;
    let mut add = redis::cmd("HINCRBY");
    add.arg(&log.scripts.keys()[0]).arg("tail").arg(1);
    let tail: u64 = link.query(&add).await.unwrap();
    let mut add = redis::cmd("XADD");
    add.arg(&log.scripts.keys()[1])
        .arg(format!("{tail}-0"))
        .arg("e")
        .arg(r#"{"planet":{"id":1}}"#);
    let _: String = link.query(&add).await.unwrap();
    assert!(matches!(log.read(boot, start).await, Err(Error::Behind { .. })));
}

/// How many scripts the server has run.
async fn scripts_run(link: &RedisLink) -> u64 {
    let mut info = redis::cmd("INFO");
    info.arg("commandstats");
    let text: String = link.query(&info).await.unwrap();
    let calls = text
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls
        .and_then(|calls| calls.split(',').next())
        .map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn many_revocations_that_wait_ask_redis_no_more_often_than_one() {
    const WAITING: u64 = 300;
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let (_, log, _) = node(&link).await;
    // This node never acts on it, so all of them look until their patience ends.
    let position = log.append(some_entry(1)).await.unwrap();
    let before = scripts_run(&link).await;
    let begun = Instant::now();
    let patience = Duration::from_millis(400);
    let waits = (0..WAITING).map(|_| log.wait_reported(position, patience));
    for answer in futures_util::future::join_all(waits).await {
        assert!(matches!(answer, Err(Error::Unavailable(_))));
    }
    let paces = begun.elapsed().as_millis() / PACE.as_millis();
    let looks = scripts_run(&link).await - before;
    assert!(
        u128::from(looks) <= paces + 2,
        "{looks} scripts while {WAITING} waited for {paces} paces"
    );
}
