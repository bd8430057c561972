//! What goes round every route: headers, origins, problem documents, pages.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use serde_json::json;

use super::app::{PASSWORD, TestApp, Wish};
use crate::limits;

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let app = TestApp::start().await;
    let form = || Some(json!({"username": "ann", "password": PASSWORD}));
    for foreign in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://chat.test.evil.example"),
        ("sec-fetch-site", "cross-site"),
    ] {
        app.ask("POST", "/api/users", &[foreign], form())
            .await
            .problem(403, "bad_origin");
        app.ask("PUT", "/api/direct/ann", &[foreign], None)
            .await
            .problem(403, "bad_origin");
        app.ask("DELETE", "/api/session", &[foreign], None)
            .await
            .problem(403, "bad_origin");
        // Reading is safe: browsers don't show the answer to foreign pages.
        app.ask("GET", "/api/info", &[foreign], None).await.expect(200);
    }
    assert_eq!(app.world.store.user_count().await.unwrap(), 0);
    app.ask("POST", "/api/users", &[("origin", "http://chat.test")], form())
        .await
        .expect(201);
}

#[tokio::test]
async fn every_error_is_a_problem_document() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    ann.get("/api/nothing").await.problem(404, "not_found");
    ann.get("/nothing").await.problem(404, "not_found");
    ann.get("/../Cargo.toml").await.problem(404, "not_found");
    let answer = ann.patch("/api/session", json!({})).await;
    assert!(answer.header("allow").contains("DELETE"), "{:?}", answer.headers);
    answer.problem(405, "method_not_allowed");
    for path in [
        "/api/rooms/a%20b",
        "/api/users/%C3%A4",
        "/api/rooms/0123456789abcdef0123456789abcdeg",
    ] {
        assert!(ann.get(path).await.status.is_client_error(), "{path}");
    }
    ann.get("/api/rooms/%ff").await.problem(400, "bad_request");
    ann.get("/api/rooms/a%20b").await.problem(422, "invalid_name");
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("before=x", "before"),
        ("after=f47ac10b-58cc-4372-a567-0e02b2c3d479", "after"),
        (
            "around=0190163d-8694-739b-aea5-966c26f8ad91&before=0190163d-8694-739b-aea5-966c26f8ad91",
            "around",
        ),
    ] {
        let problem = ann
            .get(&format!("/api/rooms/lobby/messages?{query}"))
            .await
            .problem(422, "invalid_request");
        assert_eq!(problem["field"], field);
    }
    let long = "x".repeat(101);
    assert_eq!(
        ann.get(&format!("/api/users?q={long}"))
            .await
            .problem(422, "invalid_request")["field"],
        "q"
    );
}

