//! What goes round every route: headers, deadlines, and problem documents for errors that no handler has made.

use std::any::Any;

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response as HttpResponse, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tracing::Instrument as _;

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

/// Lets a request that changes something come to its end although its client has gone: between a change and its
/// announcement nothing may break off, or other nodes would not learn of it.
pub(super) async fn to_its_end(request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    match tokio::spawn(next.run(request).in_current_span()).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Problem::internal(&error).into_response(),
        },
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::any;
    use http::Method;
    use tokio::sync::{Semaphore, mpsc};
    use tower::ServiceExt as _;

    use super::*;

    /// Asks with a method and goes away once the handler has begun; whether that came to its end.
    async fn ends_without_its_client(method: Method) -> bool {
        let (progress, mut told) = mpsc::channel(2);
        let go_on = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&go_on);
        let handler = move || async move {
            progress.send("begun").await.unwrap();
            let _ = waits.acquire().await;
            progress.send("ended").await.unwrap();
        };
        let router = Router::new().route("/", any(handler)).layer(from_fn(to_its_end));
        let request = Request::builder().method(method).body(Body::empty()).unwrap();
        let mut asked = Box::pin(router.oneshot(request));
        tokio::select! {
            biased;
            begun = told.recv() => assert_eq!(begun, Some("begun")),
            _ = &mut asked => panic!("nobody has let it end"),
        }
        drop(asked);
        go_on.add_permits(1);
        told.recv().await == Some("ended")
    }

    #[tokio::test]
    async fn what_changes_something_comes_to_its_end_without_its_client() {
        for method in [Method::DELETE, Method::POST, Method::PUT, Method::PATCH] {
            assert!(ends_without_its_client(method.clone()).await, "{method}");
        }
        assert!(
            !ends_without_its_client(Method::GET).await,
            "a reading is for its client alone"
        );
    }

    #[tokio::test]
    async fn a_panic_is_still_one() {
        async fn defective() {
            panic!("the defect of a test");
        }
        let router = Router::<()>::new()
            .route("/", any(defective))
            .layer(from_fn(to_its_end))
            .layer(tower_http::catch_panic::CatchPanicLayer::custom(after_panic));
        let request = Request::builder().method(Method::PUT).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
