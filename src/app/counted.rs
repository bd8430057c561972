//! A control log that counts revocations and how long they take until every node has acted on them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::control_log::{ControlLog, Entry, Position, Reading, Result};
use crate::metrics::Metrics;
use crate::model::BootId;

/// A log with counts.
pub struct CountedLog {
    /// The log.
    pub log: Arc<dyn ControlLog>,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl ControlLog for CountedLog {
    async fn attach(&self, node: BootId) -> Result<Position> {
        self.log.attach(node).await
    }

    async fn detach(&self, node: BootId) {
        self.log.detach(node).await;
    }

    async fn append(&self, entry: Entry) -> Result<Position> {
        let position = self.log.append(entry).await?;
        self.metrics.revocations.inc();
        Ok(position)
    }

    async fn end(&self) -> Result<Position> {
        self.log.end().await
    }

    async fn read(&self, node: BootId, acted: Position) -> Result<Reading> {
        self.log.read(node, acted).await
    }

    async fn changed(&self, after: Position) {
        self.log.changed(after).await;
    }

    async fn wait_reported(&self, position: Position, patience: Duration) -> Result<()> {
        self.log.wait_reported(position, patience).await
    }

    fn waited(&self, time: Duration) {
        self.metrics.revocation_seconds.observe(time.as_secs_f64());
    }
}
