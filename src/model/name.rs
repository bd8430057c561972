//! Names of users and rooms, and the text rules that both sides of the protocol share.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 32;

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("a name needs at least one character")]
    Empty,
    /// More than [`NAME_CHARS_MAX`] characters.
    #[error("a name holds at most 32 characters")]
    TooLong,
    /// Something besides ASCII letters, digits, `_` and `-`.
    #[error("a name may hold only the letters a to z, digits, \"_\" and \"-\"")]
    Character,
    /// 32 hex digits, which would read as an id.
    #[error("a name of 32 hex digits would read as an id: choose another")]
    LooksLikeId,
}

/// A user's or room's name: 1 to 32 of ASCII letters, digits, `_`, `-`. It keeps the case it was given in; equality,
/// order and hash ignore case, since names are unique without it.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks a text against the rules for names.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.chars().nth(NAME_CHARS_MAX).is_some() {
            return Err(InvalidName::TooLong);
        }
        if !text.bytes().all(is_name_byte) {
            return Err(InvalidName::Character);
        }
        if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidName::LooksLikeId);
        }
        Ok(Self(text.into()))
    }

    /// The name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The lower-case form under which it is unique.
    #[must_use]
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

/// Whether a byte may stand in a name or a nonce.
#[must_use]
pub const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0
            .bytes()
            .map(|b| b.to_ascii_lowercase())
            .cmp(other.0.bytes().map(|b| b.to_ascii_lowercase()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        assert!(Name::parse("a").is_ok());
        assert!(Name::parse("Ann_B-9").is_ok());
        assert!(Name::parse(&"x".repeat(32)).is_ok());
        assert_eq!(Name::parse(""), Err(InvalidName::Empty));
        assert_eq!(Name::parse(&"x".repeat(33)), Err(InvalidName::TooLong));
        assert_eq!(Name::parse("a b"), Err(InvalidName::Character));
        assert_eq!(Name::parse("zoë"), Err(InvalidName::Character));
        assert_eq!(
            Name::parse("0123456789abcdef0123456789ABCDEF"),
            Err(InvalidName::LooksLikeId)
        );
    }

    #[test]
    fn names_are_equal_without_case_but_keep_it() {
        let (upper, lower) = (Name::parse("Ann").unwrap(), Name::parse("ann").unwrap());
        assert_eq!(upper, lower);
        assert_eq!(upper.key(), lower.key());
        assert_eq!(upper.as_str(), "Ann");
        assert!(std::collections::HashSet::from([upper]).contains(&lower));
    }
}
