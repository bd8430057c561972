//! Users.

use super::id::UserId;
use super::name::Name;
use super::timestamp::Timestamp;

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Its name, which never changes.
    pub name: Name,
    /// May use the admin area.
    pub superuser: bool,
    /// Can't log in; its sessions have ended.
    pub disabled: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last had a connection; `None` if it never did.
    pub last_seen: Option<Timestamp>,
}

/// The least and the most characters in a password.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 8..=256;
