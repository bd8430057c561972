//! The control log in Redis: a stream, a note of which log it is, and the nodes' leases, all changed by scripts.
//!
//! Entries are numbered without holes, so a missing one is seen by its number. The note holds the incarnation, the
//! replication id of the server that began it and the number of the newest entry. Redis replicates asynchronously and
//! may come back without its newest writes: whenever the note is missing or the replication id is another one (emptied,
//! restarted, failed over), the script that sees it first begins a new incarnation, and every node checks everything.
//!
//! Where a primary that is cut off goes on serving nodes that are cut off with it, nothing here can tell: let it refuse
//! writes without replicas (`min-replicas-to-write 1`).

mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;

use self::script::{Leases, Look, Scripts};
use super::lease::DeliveryLease;
use super::poll::Poll;
use super::{ControlLog, Entry, Error, Position, Reading, Result};
use crate::limits;
use crate::model::BootId;
use crate::redis_link::{self, RedisLink};

/// How long to wait after Redis could not be asked whether anything is new.
const PAUSE: Duration = Duration::from_millis(200);
/// However many revocations wait, Redis is asked for the leases at most once in this time.
const PACE: Duration = Duration::from_millis(20);

/// What a look has seen.
type Looked = Arc<Result<(Look, Leases)>>;

/// One node's end of the log.
pub struct RedisControlLog {
    link: RedisLink,
    /// For waiting: a command that blocks would hold up all others.
    waiting: RedisLink,
    scripts: Scripts,
    /// One look for all revocations that wait on this node.
    looks: Poll<Looked>,
    capacity: usize,
    /// Knows who was heard by other ways.
    lease: DeliveryLease,
    /// This node, and how far it has acted.
    own: Mutex<Option<(BootId, Position)>>,
    left: AtomicBool,
}

impl std::fmt::Debug for RedisControlLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisControlLog")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl From<redis_link::Error> for Error {
    fn from(error: redis_link::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl RedisControlLog {
    /// A node's end. It keeps [`limits::CONTROL_LOG_MAX`] entries; `lease` is the node's own.
    #[must_use]
    pub fn new(link: RedisLink, lease: DeliveryLease) -> Self {
        Self::with_capacity(link, lease, limits::CONTROL_LOG_MAX)
    }

    /// A node's end of a log that keeps this many entries.
    #[must_use]
    pub fn with_capacity(link: RedisLink, lease: DeliveryLease, capacity: usize) -> Self {
        Self {
            waiting: link.dedicated(),
            scripts: Scripts::new(&link),
            looks: Poll::paced(PACE),
            link,
            capacity,
            lease,
            own: Mutex::new(None),
            left: AtomicBool::new(false),
        }
    }

    fn is_there(&self) -> Result<()> {
        if self.left.load(Ordering::Acquire) {
            return Err(Error::Unavailable("this node is stopping".into()));
        }
        Ok(())
    }

    /// What a look sees that begins after this call.
    async fn look(&self) -> Looked {
        let look = async || Arc::new(self.scripts.look(&self.link).await);
        self.looks.next(look).await
    }

    /// Whether everybody who is known has acted on a position.
    fn confirmed(&self, position: Position, look: &Look, leases: &Leases) -> bool {
        let acted = |at: &Position| look.has_acted(*at, position);
        let own = self.own.lock().is_some_and(|(_, at)| acted(&at));
        // Who was heard, but has neither a lease nor a position, has never read and so writes to nobody.
        let heard = self.lease.heard();
        let heard = heard
            .iter()
            .filter(|(boot, _)| !leases.iter().any(|(holder, _)| holder == boot));
        own && leases.iter().all(|(_, at)| acted(at)) && heard.filter_map(|(_, at)| *at).all(|at| acted(&at))
    }
}

#[async_trait]
impl ControlLog for RedisControlLog {
    async fn attach(&self, node: BootId) -> Result<Position> {
        self.left.store(false, Ordering::Release);
        let position = self.scripts.attach(&self.link, node).await?;
        *self.own.lock() = Some((node, position));
        Ok(position)
    }

    async fn detach(&self, node: BootId) {
        self.left.store(true, Ordering::Release);
        if let Err(error) = self.scripts.detach(&self.link, node).await {
            tracing::warn!(%error, "the lease in the control log was not given back; it runs out by itself");
        }
    }

    async fn append(&self, entry: Entry) -> Result<Position> {
        self.is_there()?;
        self.scripts.append(&self.link, &entry, self.capacity).await
    }

    async fn end(&self) -> Result<Position> {
        self.is_there()?;
        match &*self.look().await {
            Ok((look, _)) => Ok(look.end),
            Err(error) => Err(error.clone()),
        }
    }

    async fn read(&self, node: BootId, acted: Position) -> Result<Reading> {
        // It would take a lease again.
        self.is_there()?;
        *self.own.lock() = Some((node, acted));
        self.scripts.read(&self.link, node, acted).await
    }

    async fn changed(&self, after: Position) {
        if let Err(error) = self.scripts.changed(&self.waiting, after).await {
            tracing::debug!(%error, "Redis can't be asked whether the control log has changed");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut own_acted: Option<Instant> = None;
        loop {
            self.is_there()?;
            let looked = self.look().await;
            let mut trouble = String::from("this node has not acted on the revocation in time");
            let mut settled = false;
            match &*looked {
                Ok((look, leases)) => {
                    // A log that lost its leases a moment ago can't name nodes that may still write.
                    // Nor does a node know of all those who do not know of it yet.
                    settled = look.age >= limits::DELIVERY_LEASE && self.lease.introduced();
                    if settled && self.confirmed(position, look, leases) {
                        return Ok(());
                    }
                    let own = self.own.lock().map(|(_, at)| at);
                    if own.is_some_and(|at| look.has_acted(at, position)) {
                        own_acted.get_or_insert_with(Instant::now);
                    }
                }
                Err(error) => trouble = error.to_string(),
            }
            if begun.elapsed() >= patience {
                // Until then another node may have relied on a frame of ours from before we acted on it.
                let safe = own_acted.is_some_and(|at| at.elapsed() >= limits::DELIVERY_LEASE);
                let unconfirmed = settled && safe;
                return Err(if unconfirmed {
                    Error::Unconfirmed
                } else {
                    Error::Unavailable(trouble)
                });
            }
        }
    }
}
