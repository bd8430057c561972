//! A storm: everybody but the senders is cut off at once and comes back with a cursor, while messages go on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use serde::Serialize;

use crate::client::Target;

use super::connection::Connection;
use super::load::Load;
use super::open::{self, HANDSHAKES_AT_ONCE};
use super::tally::Tally;

/// What a storm took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Storm {
    /// Connections that were cut at once.
    pub cut: usize,
    /// Seconds until all of them were connected again.
    pub back_seconds: f64,
    /// Seconds until all of them had been told what they missed.
    pub caught_up_seconds: f64,
}

/// Cuts all readers off and brings them back.
///
/// # Errors
/// If one can't come back.
pub(super) async fn run(
    target: &Target,
    load: &Arc<Load>,
    cookies: &[String],
    connections: &mut Vec<Connection>,
) -> anyhow::Result<Storm> {
    let readers = connections.split_off(load.plan.senders);
    let tallies: Vec<(usize, Arc<Mutex<Tally>>)> = (load.plan.senders..)
        .zip(readers.iter().map(|reader| Arc::clone(&reader.tally)))
        .collect();
    let cut = tallies.len();
    load.live.store(0, Ordering::Relaxed);
    let began = Instant::now();
    drop(readers);
    let back = |(number, tally): (usize, Arc<Mutex<Tally>>)| async move {
        let since = tally.lock().cursor();
        let upgraded = open::upgrade(target, load, cookies, number, since.as_deref()).await;
        let upgraded = upgraded.with_context(|| format!("connection {number} can't come back"))?;
        anyhow::Ok(Connection::go_on(Arc::clone(load), number, upgraded, tally))
    };
    let back = stream::iter(tallies).map(back).buffered(HANDSHAKES_AT_ONCE);
    let back: Vec<Connection> = back.try_collect().await?;
    let back_seconds = began.elapsed().as_secs_f64();
    open::live(load, &back).await?;
    let caught_up_seconds = began.elapsed().as_secs_f64();
    connections.extend(back);
    Ok(Storm {
        cut,
        back_seconds,
        caught_up_seconds,
    })
}
