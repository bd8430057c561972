//! The admin area.

use serde_json::{Value, json};

use super::app::{PASSWORD, TestApp, Wish};
use crate::config::Registration;
use crate::model::RoomKind;

#[tokio::test]
async fn only_superusers_get_in() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let root = app.with_superuser("root").await;
    for path in ["stats", "users", "rooms", "audit", "invites", "messages?room=x"] {
        let path = format!("/api/admin/{path}");
        app.nobody().get(&path).await.problem(401, "not_logged_in");
        ann.get(&path).await.problem(403, "forbidden");
    }
    ann.patch("/api/admin/users/root", json!({"disabled": true}))
        .await
        .problem(403, "forbidden");
    let stats = root.get("/api/admin/stats").await.expect(200);
    assert_eq!((&stats["users"], &stats["rooms"]), (&json!(2), &json!(0)));
    assert!(stats["curves"]["messages"].is_array());
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
}

fn actions(audit: &Value) -> Vec<String> {
    let lines = audit["entries"].as_array().unwrap().iter();
    lines
        .map(|line| format!("{} {} {}", line["actor"], line["action"], line["target"]).replace('"', ""))
        .collect()
}

#[tokio::test]
async fn accounts_are_disabled_promoted_and_audited() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let root = app.with_superuser("root").await;
    let users = root.get("/api/admin/users?q=a").await.expect(200);
    assert_eq!(
        (&users["users"][0]["username"], &users["has_more"]),
        (&json!("ann"), &json!(false))
    );
    assert_eq!(
        root.get("/api/admin/users?limit=1").await.expect(200)["has_more"],
        json!(true)
    );
    let filtered = root.get("/api/admin/users?filter=superusers").await.expect(200);
    assert_eq!(filtered["users"][0]["username"], "root");
    root.get("/api/admin/users?filter=odd")
        .await
        .problem(422, "invalid_request");
    app.world.logged();
    let changed = root
        .patch("/api/admin/users/ann", json!({"disabled": true}))
        .await
        .expect(200);
    assert_eq!(changed["disabled"], json!(true));
    assert_eq!(app.world.logged().len(), 1);
    ann.get("/api/session").await.problem(401, "not_logged_in");
    app.log_in("ann", PASSWORD).await.problem(401, "bad_credentials");
    root.patch("/api/admin/users/ann", json!({"disabled": false, "superuser": true}))
        .await
        .expect(200);
    let ann = ann.with_cookie(app.log_in("ann", PASSWORD).await.cookie().unwrap());
    ann.get("/api/admin/stats").await.expect(200);
    root.patch("/api/admin/users/root", json!({"superuser": false}))
        .await
        .problem(403, "forbidden");
    root.patch("/api/admin/users/root", json!({"disabled": true}))
        .await
        .problem(403, "forbidden");
    root.delete("/api/admin/users/ann/sessions").await.expect(204);
    ann.get("/api/session").await.problem(401, "not_logged_in");
    root.patch("/api/admin/users/nobody", json!({"disabled": true}))
        .await
        .problem(404, "not_found");
    let audit = root.get("/api/admin/audit").await.expect(200);
    assert_eq!(
        actions(&audit),
        [
            "root user.end_sessions ann",
            "root user.enable ann",
            "root user.promote ann",
            "root user.disable ann"
        ]
    );
    let page = root.get("/api/admin/audit?limit=1").await.expect(200);
    let before = page["entries"][0]["id"].as_str().unwrap();
    assert_eq!(page["has_more"], json!(true));
    let page = root
        .get(&format!("/api/admin/audit?limit=1&before={before}"))
        .await
        .expect(200);
    assert_eq!(actions(&page), ["root user.enable ann"]);
}

