//! The throttle seam: how often somebody may try something, counted over all nodes.
//!
//! Two shapes. A *rate* lets so many pass at once and then one each interval (a leaky bucket). A *growing wait* lets a
//! few pass and then makes each further try wait twice as long as the one before. What each kind allows stands in
//! `limits`, and [`Kind::policy`] says it.
//!
//! `check` takes a try at once, before its outcome is known, so that many at the same time can't slip through
//! together. Where only failures count, the caller gives the try back when it turns out well: [`Throttle::reset`] for
//! the account, [`Throttle::take_back`] for the address; and `take_back` too for a try that was never judged, because
//! the server was busy.
//!
//! Clauses, each held by a test of the conformance suite under the same name:
//! - *burst*: as many as the kind allows at once pass, and no more.
//! - *retry-after*: what was refused passes once the time it was told has passed.
//! - *steady*: after the burst no more pass than the rate allows.
//! - *growing*: each further wait of a growing kind is twice as long as the one before, up to the longest.
//! - *refused-free*: a refused try does not count: who asks too early does not wait longer for it.
//! - *apart*: neither another key nor another kind makes a difference.
//! - *taken-back*: `take_back` gives one try back.
//! - *reset*: `reset` makes a key as good as new.
//!
//! Sends are too many for a shared map: each connection owns a [`SendBucket`].

pub mod beside;
#[cfg(test)]
pub mod conformance;
pub mod local;
pub mod redis;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::limits;

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The counts are out of reach. Let handshakes pass and refuse log-ins: one costs little, the other is guarded.
    #[error("the throttles can't be reached: {0}")]
    Unavailable(String),
}

/// A throttle's result.
pub type Result<T> = std::result::Result<T, Error>;

/// What is throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Failed log-ins to one account; the key is the name's lower-case form, whether or not it exists.
    LoginAccount,
    /// Failed log-ins from one address; the key is [`address_key`].
    LoginAddress,
    /// Right log-ins to one account; the key is the name's lower-case form.
    LoginSuccess,
    /// Registrations from one address; the key is [`address_key`].
    Registration,
    /// WebSocket handshakes from one address; the key is [`address_key`].
    HandshakeAddress,
    /// WebSocket handshakes of one user; the key is the user's id.
    HandshakeUser,
    /// What a user makes every node act on; the key is the user's id.
    Revocation,
    /// Rooms that a user makes; the key is the user's id.
    RoomCreation,
    /// Memberships that a user begins; the key is the user's id.
    Membership,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LoginAccount,
        Self::LoginAddress,
        Self::LoginSuccess,
        Self::Registration,
        Self::HandshakeAddress,
        Self::HandshakeUser,
        Self::Revocation,
        Self::RoomCreation,
        Self::Membership,
    ];

    /// What it allows.
    #[must_use]
    pub const fn policy(self) -> Policy {
        match self {
            Self::LoginAccount => Policy::Growing(limits::LOGIN_ACCOUNT),
            Self::LoginAddress => Policy::Rate(limits::LOGIN_ADDRESS),
            Self::LoginSuccess => Policy::Rate(limits::LOGIN_SUCCESS),
            Self::Registration => Policy::Rate(limits::REGISTRATION),
            Self::HandshakeAddress => Policy::Rate(limits::HANDSHAKE_ADDRESS),
            Self::HandshakeUser => Policy::Rate(limits::HANDSHAKE_USER),
            Self::Revocation => Policy::Rate(limits::REVOCATION),
            Self::RoomCreation => Policy::Rate(limits::ROOM_CREATION),
            Self::Membership => Policy::Rate(limits::MEMBERSHIP),
        }
    }
}

/// How often something may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A leaky bucket.
    Rate(limits::Rate),
    /// A few tries, then waits that double.
    Growing(limits::Growing),
}

impl Policy {
    /// How many pass at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        match self {
            Self::Rate(rate) => rate.burst,
            Self::Growing(growing) => growing.free,
        }
    }
}

/// The answer to a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Not before this much time has passed.
    RetryAfter(Duration),
}

impl Verdict {
    /// The whole seconds for a `Retry-After` header, rounded up; `None` if it is allowed.
    #[must_use]
    pub fn retry_after_seconds(self) -> Option<u64> {
        match self {
            Self::Allowed => None,
            Self::RetryAfter(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
        }
    }
}

/// Counts tries.
#[async_trait]
pub trait Throttle: Send + Sync {
    /// Takes a try if there is one.
    async fn check(&self, kind: Kind, key: &str) -> Result<Verdict>;

    /// Gives back a try that `check` allowed: it went well, or it was never judged.
    async fn take_back(&self, kind: Kind, key: &str) -> Result<()>;

