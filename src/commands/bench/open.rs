//! Opens the connections of a load: users, handshakes, and waiting until each room is live.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::{PATIENCE, Target, Upgraded};
use crate::commands::seed;

use super::connection::Connection;
use super::load::Load;
use super::plan::Plan;
use super::{Arguments, LOOK};

/// Handshakes under way at once.
pub(super) const HANDSHAKES_AT_ONCE: usize = 64;
/// How long a server has to clear away what was rehearsed.
const REHEARSAL_REST: Duration = Duration::from_secs(4);
/// Users that are registered where no file gives any: each costs the server a password's hash.
const REGISTERED_MAX: usize = 10;
/// Connections from one address of this machine; each has some 28,000 ports.
const PER_ADDRESS: usize = 20_000;

/// The cookies that the connections use in turn.
pub(super) async fn cookies(target: &Target, arguments: &Arguments, plan: &Plan) -> anyhow::Result<Vec<String>> {
    if !arguments.dialect.has_users() {
        return Ok(vec!["none=none".to_owned()]);
    }
    if let Some(path) = &arguments.users_file {
        let users = seed::read_users(path, plan.connections)?;
        ensure!(!users.is_empty(), "{} holds no users", path.display());
        return Ok(users.into_iter().map(|user| user.cookie).collect());
    }
    let mut cookies = Vec::new();
    for number in 0..plan.connections.min(REGISTERED_MAX) {
        let name = format!("bench-{:08x}-{number}", plan.run);
        let session = target
            .register(&name, &format!("{:032x}", rand::random::<u128>()))
            .await;
        let advice = "can't register a user; is the server started with --limits off and --registration open?";
        cookies.push(session.context(advice)?.cookie);
    }
    Ok(cookies)
}

/// Opens all connections and waits until each has its room.
pub(super) async fn all(
    target: &Target,
    of_senders: &Target,
    load: &Arc<Load>,
    cookies: &[String],
) -> anyhow::Result<Vec<Connection>> {
    let plan = &load.plan;
    let open = |number: usize| async move {
        let target = if number < plan.senders { of_senders } else { target };
        let upgraded = upgrade(target, load, cookies, number, None).await;
        let upgraded = upgraded.with_context(|| format!("connection {number} can't be opened"))?;
        anyhow::Ok(Connection::start(Arc::clone(load), number, upgraded))
    };
    // The first of each room makes it, and has it before the crowd comes.
    let mut connections: Vec<Connection> = stream::iter(0..plan.rooms)
        .map(open)
        .buffered(HANDSHAKES_AT_ONCE)
        .try_collect()
        .await?;
    live(load, &connections).await?;
    let others = stream::iter(plan.rooms..plan.connections)
        .map(open)
        .buffered(HANDSHAKES_AT_ONCE);
    connections.extend(others.try_collect::<Vec<_>>().await?);
    live(load, &connections).await?;
    Ok(connections)
}

/// Opens and closes some connections, and waits until a server has told that their people are gone.
pub(super) async fn rehearse(target: &Target, arguments: &Arguments, cookies: &[String]) -> anyhow::Result<()> {
    let few = Arguments {
        connections: arguments.rehearse.clamp(arguments.rooms, arguments.connections),
        never_read: 0,
        ..arguments.clone()
    };
    let load = Arc::new(Load::new(super::plan(&few)?, few.dialect, &few.room_prefix));
    drop(all(target, target, &load, cookies).await?);
    tokio::time::sleep(REHEARSAL_REST).await;
    Ok(())
}

/// Opens one socket; `since` is the cursor to resume from.
pub(super) async fn upgrade(
    target: &Target,
    load: &Load,
    cookies: &[String],
    number: usize,
    since: Option<&str>,
) -> crate::client::Result<Upgraded> {
    let several = load.plan.connections > PER_ADDRESS && target.is_loopback();
    let mut path = load.dialect.path(&load.room_name(load.plan.room(number)));
    if let Some(since) = since {
        path.push_str("&since=");
        path.push_str(since);
    }
    let from = several.then(|| source(number));
    target.upgrade(&path, &cookies[number % cookies.len()], from).await
}

fn source(number: usize) -> SocketAddr {
    let last = u8::try_from(1 + number / PER_ADDRESS).unwrap_or(u8::MAX);
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0))
}

/// Waits until these connections have their rooms.
pub(super) async fn live(load: &Load, connections: &[Connection]) -> anyhow::Result<()> {
    let (mut known, mut at) = (0, Instant::now());
    loop {
        let live = load.live.load(Ordering::Relaxed);
        if live >= connections.len() as u64 {
            return Ok(());
        }
        if load.errors.load(Ordering::Relaxed) > 0 {
            let codes = connections
                .iter()
                .flat_map(|c| c.tally.lock().errors.keys().cloned().collect::<Vec<_>>());
            bail!("a room can't be joined: {}", codes.collect::<Vec<_>>().join(", "));
        }
        if live > known {
            (known, at) = (live, Instant::now());
        }
        let patience = PATIENCE + Duration::from_secs(20);
        ensure!(
            at.elapsed() < patience,
            "only {live} of {} connections have their room after {patience:?}",
            connections.len()
        );
        tokio::time::sleep(LOOK).await;
    }
}