#[tokio::test]
async fn bodies_are_json_and_bounded() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let send = |kind: &'static str, body: String| {
        let request = Request::post("/api/rooms")
            .header("cookie", &ann.cookie)
            .header("content-type", kind);
        app.send(request.body(Body::from(body)).unwrap())
    };
    send("application/x-www-form-urlencoded", "name=x".into())
        .await
        .problem(400, "invalid_json");
    send("text/plain", r#"{"name": "x"}"#.into())
        .await
        .problem(400, "invalid_json");
    send("application/json", "{".into()).await.problem(400, "invalid_json");
    send("application/json", r#"["x"]"#.into())
        .await
        .problem(400, "invalid_json");
    send("application/json", String::new())
        .await
        .problem(400, "invalid_json");
    let problem = send("application/json", r#"{"name": "x", "visibility": "secret"}"#.into()).await;
    assert_eq!(problem.problem(422, "invalid_request")["field"], "visibility");
    let big = format!(r#"{{"name": "x", "title": "{}"}}"#, "x".repeat(limits::BODY_BYTES_MAX));
    send("application/json", big).await.problem(413, "too_large");
    send("application/json; charset=utf-8", r#"{"name": "x", "later": 1}"#.into())
        .await
        .expect(201);
}

#[tokio::test]
async fn a_panic_is_a_problem_without_details() {
    let panics = || async {
        if std::hint::black_box(true) {
            panic!("the secret detail");
        }
    };
    let sockets = Router::new().route("/panic", get(panics));
    let app = TestApp::with(Wish {
        sockets,
        ..Wish::default()
    })
    .await;
    let answer = app.nobody().get("/panic").await;
    assert!(!String::from_utf8_lossy(&answer.bytes).contains("secret"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    answer.problem(500, "internal");
}

#[tokio::test]
async fn answers_carry_the_security_headers() {
    let app = TestApp::start().await;
    for path in ["/", "/chat/lobby", "/admin", "/api/info", "/api/session", "/nothing"] {
        let answer = app.nobody().get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        if path.starts_with("/api") {
            assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        }
    }
}

#[tokio::test]
async fn pages_are_html_and_known_copies_are_not_sent_again() {
    let app = TestApp::start().await;
    for path in ["/", "/chat/lobby", "/chat/lobby/", "/admin"] {
        let answer = app.nobody().get(path).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        let tag = answer.header("etag");
        if tag.is_empty() {
            // A build without the client says how to make one.
            assert!(String::from_utf8_lossy(&answer.bytes).contains("npm run build"));
            continue;
        }
        let again = app.ask("GET", path, &[("if-none-match", tag)], None).await;
        assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0));
    }
    app.nobody().get("/index.html").await.problem(404, "not_found");
}

#[tokio::test]
async fn answers_are_compressed_for_who_wants_it() {
    let app = TestApp::start().await;
    let plain = app.nobody().get("/api/openapi.json").await;
    let zipped = app
        .ask("GET", "/api/openapi.json", &[("accept-encoding", "gzip")], None)
        .await;
    assert_eq!(zipped.header("content-encoding"), "gzip");
    assert!(zipped.bytes.len() * 4 < plain.bytes.len());
}

#[tokio::test]
async fn a_handshake_needs_our_origin_a_session_and_patience() {
    use crate::http::Handshake;

    let throttled = TestApp::with(Wish {
        throttled: true,
        sockets: Router::new(),
        ..Wish::default()
    })
    .await;
    let answer = |handshake: Handshake| async move { handshake.me.user.name.to_string() };
    let sockets = Router::new()
        .route("/ws", get(answer))
        .with_state(throttled.http.clone());
    let app = throttled.and_sockets(sockets);
    let ann = app.with_user("ann").await;
    app.nobody().get("/ws").await.problem(401, "not_logged_in");
    let foreign = [("cookie", ann.cookie.as_str()), ("origin", "https://evil.example")];
    app.ask("GET", "/ws", &foreign, None).await.problem(403, "bad_origin");
    for _ in 0..limits::HANDSHAKE_USER.burst {
        let answer = ann.get("/ws").await;
        assert_eq!((answer.status.as_u16(), answer.bytes.as_slice()), (200, &b"ann"[..]));
    }
    let answer = ann.get("/ws").await;
    assert!(!answer.header("retry-after").is_empty());
    answer.problem(429, "rate_limited");
}

#[tokio::test]
async fn a_burst_of_handshakes_is_answered_and_none_is_kept_waiting_for_ever() {
    use crate::http::{Admission, Handshake};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::sync::Notify;

    let app = TestApp::with(Wish {
        admission: Admission::new(2, 3, Duration::from_secs(600)),
        ..Wish::default()
    })
    .await;
    let open = Arc::new(Notify::new());
    let opened = Arc::clone(&open);
    let answer = move |handshake: Handshake| {
        let opened = Arc::clone(&opened);
        async move {
            opened.notified().await;
            drop(handshake.admitted);
            "in"
        }
    };
    let app_http = app.http.clone();
    let app = app.and_sockets(Router::new().route("/ws", get(answer)).with_state(app_http));
    let ann = app.with_user("ann").await;
    let mut burst: futures_util::stream::FuturesUnordered<_> = (0..50).map(|_| ann.get("/ws")).collect();
    let mut refused = 0;
    while refused < 45 {
        let answer = futures_util::StreamExt::next(&mut burst).await.unwrap();
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=5).contains(&seconds), "{seconds}");
        answer.problem(503, "unavailable");
        refused += 1;
    }
    let mut served = 0;
    while served < 5 {
        open.notify_one();
        let answer = futures_util::StreamExt::next(&mut burst).await.unwrap();
        assert_eq!(answer.status.as_u16(), 200);
        served += 1;
    }
    assert!(futures_util::StreamExt::next(&mut burst).await.is_none());
}

#[tokio::test]
async fn behind_a_trusted_proxy_throttles_go_by_the_clients_address() {
    // Requests of these tests come from 192.0.2.1.
    for (trusted, apart) in [(&["192.0.2.0/24"][..], true), (&["10.0.0.0/8"], false)] {
        let app = TestApp::with(Wish {
            throttled: true,
            trusted_proxies: trusted,
            ..Wish::default()
        })
        .await;
        let register = async |name: &str, client: &str| {
            let form = serde_json::json!({"username": name, "password": super::app::PASSWORD});
            let headers = [("x-forwarded-for", client)];
            app.ask("POST", "/api/users", &headers, Some(form)).await
        };
        for n in 0..limits::REGISTRATION.burst {
            register(&format!("u{n}"), "198.51.100.1").await.expect(201);
        }
        register("more", "198.51.100.1").await.problem(429, "rate_limited");
        let other = register("other", "198.51.100.2").await;
        if apart {
            let cookie = other.cookie().unwrap();
            let sessions = app
                .ask("GET", "/api/sessions", &[("cookie", &cookie)], None)
                .await
                .expect(200);
            assert!(sessions.to_string().contains("198.51.100.2"), "{sessions}");
        } else {
            other.problem(429, "rate_limited");
        }
    }
}
