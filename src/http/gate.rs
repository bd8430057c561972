//! Who asks, and from where: the session behind a cookie, the client's address, and whether a page of ours sent the
//! request. Sockets ask the same questions before their upgrade.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{HOST, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_sessions::Session;

use super::Http;
use super::problem::{Problem, Result};
use crate::config::PublicUrl;
use crate::limits;
use crate::listen::client_address;
use crate::model::{Timestamp, User};
use crate::sessions::{SessionHandle, USER_KEY};

/// Somebody with a valid session.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// Who it is, read now: superuser and disabled are as they are stored.
    pub user: Arc<User>,
    /// Names the session.
    pub handle: SessionHandle,
    /// When the session ends by itself.
    pub expires_at: Timestamp,
}

/// Who a session belongs to. The cookie's session is looked up, not taken from memory: it may have ended meanwhile.
///
/// # Errors
/// `not_logged_in` without a valid session; `unavailable` if that can't be known.
pub async fn logged_in(http: &Http, session: &Session) -> Result<LoggedIn> {
    let id = session.id().ok_or_else(Problem::not_logged_in)?;
    let handle = SessionHandle::of(id);
    let info = http.sessions.live(&handle).await?.ok_or_else(Problem::not_logged_in)?;
    let user = http.store.user(info.user).await?;
    let user = user.filter(|user| !user.disabled).ok_or_else(Problem::not_logged_in)?;
    let mut expires_at = info.expires_at;
    let now = http.clock.now();
    let full = now.plus(http.settings.session_life);
    if full.since(expires_at) > limits::SESSION_EXPIRY_STEP {
        // Loading it first keeps a session that ends just now from being saved as a new, empty one.
        if session.get_value(USER_KEY).await?.is_none() {
            return Err(Problem::not_logged_in());
        }
        session.set_expiry(session.expiry());
        expires_at = full;
    }
    Ok(LoggedIn {
        user: Arc::new(user),
        handle,
        expires_at,
    })
}

impl FromRequestParts<Arc<Http>> for LoggedIn {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self> {
        let session = parts.extensions.get::<Session>().cloned();
        let session = session.ok_or_else(|| Problem::internal(&"the session layer is missing"))?;
        logged_in(http, &session).await
    }
}

/// Somebody who may use the admin area.
#[derive(Debug, Clone)]
pub struct Superuser(pub LoggedIn);

impl FromRequestParts<Arc<Http>> for Superuser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self> {
        let somebody = LoggedIn::from_request_parts(parts, http).await?;
        if somebody.user.superuser {
            Ok(Self(somebody))
        } else {
            Err(Problem::new("forbidden", "only superusers may use the admin area"))
        }
    }
}

/// Where a request came from and what sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The client's address, as far as trusted proxies tell it.
    pub address: IpAddr,
    /// What the client calls itself; may be empty.
    pub agent: String,
}

impl FromRequestParts<Arc<Http>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self> {
        // In-process tests have no connection; for throttles they are one machine.
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0.ip());
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let forwarded = parts.headers.get_all("x-forwarded-for").iter();
        let forwarded: Vec<&[u8]> = forwarded.map(HeaderValue::as_bytes).collect();
        Ok(Self {
            address: client_address(peer, forwarded.into_iter(), &http.settings.trusted_proxies),
            agent: agent
                .unwrap_or_default()
                .chars()
                .take(limits::SESSION_TEXT_CHARS_MAX)
                .collect(),
        })
    }
}

/// Whether a page of this server may have sent the request: no `Origin` (scripts send none), or the public address, or
/// the host that was asked. For unsafe requests and for every WebSocket handshake.
///
/// # Errors
/// `bad_origin`.
pub fn check_origin(headers: &HeaderMap, public_url: Option<&PublicUrl>) -> Result<()> {
    let refused = || {
        Err(Problem::new(
            "bad_origin",
            "this request comes from a page of another site: open this server's own page, or set public-url to its \
             address",
        ))
    };
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return refused();
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(()) };
    let (Ok(origin), None) = (origin.to_str(), origins.next()) else {
        return refused();
    };
    if public_url.is_some_and(|url| url.origin().eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match host {
        Some(host) if same_host(origin, host) => Ok(()),
        _ => refused(),
    }
}

/// Whether an origin names the host that was asked; the scheme's usual port may be left out on either side. A proxy
/// that ends TLS hides the scheme, so both are right.
fn same_host(origin: &str, host: &str) -> bool {
    let Ok(uri) = origin.parse::<Uri>() else { return false };
    let usual = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    let Ok(host) = host.parse::<axum::http::uri::Authority>() else {
        return false;
    };
    let Some(authority) = uri.authority() else { return false };
    let only_an_origin = matches!(uri.path(), "" | "/") && !origin.ends_with('/') && uri.query().is_none();
    only_an_origin
        && !authority.as_str().contains('@')
        && !host.as_str().contains('@')
        && authority.host().eq_ignore_ascii_case(host.host())
        && authority.port_u16().unwrap_or(usual) == host.port_u16().unwrap_or(usual)
}

/// Refuses unsafe requests that a page of another site has sent.
pub async fn refuse_foreign_pages(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !safe && let Err(problem) = check_origin(request.headers(), http.settings.public_url.as_ref()) {
        return problem.into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn only_our_own_pages_pass() {
        let public = PublicUrl::parse("https://chat.example.org").unwrap();
        let passes = |pairs: &[(&'static str, &str)]| check_origin(&headers(pairs), Some(&public)).is_ok();
        let host = ("host", "127.0.0.1:8080");
        assert!(passes(&[host]));
        assert!(passes(&[host, ("origin", "http://127.0.0.1:8080")]));
        assert!(passes(&[host, ("origin", "https://chat.example.org")]));
        assert!(passes(&[("host", "a.example"), ("origin", "https://a.example")]));
        assert!(passes(&[("host", "A.example:80"), ("origin", "http://a.example")]));
        for foreign in [
            "null",
            "",
            "http://127.0.0.1:8081",
            "http://127.0.0.1",
            "http://localhost:8080",
            "https://evil.example",
            "https://chat.example.org.evil.example",
            "https://chat.example.org@evil.example",
            "https://chat.example.org/",
            "ftp://127.0.0.1:8080",
        ] {
            assert!(!passes(&[host, ("origin", foreign)]), "{foreign}");
        }
        let ours = ("origin", "http://127.0.0.1:8080");
        assert!(!passes(&[host, ours, ("sec-fetch-site", "cross-site")]));
        assert!(passes(&[host, ours, ("sec-fetch-site", "same-origin")]));
        assert!(!passes(&[host, ours, ("origin", "https://evil.example")]));
        assert!(!passes(&[ours]));
    }
}