#[tokio::test]
async fn rooms_are_found_archived_and_deleted() {
    let app = TestApp::start().await;
    let root = app.with_superuser("root").await;
    let (room, _) = app.world.room_with_everybody(RoomKind::Private, "x").await;
    let rooms = root.get("/api/admin/rooms?q=X-R").await.expect(200);
    assert_eq!(
        (&rooms["rooms"][0]["id"], &rooms["rooms"][0]["members"]),
        (&json!(room.id), &json!(3))
    );
    let changed = root
        .patch("/api/admin/rooms/x-room", json!({"title": "T", "archived": true}))
        .await
        .expect(200);
    assert_eq!((&changed["title"], &changed["archived"]), (&json!("T"), &json!(true)));
    root.delete("/api/admin/rooms/x-room").await.expect(204);
    root.delete("/api/admin/rooms/x-room").await.problem(404, "not_found");
    assert_eq!(root.get("/api/admin/rooms").await.expect(200)["rooms"], json!([]));
    let audit = root.get("/api/admin/audit").await.expect(200);
    assert_eq!(
        actions(&audit),
        [
            "root room.delete x-room",
            "root room.archive x-room",
            "root room.title x-room"
        ]
    );
}

#[tokio::test]
async fn messages_are_found_by_id_room_and_time_and_looking_leaves_a_line() {
    let app = TestApp::start().await;
    let root = app.with_superuser("root").await;
    let (room, [.., owner]) = app.world.room_with_everybody(RoomKind::Private, "x").await;
    let message = app.world.say(&room, &owner, "hidden").await;
    let page = root.get("/api/admin/messages?room=x-room").await.expect(200);
    assert_eq!(page["messages"][0]["message"], "hidden");
    let at = message.at();
    let page = root
        .get(&format!("/api/admin/messages?room=x-room&at={at}&limit=1"))
        .await
        .expect(200);
    assert_eq!(page["messages"][0]["id"], json!(message.id));
    root.get("/api/admin/messages").await.problem(422, "invalid_request");
    root.get("/api/admin/messages?room=x-room&at=noon")
        .await
        .problem(422, "invalid_request");
    root.get("/api/admin/messages?room=nowhere")
        .await
        .problem(404, "not_found");
    let path = format!("/api/admin/messages/{}", message.id);
    assert_eq!(root.get(&path).await.expect(200)["room"], "x-room");
    root.delete(&path).await.expect(204);
    assert_eq!(root.get(&path).await.expect(200)["deleted"], json!(true));
    root.get("/api/admin/messages/x").await.problem(422, "invalid_request");
    let audit = root.get("/api/admin/audit").await.expect(200);
    let lines = actions(&audit);
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("root message.read"))
            .count(),
        4
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.starts_with("root message.delete"))
            .count(),
        1
    );
}

#[tokio::test]
async fn invites_let_people_in() {
    let app = TestApp::with(Wish {
        registration: Registration::Invite,
        ..Wish::default()
    })
    .await;
    let host = app.world.user("root").await;
    app.world.store.set_superuser(host.id, true).await.unwrap();
    let hash = app.http.passwords.hash(PASSWORD).await.unwrap();
    app.world.store.set_password_hash(host.id, hash).await.unwrap();
    let root = app
        .nobody()
        .with_cookie(app.log_in("root", PASSWORD).await.cookie().unwrap());
    let invite = root
        .post("/api/admin/invites", json!({"uses": 2, "days": 1}))
        .await
        .expect(201);
    assert_eq!((&invite["uses_left"], &invite["by"]), (&json!(2), &json!("root")));
    for wrong in [
        json!({"uses": 0}),
        json!({"uses": 1_001}),
        json!({"days": 366}),
        json!({"days": -1}),
    ] {
        root.post("/api/admin/invites", wrong)
            .await
            .problem(422, "invalid_request");
    }
    let form = |name: &str| json!({"username": name, "password": PASSWORD, "invite": invite["code"]});
    app.nobody().post("/api/users", form("ann")).await.expect(201);
    let list = root.get("/api/admin/invites").await.expect(200);
    assert_eq!(list["invites"][0]["uses_left"], json!(1));
    let path = format!("/api/admin/invites/{}", invite["code"].as_str().unwrap());
    root.delete(&path).await.expect(204);
    root.delete(&path).await.problem(404, "not_found");
    app.nobody()
        .post("/api/users", form("bob"))
        .await
        .problem(403, "registration_closed");
    let audit = root.get("/api/admin/audit").await.expect(200).to_string();
    assert!(
        !audit.contains(invite["code"].as_str().unwrap()),
        "the log keeps no secret"
    );
}
