//! What a WebSocket handshake has to pass before the room is asked: origin, throttles, session.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Http;
use super::admission::Admitted;
use super::gate::{Caller, LoggedIn, check_origin};
use super::problem::{Problem, Result};
use crate::throttle::{Kind, Verdict, address_key};

/// Somebody who may open a socket, as far as that is known before the room is asked.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// Who it is.
    pub me: LoggedIn,
    /// The place among those that are served at once.
    pub admitted: Admitted,
}

impl FromRequestParts<Arc<Http>> for Handshake {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<Http>) -> Result<Self> {
        check_origin(&parts.headers, http.settings.public_url.as_ref())?;
        let caller = Caller::from_request_parts(parts, http).await?;
        admit(http, Kind::HandshakeAddress, &address_key(caller.address)).await?;
        // From here on it costs the stores something.
        let admitted = http.admission.enter().await?;
        let me = LoggedIn::from_request_parts(parts, http).await?;
        admit(http, Kind::HandshakeUser, &me.user.id.to_string()).await?;
        Ok(Self { me, admitted })
    }
}

async fn admit(http: &Http, kind: Kind, key: &str) -> Result<()> {
    match http.throttles.check(kind, key).await {
        Ok(Verdict::Allowed) => Ok(()),
        Ok(Verdict::RetryAfter(wait)) => Err(Problem::rate_limited("new connections", wait)),
        Err(error) => {
            // A handshake costs little; turning everybody away for want of a count would cost more.
            tracing::warn!(%error, "a handshake passed without being counted");
            Ok(())
        }
    }
}

/// The answer to a handshake whose address or parameters can't be understood: 400, where a request has 422.
#[must_use]
pub fn bad_address(field: &'static str, detail: &str) -> Problem {
    Problem::new("bad_request", format!("{field}: {detail}")).at(field)
}
