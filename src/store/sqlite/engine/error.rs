//! What the engine reports, and how SQLite's codes map to it.

use rusqlite::ErrorCode;
use rusqlite::ffi;

/// What can go wrong in the engine, whatever the tables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// It can't be done now (disk full, locked, closed); nothing was stored.
    #[error("{0}")]
    Refused(String),
    /// The write may or may not be on the disk.
    #[error("{0}")]
    UnknownOutcome(String),
    /// The file or a row in it can't be read; an operator has to look at it.
    #[error("{0}")]
    Damaged(String),
}

impl EngineError {
    pub(super) fn closed() -> Self {
        Self::Refused("the database is closed".into())
    }

    /// What a failed COMMIT means, once SQLite has said that the transaction is rolled back.
    ///
    /// A failed sync is the exception among them: the commit's frames are written, only the disk did not confirm them,
    /// and a restart could find them complete.
    pub(super) fn of_rolled_back_commit(error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|e| e.extended_code);
        if matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)) {
            return Self::UnknownOutcome(format!("the disk did not confirm the commit: {error}"));
        }
        Self::Refused(format!("the commit was rolled back: {error}"))
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch) => {
                Self::Damaged(error.to_string())
            }
            Some(_) => Self::Refused(error.to_string()),
            // Errors without an SQLite code come from converting a row: it holds what it should not.
            None => Self::Damaged(error.to_string()),
        }
    }
}
