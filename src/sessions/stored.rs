//! What every session store writes down of a session, and what its own answers mean for tower-sessions.

use std::collections::BTreeMap;

use serde_json::Value;
use tower_sessions::session::Record;
use tower_sessions::session_store;

use super::{ADDRESS_KEY, AGENT_KEY, Error, NewSession, SessionHandle, USER_KEY};
use crate::limits;
use crate::model::{Timestamp, UserId};

pub(super) fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.millis()).unwrap_or(i64::MAX)
}

pub(super) fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// Fresh ids that `create` tries; with 128 random bits even the second is never needed, unless the randomness is
/// broken, and then it has to say so instead of trying for ever.
pub(super) const ID_TRIES: usize = 4;

/// What is said when they were all taken.
pub(super) fn no_free_id() -> session_store::Error {
    session_store::Error::Backend(format!(
        "{ID_TRIES} random session ids in a row were taken: the system's randomness is broken"
    ))
}

impl From<Error> for session_store::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) => Self::Backend(why),
            Error::Damaged(why) => Self::Decode(why),
        }
    }
}

/// One session, as it is written.
pub(super) struct Stored {
    pub(super) handle: SessionHandle,
    pub(super) user: Option<UserId>,
    pub(super) data: String,
    pub(super) agent: String,
    pub(super) address: String,
    pub(super) expires_at: i64,
}

impl Stored {
    pub(super) fn of(record: &Record) -> session_store::Result<Self> {
        let encode = |why: String| session_store::Error::Encode(why);
        let text = |key| record.data.get(key).and_then(Value::as_str);
        let user = match record.data.get(USER_KEY) {
            None => None,
            Some(value) => {
                let id = value.as_str().and_then(|id| UserId::parse(id).ok());
                Some(id.ok_or_else(|| encode(format!("the session's {USER_KEY:?} is not a user id: {value}")))?)
            }
        };
        let short = |key| -> String {
            let text = text(key).unwrap_or_default();
            text.chars().take(limits::SESSION_TEXT_CHARS_MAX).collect()
        };
        // In the order of keys, so that equal data reads the same and a save that changes nothing is noticed.
        let in_order: BTreeMap<_, _> = record.data.iter().collect();
        let expires_at = record.expiry_date.unix_timestamp_nanos() / 1_000_000;
        Ok(Self {
            handle: SessionHandle::of(record.id),
            user,
            data: serde_json::to_string(&in_order).map_err(|error| encode(error.to_string()))?,
            agent: short(AGENT_KEY),
            address: short(ADDRESS_KEY),
            expires_at: i64::try_from(expires_at).unwrap_or(i64::MAX),
        })
    }

    /// A session that holds nothing but its user.
    pub(super) fn bare(session: &NewSession) -> Self {
        let data = BTreeMap::from([(USER_KEY, session.user)]);
        Self {
            handle: SessionHandle::of(session.id),
            user: Some(session.user),
            data: serde_json::to_string(&data).unwrap_or_default(),
            agent: String::new(),
            address: String::new(),
            expires_at: millis(session.expires_at),
        }
    }
}
