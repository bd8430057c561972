//! The control log and the leases, as the servers behind them keep them: in one place that nodes may not reach.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use natter::control_log::lease::DeliveryLease;
use natter::control_log::{ControlLog, Entry, Error, Position, Reading, Result};
use natter::limits;
use natter::model::{BootId, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ground::{EPOCH, Ground, pass};

/// How long it takes to see that the log is out of reach.
const GIVES_UP: u64 = 300;

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).expect("a short one")
}

/// What is kept.
#[derive(Default)]
pub struct LogState {
    incarnation: u64,
    since: u64,
    entries: Vec<Arc<Entry>>,
    leases: BTreeMap<BootId, (Position, u64)>,
}

impl LogState {
    const fn tail(&self) -> Position {
        Position {
            incarnation: self.incarnation + 1,
            offset: self.entries.len() as u64,
        }
    }

    /// Loses everything.
    pub fn empty(&mut self, now: u64) {
        *self = Self {
            incarnation: self.incarnation + 1,
            since: now,
            ..Self::default()
        };
    }

    fn holders(&mut self, now: u64) -> Vec<(BootId, Position)> {
        self.leases.retain(|_, (_, ends)| *ends > now);
        self.leases.iter().map(|(boot, (acted, _))| (*boot, *acted)).collect()
    }

    fn renew(&mut self, node: BootId, acted: Position, now: u64) {
        self.leases.insert(node, (acted, now + millis(limits::LEASE_LIFE)));
    }

    /// Whether a node that has acted on `acted` needs not be waited for.
    fn has_acted(&self, acted: Position, position: Position) -> bool {
        let current = self.tail().incarnation;
        acted.reaches(position) || (acted.incarnation == current && current != position.incarnation)
    }
}

/// One node's end.
pub struct SimLog {
    ground: Arc<Ground>,
    node: usize,
    lease: DeliveryLease,
    own: Mutex<Option<Position>>,
}

impl SimLog {
    /// A node's.
    pub fn new(ground: Arc<Ground>, node: usize, lease: DeliveryLease) -> Self {
        Self {
            ground,
            node,
            lease,
            own: Mutex::default(),
        }
    }

    /// The way there, and half of the way back.
    async fn way(&self) -> Result<()> {
        pass(self.ground.dice(1..=6)).await;
        if self.ground.weather.lock().log_away.contains(&self.node) {
            pass(GIVES_UP).await;
            return Err(Error::Unavailable("cut off".into()));
        }
        Ok(())
    }

    async fn asked<T>(&self, what: impl FnOnce(&mut LogState, u64) -> T) -> Result<T> {
        self.way().await?;
        let answer = what(&mut self.ground.log.lock(), self.ground.now());
        self.way().await?;
        Ok(answer)
    }

    /// Whether everybody has acted on a position, and whether this node has; the log must be in reach.
    async fn look(&self, position: Position) -> Result<(bool, bool, bool)> {
        let own = *self.own.lock();
        let heard = self.lease.heard();
        let introduced = self.lease.introduced() || !self.ground.switches.lease;
        self.asked(|log, now| {
            let leases = log.holders(now);
            let settled = now.saturating_sub(log.since) >= millis(limits::DELIVERY_LEASE) && introduced;
            let own = own.is_some_and(|at| log.has_acted(at, position));
            let heard = heard
                .iter()
                .filter(|(boot, _)| !leases.iter().any(|(holder, _)| holder == boot));
            let all = own
                && leases.iter().all(|(_, at)| log.has_acted(*at, position))
                && heard.filter_map(|(_, at)| *at).all(|at| log.has_acted(at, position));
            (settled, own, all)
        })
        .await
    }
}

#[async_trait]
impl ControlLog for SimLog {
    async fn attach(&self, node: BootId) -> Result<Position> {
        let position = self
            .asked(|log, now| {
                let tail = log.tail();
                log.renew(node, tail, now);
                tail
            })
            .await?;
        *self.own.lock() = Some(position);
        Ok(position)
    }

    async fn detach(&self, node: BootId) {
        let _ = self.asked(|log, _| log.leases.remove(&node)).await;
    }

    async fn append(&self, entry: Entry) -> Result<Position> {
        self.asked(|log, _| {
            log.entries.push(Arc::new(entry));
            log.tail()
        })
        .await
    }

    async fn end(&self) -> Result<Position> {
        self.asked(|log, _| log.tail()).await
    }

    async fn read(&self, node: BootId, acted: Position) -> Result<Reading> {
        *self.own.lock() = Some(acted);
        let silent = !self.ground.switches.log;
        self.asked(|log, now| {
            log.renew(node, acted, now);
            let tail = log.tail();
            if !tail.reaches(acted) {
                return Err(Error::Behind { resume_at: tail });
            }
            let after = usize::try_from(acted.offset).expect("a short log");
            let entries = log.entries[after..].to_vec();
            Ok(Reading {
                entries: if silent { Vec::new() } else { entries },
                position: tail,
                holders: log.holders(now),
                time: Some(Timestamp::from_millis(EPOCH + now)),
            })
        })
        .await?
    }

    async fn changed(&self, after: Position) {
        let begun = Instant::now();
        while begun.elapsed() < limits::LEASE_RENEWAL && self.ground.log.lock().tail() == after {
            pass(50).await;
        }
    }

    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut own_acted: Option<Instant> = None;
        loop {
            let mut settled = false;
            match self.look(position).await {
                Ok((is_settled, own, all)) => {
                    settled = is_settled;
                    if settled && all {
                        return Ok(());
                    }
                    if own {
                        own_acted.get_or_insert_with(Instant::now);
                    }
                }
                Err(_) => pass(GIVES_UP).await,
            }
            if begun.elapsed() >= patience {
                let safe = own_acted.is_some_and(|at| at.elapsed() >= limits::DELIVERY_LEASE);
                return Err(if settled && safe {
                    Error::Unconfirmed
                } else {
                    Error::Unavailable("not in time".into())
                });
            }
            pass(20).await;
        }
    }
}
