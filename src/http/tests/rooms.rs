//! Rooms, members, bans, history and people.

use serde_json::{Value, json};

use super::app::{Somebody, TestApp};
use crate::model::{EventId, RoomKind};
use crate::rooms::directory::RoomKey;

#[tokio::test]
async fn rooms_are_made_found_and_changed() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.with_user("ann").await, app.with_user("bob").await);
    let room = ann
        .post("/api/rooms", json!({"name": "Lobby", "title": " Hall "}))
        .await
        .expect(201);
    let keys: Vec<&String> = room.as_object().unwrap().keys().collect();
    let expected = "archived created_at id kind last members mentions name read role title unread";
    assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
    assert_eq!((&room["name"], &room["title"]), (&json!("Lobby"), &json!("Hall")));
    assert_eq!(
        (&room["kind"], &room["role"], &room["members"]),
        (&json!("public"), &json!("owner"), &json!(1))
    );
    ann.post("/api/rooms", json!({"name": "lobby"}))
        .await
        .problem(409, "name_taken");
    ann.post("/api/rooms", json!({"name": "a b"}))
        .await
        .problem(422, "invalid_name");
    ann.post("/api/rooms", json!({"name": "hidden", "visibility": "private"}))
        .await
        .expect(201);
    let lists = bob.get("/api/rooms?q=LOB").await.expect(200);
    assert_eq!(lists["rooms"], json!([]));
    assert_eq!(lists["public"][0]["name"], "Lobby");
    assert_eq!(lists["public"][0]["role"], Value::Null);
    assert_eq!(lists["public"].as_array().unwrap().len(), 1);
    let mine = ann.get("/api/rooms").await.expect(200);
    assert_eq!(
        (mine["rooms"].as_array().unwrap().len(), &mine["public"]),
        (2, &json!([]))
    );
    bob.get("/api/rooms/hidden").await.problem(404, "not_found");
    bob.patch("/api/rooms/lobby", json!({"title": "x"}))
        .await
        .problem(403, "forbidden");
    let changed = ann
        .patch("/api/rooms/lobby", json!({"title": "New", "visibility": "private"}))
        .await
        .expect(200);
    assert_eq!(
        (&changed["title"], &changed["kind"]),
        (&json!("New"), &json!("private"))
    );
    bob.get("/api/rooms/lobby").await.problem(404, "not_found");
    let by_id = ann
        .get(&format!("/api/rooms/{}", room["id"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!(by_id, changed);
}

#[tokio::test]
async fn a_direct_conversation_shows_the_other_person() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.with_user("ann").await, app.with_user("bob").await);
    let room = ann.put_nothing("/api/direct/bob").await.expect(200);
    assert_eq!(
        (&room["name"], &room["kind"], &room["role"]),
        (&Value::Null, &json!("direct"), &json!("member"))
    );
    assert_eq!(
        (&room["with"]["username"], &room["with"]["online"]),
        (&json!("bob"), &json!(false))
    );
    let again = bob.put_nothing("/api/direct/ann").await.expect(200);
    assert_eq!((&again["id"], &again["with"]["id"]), (&room["id"], &json!(ann.id)));
    ann.put_nothing("/api/direct/ann").await.problem(422, "invalid_request");
    ann.put_nothing("/api/direct/eve").await.problem(404, "not_found");
    assert_eq!(
        bob.get("/api/rooms").await.expect(200)["rooms"][0]["with"]["username"],
        "ann"
    );
}

/// What each call of the API needs, one row for each: per kind of room one letter for outsider, banned, member,
/// moderator, owner, as in the model's own test of the matrix: `y` done, `n` forbidden, `b` banned, `-` not found. Nobody
/// is banned from a direct conversation, and its last three are the same person.
const MATRIX: [(Call, [&str; 3]); 9] = [
    (Call::Look, ["ybyyy", "-byyy", "--yyy"]),
    (Call::History, ["ybyyy", "-byyy", "--yyy"]),
    (Call::Invite, ["nbyyy", "-bnyy", "--nnn"]),
    (Call::Kick, ["nbnyy", "-bnyy", "--nnn"]),
    (Call::Ban, ["nbnyy", "-bnyy", "--nnn"]),
    (Call::Bans, ["nbnyy", "-bnyy", "--nnn"]),
    (Call::Promote, ["nbnny", "-bnny", "--nnn"]),
    (Call::Configure, ["nbnny", "-bnny", "--nnn"]),
    (Call::Leave, ["nbyyy", "-byyy", "--nnn"]),
];

