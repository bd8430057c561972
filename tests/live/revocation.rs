//! Revocation reaches live sockets before it is acknowledged: nothing stored later is written to them.

use http::Method;
use serde_json::{Value, json};

use crate::common::{PASSWORD, Server, Sock, User};

/// While somebody talks without pause, revokes; then everything stored after the answer must stay unheard.
struct Scene {
    server: Server,
    owner: User,
    victim: User,
    socket: Sock,
}

impl Scene {
    async fn new(path: &str) -> Self {
        let server = Server::start();
        let owner = server.user("owner").await;
        let victim = server.user("victim").await;
        server.room("hall", &owner).await;
        let mut socket = server.socket(path, &victim).await;
        if path == "/ws" {
            socket.send(json!({ "type": "join", "room": "hall" })).await;
        }
        socket.until("live").await;
        Self {
            server,
            owner,
            victim,
            socket,
        }
    }

    /// Talks, revokes by `revoke`, goes on talking; gives the close code.
    async fn revoked(mut self, revoke: impl AsyncFnOnce(&Server, &User, &User)) -> Option<u16> {
        let mut talker = self.server.room("hall", &self.owner).await;
        for n in 0..20 {
            talker.say(&format!("before {n}")).await;
        }
        let talks = async {
            // Messages are under way at the moment of the revocation: those may be heard or not.
            for n in 0..20 {
                talker.say(&format!("meanwhile {n}")).await;
            }
        };
        tokio::join!(revoke(&self.server, &self.owner, &self.victim), talks);
        let after = talker.say("after").await["id"].as_str().expect("an id").to_owned();
        let (heard, code) = self.socket.rest("message").await;
        let ids = heard.iter().map(|message| message["id"].as_str().expect("an id"));
        assert!(ids.clone().all(|id| id < after.as_str()), "heard after the revocation");
        assert!(
            heard.iter().any(|message| message["message"] == "before 19"),
            "heard before it"
        );
        code
    }
}

#[tokio::test]
async fn logging_out_ends_the_sessions_sockets() {
    let scene = Scene::new("/ws/chat/hall/").await;
    let code = scene
        .revoked(async |server, _, victim| {
            server.done(Method::DELETE, "/api/session", victim, None).await;
        })
        .await;
    assert_eq!(code, Some(4200));
}

#[tokio::test]
async fn ending_a_session_elsewhere_ends_its_sockets_only() {
    let scene = Scene::new("/ws").await;
    let elsewhere = scene.server.log_in(&scene.victim).await;
    let mut kept = scene.server.socket("/ws", &elsewhere).await;
    let code = scene
        .revoked(async |server, _, victim| {
            let listed = server.done(Method::GET, "/api/sessions", victim, None).await;
            let sessions = listed["sessions"].as_array().expect("sessions");
            let own = sessions
                .iter()
                .find(|session| session["current"] == true)
                .expect("the current one");
            let path = format!("/api/sessions/{}", own["handle"].as_str().expect("a handle"));
            server.done(Method::DELETE, &path, &elsewhere, None).await;
            kept.send(json!({ "type": "ping" })).await;
            kept.until("pong").await;
        })
        .await;
    assert_eq!(code, Some(4200));
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let scene = Scene::new("/ws/chat/hall/").await;
    let elsewhere = scene.server.log_in(&scene.victim).await;
    let code = scene
        .revoked(async |server, _, _| {
            let change = json!({ "current": PASSWORD, "new": "another long one" });
            server
                .done(Method::PUT, "/api/password", &elsewhere, Some(change))
                .await;
        })
        .await;
    assert_eq!(code, Some(4206));
}

#[tokio::test]
async fn a_disabled_users_sockets_close_at_once() {
    let scene = Scene::new("/ws").await;
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_natter"))
        .args(["createsuperuser", "--username", "root", "--data-dir"])
        .arg(scene.server.folder())
        .env("NATTER_SUPERUSER_PASSWORD", PASSWORD)
        .output()
        .expect("the command runs");
    assert!(made.status.success(), "{made:?}");
    let root = scene.server.target().log_in("root", PASSWORD).await.expect("logged in");
    let code = scene
        .revoked(async |server, _, victim| {
            let path = format!("/api/admin/users/{}", victim.username);
            server
                .done(Method::PATCH, &path, &root, Some(json!({ "disabled": true })))
                .await;
        })
        .await;
    assert_eq!(code, Some(4202));
}

#[tokio::test]
async fn a_kick_ends_a_one_room_socket() {
    let scene = Scene::new("/ws/chat/hall/").await;
    let code = scene
        .revoked(async |server, owner, victim| {
            let path = format!("/api/rooms/hall/members/{}", victim.username);
            server.done(Method::DELETE, &path, owner, None).await;
        })
        .await;
    assert_eq!(code, Some(4203));
}

#[tokio::test]
async fn a_ban_ends_a_one_room_socket() {
    let scene = Scene::new("/ws/chat/hall/").await;
    let code = scene
        .revoked(async |server, owner, victim| {
            let path = format!("/api/rooms/hall/bans/{}", victim.username);
            server.done(Method::PUT, &path, owner, None).await;
        })
        .await;
    assert_eq!(code, Some(4204));
}

#[tokio::test]
async fn a_ban_takes_the_room_from_a_shared_socket_and_leaves_it_open() {
    let Scene {
        server,
        owner,
        victim,
        mut socket,
    } = Scene::new("/ws").await;
    let mut talker = server.room("hall", &owner).await;
    talker.say("before").await;
    let path = format!("/api/rooms/hall/bans/{}", victim.username);
    server.done(Method::PUT, &path, &owner, None).await;
    talker.say("after").await;
    socket.send(json!({ "type": "ping" })).await;
    let frames = socket.all_until("pong").await;
    let texts: Vec<&Value> = frames
        .iter()
        .filter(|f| f["type"] == "message")
        .map(|f| &f["message"])
        .collect();
    assert_eq!(texts, ["before"]);
    let left = frames.iter().find(|frame| frame["type"] == "left").expect("left");
    assert_eq!(left["reason"], "banned");
    let refused = socket.ask(json!({ "type": "join", "room": "hall" })).await;
    assert_eq!(refused["code"], "banned", "{refused}");
}

#[tokio::test]
async fn a_leave_elsewhere_ends_a_one_room_socket() {
    let Scene {
        server,
        victim,
        mut socket,
        ..
    } = Scene::new("/ws/chat/hall/").await;
    let path = format!("/api/rooms/hall/members/{}", victim.username);
    server.done(Method::DELETE, &path, &victim, None).await;
    assert_eq!(socket.closed().await, Some(4208));
}
