//! How people are silenced in the middle of everything: logged out or kicked, by a request to any node. What their
//! connection hears after the answer is written down like anything else.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use natter::client::Target;
use rand::rngs::StdRng;

use crate::common::{PASSWORD, User};
use crate::ground::Ground;
use crate::judge::history::{Connection, Event};

/// How long an answer may take; a revocation itself takes up to 5 s.
const ANSWER: Duration = Duration::from_secs(8);
/// How often it is tried: a node that can't revoke answers 503.
const ATTEMPTS: usize = 4;

/// A way to be silenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// By oneself, everywhere.
    LogOut,
    /// By the owner, in the room.
    Kick,
}

impl Parting {
    /// Asks for it until it is acknowledged, which is written down, or hopeless. Whether it was acknowledged.
    pub async fn ask(self, ground: Arc<Ground>, user: User, connection: Connection, mut random: StdRng) -> bool {
        let (first, _) = ground.any_node(&mut random);
        for attempt in 0..ATTEMPTS {
            let address = {
                let nodes = ground.nodes.lock();
                nodes[(first + attempt) % nodes.len()]
            };
            let (path, cookie) = match self {
                Self::LogOut => ("/api/session".to_owned(), user.cookie.clone()),
                Self::Kick => {
                    let path = format!("/api/rooms/{}/members/{}", ground.room, user.username);
                    (path, ground.owner.lock().cookie.clone())
                }
            };
            let target = Target::at(address);
            let asked = target.request(Method::DELETE, &path, Some(&cookie), None);
            let answer = tokio::time::timeout(ANSWER, asked).await;
            let status = answer.ok().and_then(Result::ok).map(|answer| answer.status);
            if !status.is_some_and(|status| status.is_success()) {
                println!(
                    "{self:?} of {} by node {address}, attempt {attempt}: {status:?}",
                    user.username
                );
            }
            match status {
                Some(status) if status.is_success() => {
                    let room = (self == Self::Kick).then(|| ground.room.clone());
                    let connections = vec![connection];
                    ground.recorder.record(Event::Revoked { connections, room });
                    return true;
                }
                // An attempt without an answer may have ended it, or a fault.
                Some(StatusCode::UNAUTHORIZED) if self == Self::LogOut => return false,
                Some(StatusCode::UNAUTHORIZED) => {
                    let name = ground.owner.lock().username.clone();
                    let again = async { target.log_in(&name, PASSWORD).await };
                    if let Ok(Ok(owner)) = tokio::time::timeout(ANSWER, again).await {
                        *ground.owner.lock() = owner;
                    }
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        false
    }
}