#[derive(Debug, Clone, Copy)]
enum Call {
    Look,
    History,
    Invite,
    Kick,
    Ban,
    Bans,
    Promote,
    Configure,
    Leave,
}

impl Call {
    /// Makes the call. `outside` is no member of the room, `inside` is one.
    async fn make(self, actor: &Somebody<'_>, room: &str, outside: &str, inside: &str) -> super::app::Answer {
        let base = format!("/api/rooms/{room}");
        match self {
            Self::Look => actor.get(&base).await,
            Self::History => actor.get(&format!("{base}/messages")).await,
            Self::Invite => actor.put_nothing(&format!("{base}/members/{outside}")).await,
            Self::Kick => actor.delete(&format!("{base}/members/{inside}")).await,
            Self::Ban => actor.put_nothing(&format!("{base}/bans/{outside}")).await,
            Self::Bans => actor.get(&format!("{base}/bans")).await,
            Self::Promote => {
                let role = json!({"role": "moderator"});
                actor.put(&format!("{base}/members/{inside}"), role).await
            }
            Self::Configure => actor.patch(&base, json!({"title": "t"})).await,
            Self::Leave => actor.delete(&format!("{base}/members/{}", actor.name)).await,
        }
    }
}

#[tokio::test]
async fn the_permission_matrix_holds_over_http() {
    let app = TestApp::start().await;
    let kinds = [RoomKind::Public, RoomKind::Private, RoomKind::Direct];
    for (row, (call, columns)) in MATRIX.into_iter().enumerate() {
        for (column, (kind, letters)) in kinds.into_iter().zip(columns).enumerate() {
            for (place, letter) in letters.chars().enumerate() {
                // Each call meets a fresh room, since calls change what the next one finds.
                let prefix = format!("x{row}{column}{place}");
                let (room, people) = app.world.room_with_everybody(kind, &prefix).await;
                let outside = app.world.user(&format!("{prefix}-outside")).await.name.to_string();
                let mut inside = people[2].name.to_string();
                let mut actor = &people[place];
                if kind == RoomKind::Direct {
                    actor = if place < 2 { actor } else { &people[4] };
                } else {
                    let bystander = app.world.user(&format!("{prefix}-inside")).await;
                    inside = bystander.name.to_string();
                    app.world
                        .directory
                        .put_member(&people[4], &room, &bystander, None)
                        .await
                        .unwrap();
                }
                let actor = session_of(&app, actor.id).await;
                let answer = call.make(&actor, &room.id.to_string(), &outside, &inside).await;
                let case = format!("{call:?} {kind:?} place {place}: {}", answer.status);
                let expected = match letter {
                    'y' => None,
                    'n' => Some("forbidden"),
                    'b' => Some("banned"),
                    _ => Some("not_found"),
                };
                let code = if answer.status.is_success() {
                    None
                } else {
                    Some(answer.json()["code"].clone())
                };
                assert_eq!(code, expected.map(Value::from), "{case}");
            }
        }
    }
}

async fn session_of(app: &TestApp, user: crate::model::UserId) -> Somebody<'_> {
    let id = tower_sessions::session::Id::default();
    let session = crate::sessions::NewSession {
        id,
        user,
        expires_at: crate::model::Timestamp::from_millis(4_000_000_000_000),
    };
    crate::sessions::UserSessions::create_many(&app.world.sessions, vec![session])
        .await
        .unwrap();
    let name = app.world.store.user(user).await.unwrap().unwrap().name.to_string();
    let mut somebody = app.nobody().with_cookie(format!("natter_session={id}"));
    somebody.name = name;
    somebody
}

