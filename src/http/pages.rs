//! The browser client: the files of `web/dist`, inside the binary.
//!
//! Files below `assets/` have their content's hash in their name and never change; pages are asked for anew each time
//! and answered 304 while they are the same. A build without the client says how to make one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
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
    let text = kind.starts_with("text/") || ["javascript", "json", "svg+xml"].iter().any(|end| kind.ends_with(end));
    let kind = if text {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    };
    let asked = [(CONTENT_TYPE, kind), (CACHE_CONTROL, caching.to_owned()), (ETAG, tag)];
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    if text && takes_gzip(headers) {
        let encoded = [(CONTENT_ENCODING, "gzip"), (VARY, "accept-encoding")];
        return Some((asked, encoded, gzipped(name, &bytes)).into_response());
    }
    Some((asked, bytes).into_response())
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let refused = matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000");
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// The file compressed as well as can be: done once for each file, since all browsers ask for the same.
fn gzipped(name: &str, bytes: &Bytes) -> Bytes {
    static DONE: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);
    if let Some(done) = DONE.lock().get(name) {
        return done.clone();
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory does not fail; were it to, what came out would be an honest, if empty, file.
    let done = Bytes::from(
        encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .unwrap_or_default(),
    );
    DONE.lock().insert(name.to_owned(), done.clone());
    done
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn files_are_compressed_once_and_read_back_the_same() {
        let bytes = Bytes::from("some text ".repeat(1_000));
        let (first, second) = (gzipped("test", &bytes), gzipped("test", &bytes));
        assert_eq!(first.as_ptr(), second.as_ptr());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&first[..])
            .read_to_string(&mut read)
            .unwrap();
        assert_eq!(read.as_bytes(), bytes);
    }

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for (accept, takes) in [
            ("gzip", true),
            ("br, GZIP;q=0.5", true),
            ("br", false),
            ("gzip;q=0", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(takes_gzip(&headers), takes, "{accept}");
        }
    }
}
