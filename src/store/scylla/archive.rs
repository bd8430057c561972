//! The store as an archive, and back: `natter export` and `natter import`, also from and to the embedded store.
//!
//! An export reads room by room and is no snapshot: what is said meanwhile may be in it or not, so a move stops the
//! nodes first. An import can't be undone as a whole either: one that fails leaves a keyspace to be dropped.

mod export;
mod import;

use crate::store::archive::Error;

impl From<crate::store::Error> for Error {
    fn from(error: crate::store::Error) -> Self {
        Self::Store(error.to_string())
    }
}
