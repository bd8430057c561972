//! One sweep a second over all connections, in place of timers: pings, silence, readers that make no progress,
//! sessions that have expired, and people who have gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Gate;
use crate::fanout::Link;
use crate::limits;
use crate::model::Timestamp;
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
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = u32::try_from(start.elapsed().as_secs()).unwrap_or(u32::MAX);
        gate.registry.set_seconds(now);
        gate.hub.tick();
        let ping = ping_frame(b"");
        let recheck = u32::try_from(limits::SESSION_RECHECK.as_secs()).unwrap_or(60);
        for (index, link) in gate.registry.all().into_iter().enumerate() {
            look_after(&link, &ping, now);
            // A sixtieth of all connections each second: every session is asked for once a minute.
            if link.is_silent() {
                continue;
            }
            let turn = u32::from(link.identity().connection.as_bytes()[0]) % recheck;
            let expired = link.expires_at() <= gate.clock.now();
            if (expired || turn == now % recheck) && due.len() < SESSION_CHECKS_MAX {
                due.push(Arc::clone(&link));
            }
            if index % 256 == 255 {
                tokio::task::yield_now().await;
            }
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

async fn check_sessions(gate: Arc<Gate>, links: Vec<Arc<Link>>) {
    for link in links {
        check_session(&gate, &link).await;
    }
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

async fn check_session(gate: &Gate, link: &Link) {
    match gate.sessions.live(&link.identity().session).await {
        Ok(Some(session)) => link.set_expires_at(session.expires_at),
        Ok(None) if link.expires_at() <= gate.clock.now() => link.abort(&farewell(CloseCode::SessionExpired, 0.0)),
        // Who ends a session says so in the control log, so this one was lost.
        Ok(None) => link.abort(&farewell(CloseCode::SessionsLost, 0.0)),
        // A store that is away says nothing about a session that has not expired.
        Err(error) => {
            tracing::debug!(%error, "a session can't be checked");
            if link.expires_at() <= gate.clock.now() {
                link.abort(&farewell(CloseCode::SessionExpired, 0.0));
            }
        }
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
