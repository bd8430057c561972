//! Counts requests by route and status, and how long their answers took to begin.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use http::{Method, StatusCode};

use crate::metrics::Metrics;
use crate::telemetry::traces::{self, Span};

/// What requests count under that match no route, whatever path they asked for.
const UNMATCHED: &str = "unmatched";

/// The router with every request counted. Routes are counted by their patterns, so that no client can make new series.
pub fn measured(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(middleware::from_fn_with_state(metrics, measure))
}

async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let matched = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let mut span = traces::request(request.headers(), || format!("{method} {matched}"));
    let context = span.as_ref().and_then(Span::context);
    let response = traces::under(context, next.run(request)).await;
    if let Some(span) = &mut span {
        let status = response.status();
        span.came_to(status.as_u16().to_string(), status.is_server_error());
    }
    drop(span);
    let route = matched;
    by_meaning(&metrics, &method, route, response.status());
    metrics.http_requests.count(route, response.status().as_u16());
    metrics.http_seconds.observe(route, begun.elapsed().as_secs_f64());
    response
}

/// Counts what a request came to where operators look for it: log-ins, registrations, refused handshakes.
fn by_meaning(metrics: &Metrics, method: &Method, route: &str, status: StatusCode) {
    match (method, route) {
        (&Method::POST, "/api/session") => {
            let outcome = match status.as_u16() {
                200 => "ok",
                401 => "bad_credentials",
                429 => "throttled",
                503 => "unavailable",
                _ => "other",
            };
            metrics.logins.of(outcome).inc();
        }
        (&Method::POST, "/api/users") if status == StatusCode::CREATED => metrics.registrations.inc(),
        (_, route) if route.starts_with("/ws") && status != StatusCode::SWITCHING_PROTOCOLS => {
            metrics.handshakes_refused.of(status.as_str()).inc();
        }
        _ => {}
    }
}
