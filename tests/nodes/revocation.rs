//! Revocation over nodes: asked for on one, the victim on another, the talk on a third.

use http::Method;
use serde_json::json;

use crate::common::{PASSWORD, Sock, User};
use crate::world::Cluster;

const TALKER: usize = 0;
const VICTIM: usize = 1;
const REVOKER: usize = 2;

struct Scene {
    cluster: Cluster,
    room: String,
    owner: User,
    victim: User,
    socket: Sock,
}

impl Scene {
    async fn new() -> Option<Self> {
        let cluster = Cluster::start(3).await?;
        let room = cluster.name("hall");
        let (owner, victim) = (
            cluster.user(TALKER, "owner").await,
            cluster.user(VICTIM, "victim").await,
        );
        cluster.server(TALKER).room(&room, &owner).await;
        let socket = cluster.server(VICTIM).room(&room, &victim).await;
        Some(Self {
            cluster,
            room,
            owner,
            victim,
            socket,
        })
    }

    /// Talks without pause, revokes meanwhile, goes on talking: nothing of that is heard. Gives the close code.
    async fn revoked(&mut self, revoke: impl AsyncFnOnce(&Self)) -> Option<u16> {
        let mut talker = self.cluster.server(TALKER).room(&self.room, &self.owner).await;
        for n in 0..20 {
            talker.say(&format!("before {n}")).await;
        }
        let talks = async {
            for n in 0..20 {
                talker.say(&format!("meanwhile {n}")).await;
            }
        };
        tokio::join!(revoke(self), talks);
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

    /// The same for a revocation that is one request of somebody.
    async fn asked(&mut self, method: Method, path: &str, user: &User, body: Option<serde_json::Value>) -> Option<u16> {
        self.revoked(async |scene| {
            scene.cluster.server(REVOKER).done(method, path, user, body).await;
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_out_on_a_third_node_silences_the_socket_before_it_is_answered() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let victim = scene.victim.clone();
    assert_eq!(
        scene.asked(Method::DELETE, "/api/session", &victim, None).await,
        Some(4200)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kick_and_a_ban_reach_the_socket_on_its_node() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let owner = scene.owner.clone();
    let path = format!("/api/rooms/{}/members/{}", scene.room, scene.victim.username);
    assert_eq!(scene.asked(Method::DELETE, &path, &owner, None).await, Some(4203));
    scene.socket = scene.cluster.server(VICTIM).room(&scene.room, &scene.victim).await;
    let path = format!("/api/rooms/{}/bans/{}", scene.room, scene.victim.username);
    assert_eq!(
        scene.asked(Method::PUT, &path, &owner, Some(json!({}))).await,
        Some(4204)
    );
    for node in 0..3 {
        let path = format!("/ws/chat/{}/", scene.room);
        let refused = scene.cluster.server(node).open(&path, &scene.victim).await.err();
        assert_eq!(refused.map(|(status, _)| status), Some(403), "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_the_other_sessions_everywhere() {
    let Some(mut scene) = Scene::new().await else {
        return;
    };
    let elsewhere = scene.cluster.server(REVOKER).log_in(&scene.victim).await;
    let body = json!({ "current": PASSWORD, "new": "another long one" });
    assert_eq!(
        scene.asked(Method::PUT, "/api/password", &elsewhere, Some(body)).await,
        Some(4206)
    );
    scene.cluster.server(TALKER).socket("/ws", &elsewhere).await;
}