    /// Forgets what was counted for a key.
    async fn reset(&self, kind: Kind, key: &str) -> Result<()>;
}

/// Lets everything pass (`--limits off`, for load tests).
#[derive(Debug, Clone, Copy, Default)]
pub struct Off;

#[async_trait]
impl Throttle for Off {
    async fn check(&self, _kind: Kind, _key: &str) -> Result<Verdict> {
        Ok(Verdict::Allowed)
    }

    async fn take_back(&self, _kind: Kind, _key: &str) -> Result<()> {
        Ok(())
    }

    async fn reset(&self, _kind: Kind, _key: &str) -> Result<()> {
        Ok(())
    }
}

/// The key of an address: all of an IPv4 address, and of an IPv6 address the first 64 bits, since whoever has one
/// address there has all the others of that network too.
#[must_use]
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// Keys come from outside: one that is longer than any that means something is kept as a hash, so that what is kept is
/// bounded in bytes too.
fn bounded_key(key: &str) -> Cow<'_, str> {
    if key.len() <= limits::THROTTLE_KEY_BYTES_MAX {
        return key.into();
    }
    let hex = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(hex)
}

/// The time until a bucket with this much left to leak takes another; `None` if it does now.
fn wait_at(rate: limits::Rate, level: Duration) -> Option<Duration> {
    let over = (level + rate.every).saturating_sub(rate.every * rate.burst);
    (!over.is_zero()).then_some(over)
}

/// How fast one connection may send: [`limits::SEND`]. Owned by the connection, 16 bytes, no lock, no map.
#[derive(Debug, Clone, Copy)]
pub struct SendBucket {
    /// When it will have leaked dry; `None` if it takes everything.
    empty_at: Option<Instant>,
}

impl SendBucket {
    /// A bucket that is empty now, or, without limits, one that takes everything.
    #[must_use]
    pub fn new(limited: bool, now: Instant) -> Self {
        Self {
            empty_at: limited.then_some(now),
        }
    }

    /// Takes one send if it may pass now.
    pub fn take(&mut self, now: Instant) -> Verdict {
        let Some(empty_at) = &mut self.empty_at else {
            return Verdict::Allowed;
        };
        let level = empty_at.saturating_duration_since(now);
        match wait_at(limits::SEND, level) {
            Some(wait) => Verdict::RetryAfter(wait),
            None => {
                *empty_at = now + level + limits::SEND.every;
                Verdict::Allowed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_stands_for_those_who_share_it() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("192.0.2.7"), "192.0.2.7");
        assert_eq!(key("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), key("2001:db8:1:2::9"));
        assert_ne!(key("2001:db8:1:2::9"), key("2001:db8:1:3::9"));
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(Verdict::Allowed.retry_after_seconds(), None);
        assert_eq!(
            Verdict::RetryAfter(Duration::from_millis(1)).retry_after_seconds(),
            Some(1)
        );
        assert_eq!(
            Verdict::RetryAfter(Duration::from_secs(7)).retry_after_seconds(),
            Some(7)
        );
    }

    #[test]
    fn a_connection_sends_a_burst_then_at_the_rate() {
        let mut now = Instant::now();
        let mut bucket = SendBucket::new(true, now);
        for _ in 0..limits::SEND.burst {
            assert_eq!(bucket.take(now), Verdict::Allowed);
        }
        for _ in 0..3 {
            assert_eq!(bucket.take(now), Verdict::RetryAfter(limits::SEND.every));
            now += limits::SEND.every;
            assert_eq!(bucket.take(now), Verdict::Allowed);
        }
        assert_eq!(size_of::<SendBucket>(), 16);
    }

    #[tokio::test]
    async fn without_limits_everything_passes() {
        let now = Instant::now();
        let mut bucket = SendBucket::new(false, now);
        for _ in 0..10_000 {
            assert_eq!(bucket.take(now), Verdict::Allowed);
            assert_eq!(Off.check(Kind::LoginAccount, "ann").await, Ok(Verdict::Allowed));
        }
    }

    proptest! {
        /// The naive model pours every send of the past into a bucket again and lets it leak.
        #[test]
        fn the_send_bucket_is_a_leaky_bucket(pauses in proptest::collection::vec(0..120u32, 1..300)) {
            let start = Instant::now();
            let mut bucket = SendBucket::new(true, start);
            let (mut now, mut taken) = (start, Vec::new());
            for pause in pauses {
                now += Duration::from_millis(pause.into());
                let (mut level, mut last) = (Duration::ZERO, start);
                for at in &taken {
                    level = level.saturating_sub(*at - last) + limits::SEND.every;
                    last = *at;
                }
                let level = level.saturating_sub(now - last);
                let fits = level + limits::SEND.every <= limits::SEND.every * limits::SEND.burst;
                prop_assert_eq!(bucket.take(now) == Verdict::Allowed, fits);
                if fits {
                    taken.push(now);
                }
            }
        }
    }
}
