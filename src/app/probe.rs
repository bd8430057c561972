//! What `natter check` asks of servers: whether they answer, what they are, and how their clocks stand to this one.

use std::time::Instant;

use anyhow::Context as _;
use redis::{InfoDict, Value};

use crate::channel_layer::ChannelLayer as _;
use crate::config::{ChannelLayerAt, Config, SessionsAt, StoreAt};
use crate::model::{SystemTime, WallClock as _};
use crate::redis_link::RedisLink;

use super::{OpenStore, servers};

/// Asks every server of the configuration; each key with what was found, or what is wrong.
pub async fn probe(config: &Config) -> Vec<(&'static str, anyhow::Result<String>)> {
    let mut found = Vec::new();
    if let StoreAt::Cql(_) = config.store {
        found.push(("store", store(config).await));
    }
    if let ChannelLayerAt::Nats(_) = config.channel_layer {
        found.push(("channel-layer", nats(config).await));
    }
    if let SessionsAt::Redis(_) = config.sessions {
        found.push(("sessions", redis(config).await));
    }
    found
}

async fn store(config: &Config) -> anyhow::Result<String> {
    let store = OpenStore::open(config).await?.shared();
    let begun = Instant::now();
    let asked = store.ping().await;
    let took = begun.elapsed();
    let totals = store.totals().await;
    store.close().await;
    asked?;
    let totals = totals?;
    Ok(format!(
        "the schema is up to date; it answers in {:.1} ms; {} users, {} rooms, {} messages",
        took.as_secs_f64() * 1e3,
        totals.users,
        totals.rooms,
        totals.messages
    ))
}

async fn nats(config: &Config) -> anyhow::Result<String> {
    let layer = servers::nats(config).await?.context("no server is named")?;
    let begun = Instant::now();
    let answered = layer.ping().await;
    let took = begun.elapsed();
    let version = layer.server_version();
    layer.close().await;
    answered?;
    Ok(format!(
        "NATS {} passes messages on; it answers in {:.1} ms",
        version.unwrap_or_default(),
        took.as_secs_f64() * 1e3
    ))
}

async fn redis(config: &Config) -> anyhow::Result<String> {
    let link = servers::redis(config).await?.context("no server is named")?;
    let mut facts = Vec::new();
    // A cluster answers for each of its nodes, and not every server lets everybody ask; it answers, that is the point.
    let info = link.repeatable::<InfoDict>(redis::cmd("INFO").arg("server")).await;
    match info.ok().and_then(|info| info.get::<String>("redis_version")) {
        Some(version) => facts.push(format!("Redis {version}")),
        None => facts.push("Redis answers".to_owned()),
    }
    if let Some(seconds) = clock_difference(&link).await {
        facts.push(format!("its clock differs from this one by {seconds:.1} s"));
    }
    let question = redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").clone();
    let policy = link.repeatable::<Vec<String>>(&question).await.unwrap_or_default();
    if let [_, policy] = policy.as_slice()
        && policy != "noeviction"
    {
        facts.push(format!(
            "maxmemory-policy is {policy}: set it to noeviction, or people are logged out when memory is short"
        ));
    }
    Ok(facts.join(", "))
}

/// How far Redis' clock is from this machine's, in seconds.
async fn clock_difference(link: &RedisLink) -> Option<f64> {
    let answer: Value = link.repeatable(&redis::cmd("TIME")).await.ok()?;
    let (seconds, micros): (u64, u64) = redis::from_redis_value(answer).ok()?;
    let own = SystemTime.now().millis();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a difference, not of an age")]
    let difference = own.abs_diff(seconds * 1_000 + micros / 1_000) as f64 / 1_000.0;
    Some(difference)
}
