//! Counts requests by route and status, and how long their answers took to begin.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::metrics::Metrics;

/// What requests count under that match no route, whatever path they asked for.
const UNMATCHED: &str = "unmatched";

/// The router with every request counted. Routes are counted by their patterns, so that no client can make new series.
pub fn measured(router: Router, metrics: Arc<Metrics>) -> Router {
    router.layer(middleware::from_fn_with_state(metrics, measure))
}

async fn measure(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    metrics.http_requests.count(route, response.status().as_u16());
    metrics.http_seconds.observe(route, begun.elapsed().as_secs_f64());
    response
}
