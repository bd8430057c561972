//! What tests against a real server share: the server as a process of its own, and sockets that hand out every frame.
//!
//! Nothing here waits for a time: it waits for a state, and gives up after [`PATIENCE`].
#![allow(dead_code, reason = "each test binary uses its own part")]

mod server;
mod socket;

use std::time::Duration;

#[allow(unused_imports, reason = "some tests run their server in their own process")]
pub use server::{Server, User};
pub use socket::{Got, Open, Sock};

/// How long a state may take to come about before a test fails. Generous: other tests run at the same time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The password of every user of the tests.
pub const PASSWORD: &str = "correct horse";

/// Waits for something.
pub async fn within<T>(what: &str, waited: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, waited).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {PATIENCE:?} waiting for {what}"),
    }
}
