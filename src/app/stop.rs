//! The stop, in a fixed order: not ready; no new connections; goodbye to those that are open; what is under way is
//! written; then whatever others wait for is given back, and the stores are closed.

use std::time::Duration;

use crate::config::Config;
use crate::fanout::Registry;
use crate::shutdown::{Phase, Sequence, Tasks, Token};
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;

use super::Parts;

/// Connections told goodbye in one go while the server stops.
const GOODBYES_AT_ONCE: usize = 200;
/// How many connections may return in one second after a stop: their delays are spread so.
const RETURNS_PER_SECOND: f64 = 500.0;

/// Stops, within the configured deadline. A step that takes too long is cut short and named in the log.
pub async fn stop(config: &Config, parts: &Parts, token: &Token, connections: &Tasks) {
    let goodbye = async {
        token.advance(Phase::Draining);
        token.advance(Phase::Closing);
        say_goodbye(&parts.gate.registry, config.drain_window).await;
    };
    let outcomes = Sequence::new()
        .then("connections", goodbye)
        .then("requests", async { connections.idle().await })
        .then("channel layer", async {
            if let Some(cluster) = parts.gate.hub.cluster() {
                cluster.leave().await;
            }
        })
        // Only now: until the last connection was gone, its revocation had to be waited for.
        .then("control log", async { parts.log.detach(parts.node).await })
        .then("presence", async { parts.company.close().await })
        .then("store", async {
            token.advance(Phase::Stopping);
            parts.store.shared().close().await;
        })
        .then("sessions", async { parts.sessions.close().await })
        .run(config.shutdown_deadline)
        .await;
    for outcome in outcomes.iter().filter(|outcome| !outcome.finished) {
        tracing::warn!(step = outcome.step, took = ?outcome.took, "a step of the stop was cut short");
    }
}

/// Tells every connection to come back elsewhere, spread over the window, and waits until all are gone.
async fn say_goodbye(registry: &Registry, window: Duration) {
    let links = registry.all();
    #[expect(clippy::cast_precision_loss, reason = "a count of sockets is far below 2^52")]
    let spread = (links.len() as f64 / RETURNS_PER_SECOND).min(window.as_secs_f64());
    for (index, link) in links.iter().enumerate() {
        link.close(farewell(CloseCode::GoingAway, rand::random::<f64>() * spread));
        if index % GOODBYES_AT_ONCE == GOODBYES_AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
    }
    while !registry.is_empty() {
        // Who was still in the handshake is told too; telling somebody twice changes nothing.
        for link in registry.all() {
            link.close(farewell(CloseCode::GoingAway, rand::random::<f64>() * spread));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
