//! What goes round every route: headers, deadlines, and problem documents for errors that no handler has made.

use std::any::Any;

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use super::problem::{PROBLEM_JSON, Problem};
use crate::limits;

/// What pages may load and run: only what this server sent, nothing inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors \
     'none'";

/// Headers of every answer.
const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

fn put(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

/// Adds the security headers. Answers of the API are never kept by a cache: they depend on who asks.
pub(super) async fn headers(https: bool, request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/api");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        put(headers, name, value);
    }
    if https {
        put(headers, "strict-transport-security", "max-age=31536000");
    }
    if api && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Replaces errors without a problem document, as the session layer and the framework make them, by one.
pub(super) async fn problems_only(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    if response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == PROBLEM_JSON)
    {
        return response;
    }
    // Handlers make documents, also of their defects. A bare 500 is the session layer's, which could not save.
    let status = match status {
        StatusCode::INTERNAL_SERVER_ERROR => StatusCode::SERVICE_UNAVAILABLE,
        status => status,
    };
    let mut replaced = Problem::of_status(status).into_response();
    // Allow, Set-Cookie and the like still hold.
    for (name, value) in response.headers() {
        if !matches!(name.as_str(), "content-type" | "content-length") {
            replaced.headers_mut().append(name, value.clone());
        }
    }
    replaced
}

/// Gives up on a request that takes too long. What it began may still be done.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    match timeout(limits::REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = limits::REQUEST_TIMEOUT.as_secs();
            let detail = format!("not done within {seconds} s; it may or may not have happened: look, then try again");
            Problem::new("timeout", detail).retry_after(2.0).into_response()
        }
    }
}

/// The answer to a request whose handler has panicked. The panic itself is logged by the panic hook.
pub(super) fn after_panic(panic: Box<dyn Any + Send>) -> HttpResponse<axum::body::Body> {
    // Dropping the payload could panic again, were it something odd.
    std::mem::forget(panic);
    Problem::internal(&"a handler panicked").into_response()
}

/// The answer to a method that an address does not know.
pub(super) async fn no_such_method() -> Problem {
    Problem::new(
        "method_not_allowed",
        "this address does not know the method; see the Allow header",
    )
}
