//! Whether this node's servers answer, asked once a second: for the metrics, and for the status frames, since other nodes
//! count on a node that reaches the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::channel_layer::ChannelLayer;
use crate::limits;
use crate::sessions::UserSessions;
use crate::store::Store;

/// How often each server is asked.
const EVERY: Duration = Duration::from_secs(1);

/// Which servers answered last. Until they are asked they count as there, since the start has reached them.
#[derive(Debug)]
pub struct Reach {
    store: AtomicBool,
    sessions: AtomicBool,
    layer: AtomicBool,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            store: AtomicBool::new(true),
            sessions: AtomicBool::new(true),
            layer: AtomicBool::new(true),
        }
    }
}

impl Reach {
    /// Whether the store answers.
    pub fn store(&self) -> bool {
        self.store.load(Ordering::Relaxed)
    }

    /// Whether the servers of the sessions answer.
    pub fn sessions(&self) -> bool {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Whether the channel layer answers.
    pub fn layer(&self) -> bool {
        self.layer.load(Ordering::Relaxed)
    }

    /// Asks all of them until the task is dropped.
    pub async fn watch(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        sessions: Arc<dyn UserSessions>,
        layer: Option<Arc<dyn ChannelLayer>>,
    ) {
        let store = ask(&self.store, move || {
            let store = Arc::clone(&store);
            Box::pin(async move { store.ping().await.is_ok() })
        });
        let sessions = ask(&self.sessions, move || {
            let sessions = Arc::clone(&sessions);
            Box::pin(async move { sessions.ping().await.is_ok() })
        });
        let layer = async {
            if let Some(layer) = layer {
                ask(&self.layer, move || {
                    let layer = Arc::clone(&layer);
                    Box::pin(async move { layer.ping().await.is_ok() })
                })
                .await;
            }
        };
        tokio::join!(store, sessions, layer);
    }
}

/// Each by itself: one that is slow to fail must not make the others look as they were.
async fn ask(answers: &AtomicBool, ping: impl Fn() -> BoxFuture<'static, bool>) {
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let answered = timeout(limits::CHECK_PATIENCE, ping()).await;
        answers.store(answered.unwrap_or(false), Ordering::Relaxed);
    }
}