#[tokio::test]
async fn members_are_listed_invited_promoted_kicked_and_banned() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    for name in ["bob", "bobby", "eve"] {
        app.with_user(name).await;
    }
    ann.post("/api/rooms", json!({"name": "r"})).await.expect(201);
    let member = ann.put("/api/rooms/r/members/bob", json!({})).await.expect(200);
    assert_eq!(
        (&member["username"], &member["role"], &member["present"]),
        (&json!("bob"), &json!("member"), &json!(false))
    );
    ann.put_nothing("/api/rooms/r/members/bobby").await.expect(200);
    let member = ann
        .put("/api/rooms/r/members/bob", json!({"role": "moderator"}))
        .await
        .expect(200);
    assert_eq!(member["role"], "moderator");
    let role = ann
        .put("/api/rooms/r/members/bob", json!({"role": "king"}))
        .await
        .problem(422, "invalid_request");
    assert_eq!(role["field"], "role");
    ann.put_nothing("/api/rooms/r/members/nobody")
        .await
        .problem(404, "not_found");
    let names = |page: &Value| -> Vec<String> {
        let members = page["members"].as_array().unwrap().iter();
        members
            .map(|member| member["username"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = ann.get("/api/rooms/r/members?limit=2").await.expect(200);
    assert_eq!(
        (names(&page), &page["has_more"]),
        (vec!["ann".into(), "bob".into()], &json!(true))
    );
    let page = ann.get("/api/rooms/r/members?limit=2&after=bob").await.expect(200);
    assert_eq!((names(&page), &page["has_more"]), (vec!["bobby".into()], &json!(false)));
    let page = ann.get("/api/rooms/r/members?q=bob").await.expect(200);
    assert_eq!(names(&page), ["bob", "bobby"]);
    ann.delete("/api/rooms/r/members/bobby").await.expect(204);
    ann.put_nothing("/api/rooms/r/bans/eve").await.expect(204);
    let bans = ann.get("/api/rooms/r/bans").await.expect(200);
    assert_eq!(
        (&bans["bans"][0]["username"], &bans["bans"][0]["by"]),
        (&json!("eve"), &json!("ann"))
    );
    ann.delete("/api/rooms/r/bans/eve").await.expect(204);
    assert_eq!(ann.get("/api/rooms/r/bans").await.expect(200), json!({"bans": []}));
    ann.delete("/api/rooms/r/members/ann").await.expect(204);
    assert_eq!(ann.get("/api/rooms/r").await.expect(200)["role"], Value::Null);
}

struct History<'a> {
    ann: Somebody<'a>,
    ids: Vec<String>,
}

impl History<'_> {
    async fn page(&self, query: &str) -> (Vec<usize>, bool) {
        let page = self
            .ann
            .get(&format!("/api/rooms/r/messages?{query}"))
            .await
            .expect(200);
        let place = |message: &Value| self.ids.iter().position(|id| message["id"] == **id).unwrap();
        let places = page["messages"].as_array().unwrap().iter().map(place).collect();
        (places, page["has_more"].as_bool().unwrap())
    }
}

async fn history(app: &TestApp, count: usize) -> History<'_> {
    let ann = app.with_user("ann").await;
    ann.post("/api/rooms", json!({"name": "r"})).await.expect(201);
    let room = app.world.directory.room(&RoomKey::parse("r").unwrap()).await.unwrap();
    let author = app.world.store.user(ann.id.parse().unwrap()).await.unwrap().unwrap();
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(app.world.say(&room, &author, &format!("m{n}")).await.id.to_string());
    }
    History { ann, ids }
}

