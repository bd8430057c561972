//! One sweep a second over all connections, in place of timers: pings, silence, readers that make no progress,
//! sessions that have expired, and people who have gone.
//!
//! A session whose end has come here may have been used elsewhere, which moved its end; only its store knows. Those are
//! asked for apart from the minute's share, many at once, and what isn't told in time has expired: nothing is written
//! to somebody for longer because a session store is slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Gate;
use crate::fanout::Link;
use crate::limits;
use crate::model::Timestamp;
use crate::sessions;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::frame::ping_frame;

/// How long somebody may be gone before it is told: a reload is no departure.
const GRACE: Duration = Duration::from_secs(2);

/// Sessions that wait to be checked; more get their turn a minute later.
const SESSION_CHECKS_MAX: usize = 10_000;

/// Sweeps every second until the task is dropped.
pub async fn sweep(gate: Arc<Gate>) {
    let start = Instant::now();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut due: Vec<Arc<Link>> = Vec::new();
    let mut checking: Option<JoinHandle<()>> = None;
    let mut ending: Option<JoinHandle<()>> = None;
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = u32::try_from(start.elapsed().as_secs()).unwrap_or(u32::MAX);
        gate.registry.set_seconds(now);
        gate.hub.tick();
        let ping = ping_frame(b"");
        // All that have expired are found anew each time, so none has to wait in a list.
        let may_end = ending.as_ref().is_none_or(JoinHandle::is_finished);
        let mut expired: Vec<Arc<Link>> = Vec::new();
        let recheck = u32::try_from(limits::SESSION_RECHECK.as_secs()).unwrap_or(60);
        for (index, link) in gate.registry.all().into_iter().enumerate() {
            look_after(&link, &ping, now);
            // A sixtieth of all connections each second: every session is asked for once a minute.
            if link.is_silent() {
                continue;
            }
            let turn = u32::from(link.identity().connection.as_bytes()[0]) % recheck;
            if link.expires_at() <= gate.clock.now() {
                if may_end && !link.is_dead() {
                    expired.push(link);
                }
            } else if turn == now % recheck && due.len() < SESSION_CHECKS_MAX {
                due.push(link);
            }
            if index % 256 == 255 {
                tokio::task::yield_now().await;
            }
        }
        if !expired.is_empty() {
            ending = Some(tokio::spawn(end_expired(Arc::clone(&gate), expired)));
        }
        // Beside the sweep: a session store that is slow must not stop pings and the clock.
        if !due.is_empty() && checking.as_ref().is_none_or(JoinHandle::is_finished) {
            checking = Some(tokio::spawn(check_sessions(
                Arc::clone(&gate),
                std::mem::take(&mut due),
            )));
        }
        tell_departures(&gate).await;
    }
}

/// Asks for many sessions at a time. What can't be asked for is asked for again a minute later.
async fn check_sessions(gate: Arc<Gate>, links: Vec<Arc<Link>>) {
    for links in links.chunks(limits::RECHECKS_AT_ONCE) {
        let handles: Vec<_> = links.iter().map(|link| link.identity().session.clone()).collect();
        match gate.sessions.expiries(&handles).await {
            Ok(expiries) => links.iter().zip(expiries).for_each(|(link, at)| checked(link, at)),
            // One that can't be read says nothing about those that were asked for with it.
            Err(sessions::Error::Damaged(_)) => {
                for (link, handle) in links.iter().zip(&handles) {
                    match gate.sessions.live(handle).await {
                        Ok(session) => checked(link, session.map(|session| session.expires_at)),
                        Err(error) => tracing::warn!(%error, "a session can't be checked"),
                    }
                }
            }
            // A store that is away says nothing about sessions that have not expired.
            Err(error) => tracing::debug!(%error, "sessions can't be checked"),
        }
    }
}

/// Acts on what was told of a session.
fn checked(link: &Link, expires_at: Option<Timestamp>) {
    match expires_at {
        Some(at) => link.set_expires_at(at),
        // Who ends a session says so in the control log, and its end has not come, so this one was lost.
        None => link.abort(&farewell(CloseCode::SessionsLost, 0.0)),
    }
}

/// Ends what has expired, unless its store says in time that it was used elsewhere.
async fn end_expired(gate: Arc<Gate>, links: Vec<Arc<Link>>) {
    // Once the store has not answered in time nobody else waits for it.
    let away = AtomicBool::new(false);
    stream::iter(links)
        .for_each_concurrent(limits::RECHECKS_AT_ONCE, |link| {
            let (gate, away) = (&gate, &away);
            async move {
                let live = async {
                    if away.load(Ordering::Relaxed) {
                        return None;
                    }
                    let told = gate.sessions.live(&link.identity().session);
                    let Ok(Ok(told)) = tokio::time::timeout(limits::EXPIRY_PATIENCE, told).await else {
                        away.store(true, Ordering::Relaxed);
                        return None;
                    };
                    told.filter(|session| session.expires_at > gate.clock.now())
                };
                match live.await {
                    Some(session) => link.set_expires_at(session.expires_at),
                    None => link.abort(&farewell(CloseCode::SessionExpired, 0.0)),
                }
            }
        })
        .await;
}

fn look_after(link: &Link, ping: &bytes::Bytes, now: u32) {
    let seconds = |span: Duration| u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    if link.waiting() == 0 {
        link.set_waiting_since(now);
    } else {
        // It is not read while something waits, so its silence means nothing; progress does.
        let since = link.progress_at().max(link.waiting_since());
        if now.saturating_sub(since) >= seconds(limits::NO_PROGRESS_MAX) {
            link.abort(&farewell(CloseCode::TooSlow, 0.0));
        }
        return;
    }
    if now.saturating_sub(link.heard_at().max(link.progress_at())) >= seconds(limits::SILENCE_MAX) {
        link.abort(&farewell(CloseCode::NoAnswer, 0.0));
    } else if now.saturating_sub(link.pinged_at()) >= seconds(limits::PING_INTERVAL) {
        link.ping(ping, now);
    }
}

/// Tells who has gone and is not back, and notes when they were last seen.
async fn tell_departures(gate: &Gate) {
    let now = gate.clock.now();
    let gone: Vec<_> = {
        let mut departures = gate.departures.lock();
        let due: Vec<_> = departures
            .iter()
            .filter(|(_, (_, at))| now.since(*at) >= GRACE)
            .map(|(user, _)| *user)
            .collect();
        due.into_iter().filter_map(|user| departures.remove(&user)).collect()
    };
    if gone.is_empty() {
        return;
    }
    for (author, at) in &gone {
        gate.hub.person(author, false, Some(*at));
    }
    let seen: Vec<(_, Timestamp)> = gone.iter().map(|(author, at)| (author.id, *at)).collect();
    if let Err(error) = gate.store.set_last_seen(seen).await {
        tracing::warn!(%error, "when people were last seen was not noted");
    }
}
