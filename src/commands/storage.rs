//! What commands need of storage, whatever the configuration keeps it in.

use crate::model::{SystemTime, Timestamp, WallClock as _};

/// The present moment.
#[must_use]
pub fn now() -> Timestamp {
    SystemTime.now()
}
