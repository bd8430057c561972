//! The browser client: the files of `web/dist`, inside the binary.
//!
//! Files below `assets/` have their content's hash in their name and never change; pages are asked for anew each time
//! and answered 304 while they are the same. A build without the client says how to make one.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use super::Http;
use super::problem::Problem;

#[derive(RustEmbed)]
#[folder = "web/dist/"]
struct Client;

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

const NO_CLIENT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Natter</title>\
<h1>Natter is running, without its browser client</h1>\
<p>This binary was built before the client. Build it with <code>cd web &amp;&amp; npm ci &amp;&amp; npm run \
build</code>, or use <code>make run</code>, then start the server again. The API works as it is: see \
<a href=\"/api/openapi.json\">/api/openapi.json</a>.</p></html>\n";

/// The pages and their files.
pub(super) fn routes() -> Router<Arc<Http>> {
    let client = || get(|headers: HeaderMap| async move { page("index.html", &headers) });
    Router::new()
        .route("/", client())
        .route("/chat", client())
        .route("/chat/", client())
        .route("/chat/{room}", client())
        .route("/chat/{room}/", client())
        .route(
            "/admin",
            get(|headers: HeaderMap| async move { page("admin.html", &headers) }),
        )
        .route(
            "/admin/",
            get(|headers: HeaderMap| async move { page("admin.html", &headers) }),
        )
}

fn page(name: &str, headers: &HeaderMap) -> Response {
    match file(name, headers) {
        Some(response) => response,
        None => ([(CACHE_CONTROL, "no-store")], Html(NO_CLIENT)).into_response(),
    }
}

/// Any other address: a file of the client, or nothing.
pub(super) async fn file_or_nothing(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let readable = matches!(*request.method(), Method::GET | Method::HEAD);
    // Pages have addresses of their own; the build's list of files is nobody's business.
    let hidden =
        path.starts_with("api/") || path.ends_with(".html") || path.starts_with('.') || path == "manifest.json";
    let found = if readable && !hidden {
        file(path, request.headers())
    } else {
        None
    };
    if let Some(found) = found {
        return found;
    }
    Problem::new("not_found", "there is nothing at this address").into_response()
}

fn file(name: &str, headers: &HeaderMap) -> Option<Response> {
    let file = Client::get(name)?;
    let hash: String = file.metadata.sha256_hash()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // Weak, since the body may be compressed on the way.
    let tag = format!("W/\"{hash}\"");
    let caching = if name.starts_with("assets/") {
        IMMUTABLE
    } else {
        ASK_AGAIN
    };
    let same = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| {
            tags.split(',')
                .any(|other| other.trim().trim_start_matches("W/") == tag.trim_start_matches("W/"))
        });
    if same {
        return Some(
            (
                StatusCode::NOT_MODIFIED,
                [(ETAG, tag), (CACHE_CONTROL, caching.to_owned())],
            )
                .into_response(),
        );
    }
    let kind = file.metadata.mimetype();
    let kind = if kind.starts_with("text/") || kind.ends_with("javascript") || kind.ends_with("json") {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    };
    let headers = [(CONTENT_TYPE, kind), (CACHE_CONTROL, caching.to_owned()), (ETAG, tag)];
    let body = match file.data {
        std::borrow::Cow::Borrowed(bytes) => axum::body::Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => axum::body::Bytes::from(bytes),
    };
    Some((headers, body).into_response())
}
