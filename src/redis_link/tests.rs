//! The link against real servers: commands, scripts, blocking reads, and Redis killed, paused and started again.

use std::time::Duration;

use super::testing::{Cluster, Server, Watched, answering, shared, until};
use super::*;

fn set(link: &RedisLink, key: &str, value: &str) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(link.key(key)).arg(value);
    command
}

fn get(link: &RedisLink, key: &str) -> Cmd {
    let mut command = redis::cmd("GET");
    command.arg(link.key(key));
    command
}

#[tokio::test]
async fn commands_pipelines_and_scripts_are_answered() {
    let Some((link, _server)) = shared().await else { return };
    let _: Value = link.query(&set(&link, "a", "1")).await.unwrap();
    assert_eq!(link.repeatable::<String>(&get(&link, "a")).await.unwrap(), "1");
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("INCR").arg(link.key("{t}b"));
    pipeline.cmd("INCR").arg(link.key("{t}b"));
    assert_eq!(link.pipeline::<(i64, i64)>(&pipeline).await.unwrap(), (1, 2));
    let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
    for expected in [7, 12] {
        let sum: i64 = link.script(&script, &[link.key("{t}b")], &[b"5".into()]).await.unwrap();
        assert_eq!(sum, expected);
    }
    let values = link.all(&[get(&link, "a"), get(&link, "none")]).await.unwrap();
    assert_eq!(values, [Value::BulkString("1".into()), Value::Nil]);
    let mut wrong = redis::cmd("LPUSH");
    wrong.arg(link.key("a")).arg(1);
    assert!(matches!(link.query::<i64>(&wrong).await, Err(Error::Refused(_))));
    assert!(matches!(
        link.query::<Vec<(i64, i64)>>(&get(&link, "a")).await,
        Err(Error::Unexpected(_))
    ));
}

#[tokio::test]
async fn a_blocking_read_holds_up_nobody() {
    let Some((link, _server)) = shared().await else { return };
    let blocking = link.dedicated();
    let key = link.key("log");
    let mut read = redis::cmd("XREAD");
    read.arg("BLOCK").arg(4_000).arg("STREAMS").arg(&key).arg("0");
    let waiting = tokio::spawn(async move { blocking.blocking::<Value>(&read, Duration::from_secs(4)).await });
    let mut add = redis::cmd("XADD");
    add.arg(&key).arg("*").arg("x").arg("1");
    for number in 0..50 {
        link.query::<Value>(&set(&link, "b", &number.to_string()))
            .await
            .unwrap();
    }
    let _: Value = link.query(&add).await.unwrap();
    assert!(matches!(waiting.await.unwrap(), Ok(Value::Array(_) | Value::Map(_))));
}

#[tokio::test]
async fn a_redis_that_is_down_is_said_at_once_and_found_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    let script = Script::new("return 7");
    assert_eq!(link.script::<i64>(&script, &[], &[]).await, Ok(7));
    server.kill();
    let mut calls = Vec::new();
    for _ in 0..50 {
        let link = link.clone();
        calls.push(tokio::spawn(async move { link.ping().await }));
    }
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::Unavailable(_))));
    }
    server.restart();
    answering(&link).await;
    assert_eq!(
        link.script::<i64>(&script, &[], &[]).await,
        Ok(7),
        "the script is loaded again"
    );
}

#[tokio::test]
async fn a_paused_redis_is_unavailable_until_it_goes_on() {
    let Some(server) = Server::start(&[]) else { return };
    let link = server.link();
    answering(&link).await;
    server.pause();
    for _ in 0..2 {
        assert!(matches!(link.ping().await, Err(Error::Unavailable(_))));
    }
    server.resume();
    answering(&link).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_without_being_told() {
    let Some(server) = Server::start(&["--requirepass", "geheim"]) else {
        return;
    };
    let address = format!("redis://:geheim@127.0.0.1:{}", server.port());
    answering(&RedisLink::new(RedisOptions::parse(&address).unwrap())).await;
    let address = format!("redis://:falsch@127.0.0.1:{}", server.port());
    let link = RedisLink::new(RedisOptions::parse(&address).unwrap());
    let error = link.ping().await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(!format!("{error:?} {link:?}").contains("falsch"), "{error:?}");
}

#[tokio::test]
async fn a_sentinel_is_asked_again_after_a_failover() {
    let Some(mut watched) = Watched::start().await else {
        return;
    };
    let link = watched.link();
    answering(&link).await;
    let _: Value = link.query(&set(&link, "a", "before")).await.unwrap();
    watched.replicated().await;
    watched.master.kill();
    assert!(
        matches!(link.ping().await, Err(Error::Unavailable(_))),
        "nothing is the master right now"
    );
    until("the replica is found", async || {
        link.query::<Value>(&set(&link, "b", "after")).await.is_ok()
    })
    .await;
    // The old master comes back as a master and is not believed to be one.
    watched.master.restart();
    answering(&watched.master.link()).await;
    let fresh = watched.link();
    assert_eq!(fresh.repeatable::<String>(&get(&fresh, "a")).await.unwrap(), "before");
    assert_eq!(fresh.repeatable::<String>(&get(&fresh, "b")).await.unwrap(), "after");
    let replica = watched.replica.link();
    assert_eq!(
        replica.repeatable::<String>(&get(&replica, "b")).await.unwrap(),
        "after"
    );
}

#[tokio::test]
async fn a_cluster_is_one_redis_until_a_part_of_it_is_gone() {
    let Some(mut cluster) = Cluster::start().await else {
        return;
    };
    let link = cluster.link();
    answering(&link).await;
    let keys: Vec<_> = (0..100).map(|number| format!("key{number}")).collect();
    let sets: Vec<_> = keys.iter().map(|key| set(&link, key, key)).collect();
    link.all(&sets).await.unwrap();
    let gets: Vec<_> = keys.iter().map(|key| get(&link, key)).collect();
    let values = link.all(&gets).await.unwrap();
    let expected: Vec<_> = keys.iter().map(|key| Value::BulkString(key.clone().into())).collect();
    assert_eq!(values, expected);
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    for key in &keys {
        assert_eq!(
            link.script::<i64>(&script, &[link.key(format!("{key}+"))], &[]).await,
            Ok(1)
        );
    }
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("INCR").arg(link.key("{t}a"));
    pipeline.cmd("INCR").arg(link.key("{t}b"));
    assert_eq!(link.pipeline::<(i64, i64)>(&pipeline).await.unwrap(), (1, 1));
    let (blocking, log) = (link.dedicated(), link.key("log"));
    let mut read = redis::cmd("XREAD");
    read.arg("BLOCK").arg(200).arg("STREAMS").arg(&log).arg("0");
    assert_eq!(
        blocking.blocking(&read, Duration::from_millis(200)).await,
        Ok(Value::Nil)
    );
    cluster.nodes[2].kill();
    until("the cluster says that it is incomplete", async || {
        let answers = gets.iter().map(|get| link.query::<Value>(get));
        let answers = futures_util::future::join_all(answers).await;
        answers
            .iter()
            .all(|answer| matches!(answer, Err(Error::Unavailable(_))))
    })
    .await;
    cluster.nodes[2].restart();
    until("the cluster is complete again", async || link.all(&gets).await.is_ok()).await;
}
