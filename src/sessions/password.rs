//! Passwords: hashed with argon2id, off the async threads, so many at once and no more.
//!
//! A hash costs 19 MiB and tens of milliseconds on purpose, so a flood of log-ins must neither take the memory nor
//! stall the runtime: hashes run on blocking threads behind a semaphore, some wait, and the rest is refused at once.
//! A log-in to an unknown account does the same work as one with a wrong password, so that the time of the answer does
//! not tell which names exist. Nothing here keeps, logs or compares a password in plain text.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::limits;

/// Memory of one hash in KiB. This and the two below are the second of the equivalent settings in OWASP's Password
/// Storage Cheat Sheet, section argon2id (m=19456, t=2, p=1).
pub const MEMORY_KIB: u32 = 19_456;
/// Passes over the memory.
pub const PASSES: u32 = 2;
/// Lanes.
pub const LANES: u32 = 1;

/// Stands in the place of a hash and matches no password: accounts made in bulk have it until they set one.
pub const NO_PASSWORD: &str = "!";

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many log-ins wait for their hash already: answer 503, the caller tries again in a few seconds.
    #[error("too many passwords are being checked at the moment: try again in a few seconds")]
    Busy,
    /// The stored hash is neither a PHC string nor [`NO_PASSWORD`]; an operator has to look at it.
    #[error("a stored password hash can't be read: {0}")]
    Damaged(String),
    /// The hash could not be computed (out of memory, no randomness).
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords. Cloning it gives another handle to the same bounds.
#[derive(Clone)]
pub struct Passwords {
    shared: Arc<Shared>,
}

struct Shared {
    argon2: Argon2<'static>,
    /// What unknown accounts are verified against: a hash of the same cost.
    dummy: PasswordHash,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
    computed: AtomicU64,
}

impl Passwords {
    /// With the stated cost and the bounds [`limits::HASHES_AT_ONCE`] and [`limits::HASHES_WAITING_MAX`]. Computes one
    /// hash, so call it once.
    ///
    /// # Errors
    /// [`Error::Failed`] if not even one hash can be computed.
    pub fn new() -> Result<Self, Error> {
        Self::with_cost(MEMORY_KIB, PASSES)
    }

    /// With another cost, for tests, which would else spend their time hashing. Hashes made at any cost verify.
    ///
    /// # Errors
    /// [`Error::Failed`] if argon2 refuses the cost (it wants at least 8 KiB and one pass).
    pub fn with_cost(memory_kib: u32, passes: u32) -> Result<Self, Error> {
        Self::bounded(memory_kib, passes, limits::HASHES_AT_ONCE, limits::HASHES_WAITING_MAX)
    }

    fn bounded(memory_kib: u32, passes: u32, at_once: usize, waiting: usize) -> Result<Self, Error> {
        let failed = |error: argon2::Error| Error::Failed(error.to_string());
        let params = Params::new(memory_kib, passes, LANES, None).map_err(failed)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let dummy = argon2
            .hash_password(&rand::random::<[u8; 32]>())
            .map_err(|error| Error::Failed(error.to_string()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                argon2,
                dummy,
                admitted: Arc::new(Semaphore::new(at_once + waiting)),
                running: Arc::new(Semaphore::new(at_once)),
                computed: AtomicU64::new(0),
            }),
        })
    }

    /// Hashes a password with a fresh salt; answers a PHC string.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Failed`].
    pub async fn hash(&self, password: &str) -> Result<String, Error> {
        let password = password.to_owned();
        self.on_a_blocking_thread(move |shared| {
            let hash = shared.argon2.hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|error| Error::Failed(error.to_string()))
        })
        .await
    }

    /// Whether a password belongs to a stored hash. `None` (no such account) and [`NO_PASSWORD`] do the same work as
    /// any other and answer false.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Damaged`] or [`Error::Failed`].
    pub async fn verify_or_dummy(&self, hash: Option<&str>, password: &str) -> Result<bool, Error> {
        let password = password.to_owned();
        let stored = match hash {
            None | Some(NO_PASSWORD) => None,
            Some(text) => Some(PasswordHash::new(text).map_err(|error| Error::Damaged(error.to_string()))?),
        };
        self.on_a_blocking_thread(move |shared| {
            let against = stored.as_ref().unwrap_or(&shared.dummy);
            match shared.argon2.verify_password(password.as_bytes(), against) {
                // Nobody knows the dummy's password, but what follows must not depend on that.
                Ok(()) => Ok(stored.is_some()),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(Error::Failed(error.to_string())),
            }
        })
        .await
    }

    /// Hashes computed since the start, for metrics.
    #[must_use]
    pub fn computed(&self) -> u64 {
        self.shared.computed.load(Ordering::Relaxed)
    }

    async fn on_a_blocking_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = Arc::clone(&self.shared.admitted);
        let admission = admitted.try_acquire_owned().map_err(|_| Error::Busy)?;
        let running = Arc::clone(&self.shared.running);
        let turn = running.acquire_owned().await.map_err(|_| Error::Busy)?;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let result = work(&shared);
            shared.computed.fetch_add(1, Ordering::Relaxed);
            // The permits came along to this thread: a caller who hangs up makes no room while it still works.
            drop((turn, admission));
            result
        };
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Failed(error.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Passwords {
        Passwords::with_cost(8, 1).unwrap()
    }

    #[tokio::test]
    async fn a_hash_verifies_its_own_password_only() {
        let passwords = cheap();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_eq!(passwords.verify_or_dummy(Some(&hash), "correct horse").await, Ok(true));
        assert_eq!(passwords.verify_or_dummy(Some(&hash), "correct horsf").await, Ok(false));
        assert_ne!(passwords.hash("correct horse").await.unwrap(), hash);
    }

    #[tokio::test]
    async fn the_stated_cost_is_what_is_used() {
        let hash = Passwords::new().unwrap().hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        // A setting that was changed since does not lock anybody out.
        assert_eq!(cheap().verify_or_dummy(Some(&hash), "correct horse").await, Ok(true));
    }

    #[tokio::test]
    async fn an_unknown_account_costs_the_same_work_as_a_wrong_password() {
        let passwords = cheap();
        let hash = passwords.hash("correct horse").await.unwrap();
        for stored in [Some(hash.as_str()), None, Some(NO_PASSWORD)] {
            let before = passwords.computed();
            assert_eq!(passwords.verify_or_dummy(stored, "wrong").await, Ok(false));
            assert_eq!(passwords.computed(), before + 1);
        }
        assert_eq!(
            passwords.verify_or_dummy(Some(NO_PASSWORD), NO_PASSWORD).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_error() {
        let answer = cheap().verify_or_dummy(Some("plain text"), "plain text").await;
        assert!(matches!(answer, Err(Error::Damaged(_))));
    }

    #[tokio::test]
    async fn beyond_the_waiting_room_it_says_busy_and_recovers() {
        let passwords = Passwords::bounded(8, 1, 1, 1).unwrap();
        let held = passwords.shared.running.acquire().await.unwrap();
        let waiting = [passwords.clone(), passwords.clone()]
            .map(|passwords| tokio::spawn(async move { passwords.hash("correct horse").await }));
        while passwords.shared.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.hash("correct horse").await, Err(Error::Busy));
        drop(held);
        for task in waiting {
            assert!(task.await.unwrap().is_ok());
        }
        assert_eq!(passwords.shared.admitted.available_permits(), 2);
        assert_eq!(passwords.shared.running.available_permits(), 1);
    }
}