#[tokio::test]
async fn history_comes_in_pages() {
    let app = TestApp::start().await;
    let history = history(&app, 60).await;
    let id = |n: usize| history.ids[n].clone();
    let range = |from: usize, to: usize| (from..to).collect::<Vec<_>>();
    assert_eq!(history.page("").await, (range(10, 60), true));
    assert_eq!(history.page("limit=200").await, (range(0, 60), false));
    assert_eq!(
        history.page(&format!("before={}&limit=5", id(10))).await,
        (range(5, 10), true)
    );
    assert_eq!(
        history.page(&format!("before={}&limit=10", id(10))).await,
        (range(0, 10), false)
    );
    assert_eq!(
        history.page(&format!("after={}&limit=5", id(10))).await,
        (range(11, 16), true)
    );
    let between = format!("after={}&before={}", id(10), id(14));
    assert_eq!(history.page(&between).await, (range(11, 14), false));
    assert_eq!(
        history.page(&format!("around={}&limit=5", id(30))).await,
        (range(28, 33), true)
    );
    assert_eq!(
        history.page(&format!("around={}&limit=1", id(30))).await,
        (vec![30], true)
    );
    assert_eq!(
        history.page(&format!("around={}&limit=5", id(0))).await,
        (range(0, 5), true)
    );
    assert_eq!(
        history.page(&format!("around={}&limit=200", id(3))).await,
        (range(0, 60), false)
    );
    let unknown = EventId::new(
        history.ids[30].parse::<EventId>().unwrap().timestamp().millis(),
        4_095,
        1,
    );
    assert!(history.page(&format!("around={unknown}&limit=4")).await.0.len() == 4);
    let message = &history.ann.get("/api/rooms/r/messages?limit=1").await.expect(200)["messages"][0];
    let keys: Vec<&String> = message.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["at", "author", "author_id", "id", "message", "room", "room_id"]);
    assert_eq!(
        (&message["message"], &message["room"], &message["author"]),
        (&json!("m59"), &json!("r"), &json!("ann"))
    );
}

#[tokio::test]
async fn unread_messages_are_counted_from_the_marker() {
    let app = TestApp::start().await;
    let history = history(&app, 3).await;
    let bob = app.with_user("bob").await;
    history.ann.put_nothing("/api/rooms/r/members/bob").await.expect(200);
    let room = bob.get("/api/rooms/r").await.expect(200);
    assert_eq!((&room["unread"], &room["read"]), (&json!(0), &json!(history.ids[2])));
    let author = app
        .world
        .store
        .user(history.ann.id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let stored = app.world.directory.room(&RoomKey::parse("r").unwrap()).await.unwrap();
    let mut last = String::new();
    for n in 0..120 {
        last = app
            .world
            .say(&stored, &author, &format!("more {n}"))
            .await
            .id
            .to_string();
    }
    let room = bob.get("/api/rooms/r").await.expect(200);
    assert_eq!((&room["unread"], &room["last"]), (&json!(100), &json!(last)));
    let marker = bob
        .put("/api/rooms/r/read", json!({"id": last.replace('-', "")}))
        .await
        .expect(200);
    assert_eq!(marker, json!({"id": last, "unread": 0}));
    let back = bob
        .put("/api/rooms/r/read", json!({"id": history.ids[0]}))
        .await
        .expect(200);
    assert_eq!(back["id"], last, "never back");
    let far = EventId::new(4_000_000_000_000, 0, 1).to_string();
    bob.put("/api/rooms/r/read", json!({"id": far}))
        .await
        .problem(404, "not_found");
    let wrong = bob
        .put("/api/rooms/r/read", json!({"id": "x"}))
        .await
        .problem(422, "invalid_request");
    assert_eq!(wrong["field"], "id");
}

#[tokio::test]
async fn people_are_found_and_seen_by_those_who_share_a_room() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.with_user("ann").await, app.with_user("Anna").await);
    let found = ann.get("/api/users?q=AN").await.expect(200);
    assert_eq!(found["users"].as_array().unwrap().len(), 2);
    assert_eq!(found["users"][0], json!({"id": ann.id, "username": "ann"}));
    assert_eq!(
        ann.get("/api/users?q=an&limit=1").await.expect(200)["users"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let profile = ann.get("/api/users/anna").await.expect(200);
    assert_eq!((&profile["username"], profile.get("online")), (&json!("Anna"), None));
    ann.put_nothing("/api/direct/anna").await.expect(200);
    assert_eq!(ann.get("/api/users/anna").await.expect(200)["online"], json!(false));
    assert_eq!(
        bob.get(&format!("/api/users/{}", ann.id)).await.expect(200)["online"],
        json!(false)
    );
    ann.get("/api/users/nobody").await.problem(404, "not_found");
    app.nobody().get("/api/users?q=a").await.problem(401, "not_logged_in");
}
