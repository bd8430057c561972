//! Everything behind plain requests: the API of docs/protocol.md section 8 and the pages.
//!
//! Handlers decode, ask the directory, and show what it answers: no rule of rooms stands here. Every refusal is a
//! problem document, made in `problem`. The session layer, the origin check and the headers go round all routes alike,
//! the upgrade routes of sockets included, which the composition root hands in.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, SessionManagerLayer, SessionStore};

use crate::config::{Config, Network, PublicUrl, Registration};
use crate::model::WallClock;
use crate::presence::Presence;
use crate::rooms::directory::Directory;
use crate::sessions::UserSessions;
use crate::sessions::password::Passwords;
use crate::store::Store;
use crate::throttle::Throttle;

mod accounts;
mod admin;
pub mod admission;
mod changes;
pub mod extract;
mod gate;
mod handshake;
mod info;
mod members;
mod messages;
mod openapi;
mod outer;
mod pages;
mod problem;
mod rooms;
mod sessions;
mod sockets;
pub mod stats;
#[cfg(test)]
mod tests;
mod users;
mod views;

pub use admission::Admission;
pub use changes::Changes;
pub use gate::{Caller, LoggedIn, Superuser, check_origin, logged_in};
pub use handshake::{Handshake, bad_address};
pub use openapi::document;
pub use problem::Problem;
pub use sockets::sockets;
pub use stats::{Gauges, Stats};

/// The name of the session's cookie.
pub const COOKIE: &str = "natter_session";

/// What the configuration says about requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the server is called.
    pub name: String,
    /// How people reach it from outside.
    pub public_url: Option<PublicUrl>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Who may register.
    pub registration: Registration,
    /// How long a session lasts without being used.
    pub session_life: Duration,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            name: config.name.clone(),
            public_url: config.public_url.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            registration: config.registration,
            session_life: config.session_life,
        }
    }
}

/// What requests are answered from.
pub struct Http {
    /// The rules.
    pub directory: Arc<Directory>,
    /// Durable rooms, accounts and messages, for what needs no rule.
    pub store: Arc<dyn Store>,
    /// Whose sessions are whose.
    pub sessions: Arc<dyn UserSessions>,
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// The time.
    pub clock: Arc<dyn WallClock>,
    /// Password hashes.
    pub passwords: Passwords,
    /// How often somebody may fail.
    pub throttles: Arc<dyn Throttle>,
    /// How many handshakes are served at once.
    pub admission: Admission,
    /// What is under way and changes something.
    pub changes: Changes,
    /// Live figures.
    pub stats: Arc<Stats>,
    /// What the configuration says.
    pub settings: Settings,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// All routes. `sockets` are the upgrade routes: they get the same session layer and headers.
pub fn router<S>(http: Arc<Http>, session_store: S, sockets: Router) -> Router
where
    S: SessionStore + Clone,
{
    let life = time::Duration::try_from(http.settings.session_life).unwrap_or(time::Duration::weeks(2));
    let secure = http.settings.public_url.as_ref().is_some_and(PublicUrl::is_https);
    let sessions = SessionManagerLayer::new(session_store)
        .with_name(COOKIE)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_secure(secure)
        .with_path("/")
        .with_expiry(Expiry::OnInactivity(life));
    let (api, document) = openapi::api().split_for_parts();
    let secure_pages = secure;
    api.merge(openapi::route(&document))
        .merge(pages::routes())
        .with_state(http.clone())
        .merge(sockets)
        .fallback(pages::file_or_nothing)
        .method_not_allowed_fallback(outer::no_such_method)
        .layer(
            // The outermost comes first.
            ServiceBuilder::new()
                .layer(from_fn(move |request, next| {
                    outer::headers(secure_pages, request, next)
                }))
                .layer(CompressionLayer::new())
                .layer(from_fn(outer::problems_only))
                .layer(CatchPanicLayer::custom(outer::after_panic))
                .layer(from_fn(outer::in_time))
                .layer(from_fn_with_state(http.changes.clone(), changes::to_its_end))
                .layer(from_fn_with_state(http, gate::refuse_foreign_pages))
                .layer(sessions),
        )
}
