//! What nodes tell each other beside rooms: who is here and how often somebody may try. On Redis it is everybody's, else
//! this process's own.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::Config;
use crate::limits;
use crate::model::BootId;
use crate::presence::Presence;
use crate::presence::local::LocalPresence;
use crate::presence::redis::{Gone, RedisPresence, Timing};
use crate::redis_link::RedisLink;
use crate::throttle::Throttle;
use crate::throttle::beside::Beside;
use crate::throttle::local::LocalThrottles;
use crate::throttle::redis::RedisThrottles;

/// Presence, of whichever kind.
pub struct OpenPresence {
    shared: Arc<dyn Presence>,
    redis: Option<Arc<RedisPresence>>,
    gone: Option<mpsc::Receiver<Gone>>,
}

impl OpenPresence {
    /// Presence of this node.
    pub async fn open(node: BootId, redis: Option<&RedisLink>) -> Self {
        let Some(link) = redis else {
            return Self {
                shared: LocalPresence::new().node(),
                redis: None,
                gone: None,
            };
        };
        let (tell, gone) = mpsc::channel(limits::PRESENCE_GONE_QUEUE_MAX);
        let presence = RedisPresence::start(link.clone(), node, Timing::default(), Some(tell)).await;
        let presence = Arc::new(presence);
        Self {
            shared: Arc::clone(&presence) as Arc<dyn Presence>,
            redis: Some(presence),
            gone: Some(gone),
        }
    }

    /// Presence as everybody else knows it.
    pub fn shared(&self) -> Arc<dyn Presence> {
        Arc::clone(&self.shared)
    }

    /// Who went with another node; `None` if there are none, or once it was taken.
    pub const fn take_gone(&mut self) -> Option<mpsc::Receiver<Gone>> {
        self.gone.take()
    }

    /// Takes this node's entries out at once.
    pub async fn close(&self) {
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
    }
}

/// How often somebody may try, as the configuration says.
pub fn throttles(config: &Config, redis: Option<&RedisLink>) -> Arc<dyn Throttle> {
    match redis {
        _ if !config.limits => Arc::new(crate::throttle::Off),
        Some(link) => Arc::new(Beside::new(RedisThrottles::new(link.clone()), LocalThrottles::new())),
        None => Arc::new(LocalThrottles::new()),
    }
}
