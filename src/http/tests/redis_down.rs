//! Requests while Redis, where sessions and throttles stand, is down: nobody is let in unchecked, everybody is told
//! when to try again.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use serde_json::json;
use tower_sessions::Session;

use super::app::{PASSWORD, TestApp, Wish};
use crate::http::Handshake;
use crate::redis_link::testing::{Server, answering};

async fn over(server: &Server) -> TestApp {
    let link = server.link();
    answering(&link).await;
    TestApp::with(Wish {
        redis: Some(link),
        ..Wish::default()
    })
    .await
}

#[tokio::test]
async fn without_redis_everybody_is_told_when_to_try_again() {
    let Some(mut server) = Server::start(&[]) else { return };
    let app = over(&server).await;
    let answer = |handshake: Handshake| async move { handshake.me.user.name.to_string() };
    let sockets = Router::new().route("/ws", get(answer)).with_state(app.http.clone());
    let app = app.and_sockets(sockets);
    let ann = app.with_user("ann").await;
    assert_eq!(ann.get("/ws").await.bytes, b"ann");
    let handle = ann.get("/api/session").await.expect(200)["session"]["handle"].clone();
    let handle = handle.as_str().unwrap();
    server.kill();
    let (nobody, me) = (app.nobody(), json!({"username": "ann", "password": PASSWORD}));
    let ben = json!({"username": "ben", "password": PASSWORD});
    let change = json!({"current": PASSWORD, "new": "battery staple"});
    let refused = [
        ("a log-in", nobody.post("/api/session", me.clone()).await),
        ("a second log-in", ann.post("/api/session", me).await),
        ("a registration", nobody.post("/api/users", ben).await),
        ("who am I", ann.get("/api/session").await),
        ("a log-out", ann.delete("/api/session").await),
        ("my sessions", ann.get("/api/sessions").await),
        (
            "the end of a session",
            ann.delete(&format!("/api/sessions/{handle}")).await,
        ),
        ("a new password", ann.put("/api/password", change).await),
        ("my rooms", ann.get("/api/rooms").await),
        ("a new room", ann.post("/api/rooms", json!({"name": "den"})).await),
        ("a handshake", ann.get("/ws").await),
    ];
    for (what, answer) in refused {
        assert!(
            !answer.header("retry-after").is_empty(),
            "{what} is told when to try again"
        );
        assert_eq!(answer.cookie(), None, "{what} changes no cookie");
        answer.problem(503, "unavailable");
    }
    nobody.get("/ws").await.problem(401, "not_logged_in");
    nobody.get("/api/info").await.expect(200);
    assert_eq!(app.world.store.user_count().await.unwrap(), 1, "nobody was registered");
    server.restart();
    answering(&server.link()).await;
    // It came back empty: everybody logs in again.
    ann.get("/ws").await.problem(401, "not_logged_in");
    let cookie = app.log_in("ann", PASSWORD).await.cookie().unwrap();
    assert_eq!(ann.with_cookie(cookie).get("/ws").await.bytes, b"ann");
}

#[tokio::test]
async fn a_session_that_can_not_be_saved_is_no_defect() {
    let Some(server) = Server::start(&[]) else { return };
    let app = over(&server).await;
    let server = Arc::new(Mutex::new(server));
    let change = {
        let server = server.clone();
        move |session: Session| async move {
            session.insert("colour", "blue").await.unwrap();
            server.lock().kill();
        }
    };
    let app = app.and_sockets(Router::new().route("/change", get(change)));
    let ann = app.with_user("ann").await;
    let answer = ann.get("/change").await;
    assert!(!answer.header("retry-after").is_empty());
    answer.problem(503, "unavailable");
}
