//! Registering, logging in and out, sessions and passwords.

use serde_json::{Value, json};

use super::app::{PASSWORD, TestApp, Wish};
use crate::config::Registration;
use crate::limits;
use crate::model::Timestamp;
use crate::store::Invite;

#[tokio::test]
async fn registering_logs_in() {
    let app = TestApp::start().await;
    let ann = app.with_user("Ann").await;
    let me = ann.get("/api/session").await.expect(200);
    assert_eq!((&me["username"], &me["superuser"]), (&json!("Ann"), &json!(false)));
    assert_eq!(me["id"], ann.id);
    assert_eq!(me["session"]["handle"].as_str().unwrap().len(), 32);
    assert!(me["session"]["expires_at"].as_str().unwrap() > me["created_at"].as_str().unwrap());
    app.nobody().get("/api/session").await.problem(401, "not_logged_in");
}

#[tokio::test]
async fn what_is_no_account_is_refused() {
    let app = TestApp::start().await;
    app.with_user("ann").await;
    let nobody = app.nobody();
    let cases = [
        (
            json!({"username": "ANN", "password": PASSWORD}),
            409,
            "name_taken",
            "username",
        ),
        (
            json!({"username": "a b", "password": PASSWORD}),
            422,
            "invalid_name",
            "username",
        ),
        (
            json!({"username": "", "password": PASSWORD}),
            422,
            "invalid_name",
            "username",
        ),
        (
            json!({"username": "0123456789abcdef0123456789abcdef", "password": PASSWORD}),
            422,
            "invalid_name",
            "username",
        ),
        (
            json!({"username": "bob", "password": "1234567"}),
            422,
            "invalid_password",
            "password",
        ),
        (
            json!({"username": "bob", "password": "x".repeat(257)}),
            422,
            "invalid_password",
            "password",
        ),
        (json!({"username": "bob"}), 422, "invalid_request", "password"),
        (
            json!({"username": 1, "password": PASSWORD}),
            422,
            "invalid_request",
            "username",
        ),
    ];
    for (form, status, code, field) in cases {
        let problem = nobody.post("/api/users", form.clone()).await.problem(status, code);
        assert_eq!(problem["field"], field, "{form}");
    }
    nobody.post("/api/users", json!([])).await.problem(400, "invalid_json");
    let longest = json!({"username": "bob", "password": "ä".repeat(256)});
    nobody.post("/api/users", longest).await.expect(201);
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_look_and_cost_the_same() {
    let app = TestApp::start().await;
    app.with_user("ann").await;
    let eve = app.with_user("eve").await;
    app.world.directory.disable(eve.id.parse().unwrap()).await.unwrap();
    let mut answers: Vec<(u16, Value, u64)> = Vec::new();
    for (name, password) in [
        ("ann", "wrong password"),
        ("nobody", PASSWORD),
        ("eve", PASSWORD),
        ("a b", PASSWORD),
    ] {
        let before = app.http.passwords.computed();
        let answer = app.log_in(name, password).await;
        assert_eq!(answer.cookie(), None);
        let work = app.http.passwords.computed() - before;
        answers.push((answer.status.as_u16(), answer.json(), work));
    }
    assert_eq!((answers[0].0, answers[0].2), (401, 1));
    assert_eq!(answers[0].1["code"], "bad_credentials");
    for other in &answers[1..] {
        assert_eq!(other, &answers[0]);
    }
    let answer = app.log_in("ANN", PASSWORD).await;
    assert!(answer.cookie().is_some());
    assert_eq!(answer.expect(200)["username"], "ann");
}

#[tokio::test]
async fn a_planted_cookie_is_worth_nothing() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let form = json!({"username": "ann", "password": PASSWORD});
    // The same browser logs in again: a new id, and the session before it is over, sockets included.
    app.world.logged();
    let again = ann.post("/api/session", form.clone()).await;
    let cookie = again.cookie().unwrap();
    again.expect(200);
    assert_ne!(cookie, ann.cookie);
    assert_eq!(app.world.logged().len(), 1);
    ann.get("/api/session").await.problem(401, "not_logged_in");
    ann.with_cookie(cookie).get("/api/session").await.expect(200);
    // An id that the server never gave out is not taken over.
    let planted = "natter_session=AAAAAAAAAAAAAAAAAAAAAA";
    let victim = ann.with_cookie(planted.into()).post("/api/session", form).await;
    assert_ne!(victim.cookie().unwrap(), planted);
    ann.with_cookie(planted.into())
        .get("/api/session")
        .await
        .problem(401, "not_logged_in");
    ann.with_cookie("natter_session=rubbish".into())
        .get("/api/session")
        .await
        .problem(401, "not_logged_in");
}

#[tokio::test]
async fn the_cookie_is_kept_from_scripts_and_other_sites() {
    for (public_url, secure) in [(None, false), (Some("https://chat.test"), true)] {
        let app = TestApp::with(Wish {
            public_url,
            ..Wish::default()
        })
        .await;
        let form = json!({"username": "ann", "password": PASSWORD});
        let answer = app.nobody().post("/api/users", form).await;
        let cookie = answer.header("set-cookie");
        assert!(cookie.starts_with("natter_session="), "{cookie}");
        for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age="] {
            assert!(cookie.contains(part), "{part}: {cookie}");
        }
        assert_eq!(cookie.contains("Secure"), secure);
        assert_eq!(answer.header("strict-transport-security").is_empty(), !secure);
    }
}

#[tokio::test]
async fn logging_out_ends_the_session() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    app.world.logged();
    let answer = ann.delete("/api/session").await;
    assert!(
        answer.header("set-cookie").contains("Max-Age=0"),
        "the browser forgets the cookie"
    );
    answer.expect(204);
    assert_eq!(app.world.logged().len(), 1);
    ann.get("/api/session").await.problem(401, "not_logged_in");
    ann.delete("/api/session").await.expect(204);
}

#[tokio::test]
async fn sessions_are_listed_and_ended_by_handle() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let bob = app.with_user("bob").await;
    let agent = [("user-agent", "Netscape 4")];
    let form = json!({"username": "ann", "password": PASSWORD});
    let elsewhere = app.ask("POST", "/api/session", &agent, Some(form)).await;
    let elsewhere = ann.with_cookie(elsewhere.cookie().unwrap());
    let list = ann.get("/api/sessions").await.expect(200);
    let sessions = list["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    assert_eq!(
        (&other["user_agent"], &other["address"]),
        (&json!("Netscape 4"), &json!("192.0.2.1"))
    );
    for cookie in [&ann.cookie, &elsewhere.cookie] {
        let secret = cookie.split('=').nth(1).unwrap();
        assert!(!list.to_string().contains(secret), "the list holds no cookie");
    }
    let path = format!("/api/sessions/{}", other["handle"].as_str().unwrap());
    bob.delete(&path).await.problem(404, "not_found");
    ann.delete("/api/sessions/rubbish").await.problem(404, "not_found");
    elsewhere.get("/api/session").await.expect(200);
    ann.delete(&path).await.expect(204);
    elsewhere.get("/api/session").await.problem(401, "not_logged_in");
    ann.get("/api/session").await.expect(200);
    ann.delete(&path).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let elsewhere = ann.with_cookie(app.log_in("ann", PASSWORD).await.cookie().unwrap());
    let wrong = json!({"current": "wrong password", "new": "another horse"});
    let problem = ann.put("/api/password", wrong).await.problem(401, "bad_credentials");
    assert_eq!(problem["field"], "current");
    let short = json!({"current": PASSWORD, "new": "short"});
    assert_eq!(
        ann.put("/api/password", short).await.problem(422, "invalid_password")["field"],
        "new"
    );
    ann.put("/api/password", json!({"current": PASSWORD, "new": "another horse"}))
        .await
        .expect(204);
    ann.get("/api/session").await.expect(200);
    elsewhere.get("/api/session").await.problem(401, "not_logged_in");
    app.log_in("ann", PASSWORD).await.problem(401, "bad_credentials");
    app.log_in("ann", "another horse").await.expect(200);
}

#[tokio::test]
async fn failed_log_ins_are_throttled_and_right_ones_are_free_of_that() {
    let app = TestApp::with(Wish {
        throttled: true,
        ..Wish::default()
    })
    .await;
    app.with_user("ann").await;
    app.with_user("bob").await;
    for _ in 0..limits::LOGIN_ACCOUNT.free {
        app.log_in("Ann", "wrong password")
            .await
            .problem(401, "bad_credentials");
    }
    let before = app.http.passwords.computed();
    let answer = app.log_in("ann", PASSWORD).await;
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert_eq!(seconds, limits::LOGIN_ACCOUNT.first.as_secs());
    let problem = answer.problem(429, "rate_limited");
    assert!(problem["retry_after"].as_f64().unwrap() <= seconds as f64);
    assert_eq!(app.http.passwords.computed(), before, "a refused try costs no hash");
    for _ in 0..limits::LOGIN_ADDRESS.burst + 5 {
        app.log_in("bob", PASSWORD).await.expect(200);
    }
    // Guessing at many names from one address is throttled too, whether they exist or not.
    let mut refused = 0;
    for n in 0..limits::LOGIN_ADDRESS.burst + 5 {
        let answer = app.log_in(&format!("nobody{n}"), "wrong password").await;
        refused += u32::from(answer.status.as_u16() == 429);
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn right_log_ins_to_one_account_are_throttled_before_they_cost_a_hash() {
    let app = TestApp::with(Wish {
        throttled: true,
        ..Wish::default()
    })
    .await;
    app.with_user("ann").await;
    app.with_user("bob").await;
    for _ in 0..limits::LOGIN_SUCCESS.burst {
        app.log_in("ann", PASSWORD).await.expect(200);
    }
    let before = app.http.passwords.computed();
    let answer = app.log_in("Ann", PASSWORD).await;
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    answer.problem(429, "rate_limited");
    assert_eq!(app.http.passwords.computed(), before, "a refused log-in costs no hash");
    // Neither the address nor the count of wrong passwords pays for it.
    app.log_in("bob", PASSWORD).await.expect(200);
    for _ in 0..limits::LOGIN_ACCOUNT.free {
        app.log_in("bob", "wrong password")
            .await
            .problem(401, "bad_credentials");
    }
}

#[tokio::test]
async fn a_user_has_so_many_sessions_and_the_one_not_used_for_longest_gives_way() {
    let app = TestApp::start().await;
    let ann = app.with_user("ann").await;
    let bob = app.with_user("bob").await;
    let count = limits::SESSIONS_PER_USER_MAX;
    let mut cookies = vec![ann.cookie.clone()];
    for _ in 1..count {
        cookies.push(app.log_in("ann", PASSWORD).await.cookie().unwrap());
    }
    ann.get("/api/session").await.expect(200);
    app.world.logged();
    let newest = app.log_in("ann", PASSWORD).await.cookie().unwrap();
    let sessions = ann.with_cookie(newest.clone()).get("/api/sessions").await.expect(200);
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), count);
    ann.with_cookie(newest).get("/api/session").await.expect(200);
    let mut gone = 0;
    for cookie in cookies {
        gone += u32::from(ann.with_cookie(cookie).get("/api/session").await.status == 401);
    }
    assert_eq!(gone, 1);
    assert_eq!(app.world.logged().len(), 1, "its sockets are closed, on every node");
    bob.get("/api/session").await.expect(200);
}

#[tokio::test]
async fn registrations_are_throttled_by_address() {
    let app = TestApp::with(Wish {
        throttled: true,
        ..Wish::default()
    })
    .await;
    for n in 0..limits::REGISTRATION.burst {
        app.with_user(&format!("u{n}")).await;
    }
    let form = json!({"username": "more", "password": PASSWORD});
    app.nobody().post("/api/users", form).await.problem(429, "rate_limited");
}

#[tokio::test]
async fn registration_can_need_an_invite_or_be_closed() {
    let closed = TestApp::with(Wish {
        registration: Registration::Closed,
        ..Wish::default()
    })
    .await;
    let form = |name: &str, invite: Value| json!({"username": name, "password": PASSWORD, "invite": invite});
    assert_eq!(
        closed.nobody().get("/api/info").await.expect(200)["registration"],
        "closed"
    );
    closed
        .nobody()
        .post("/api/users", form("ann", Value::Null))
        .await
        .problem(403, "registration_closed");

    let app = TestApp::with(Wish {
        registration: Registration::Invite,
        ..Wish::default()
    })
    .await;
    let host = app.world.user("host").await;
    let invite = Invite {
        code: "welcome".into(),
        by: host.id,
        uses_left: 1,
        expires_at: Timestamp::from_millis(4_000_000_000_000),
    };
    app.world.store.create_invite(invite).await.unwrap();
    let nobody = app.nobody();
    nobody
        .post("/api/users", form("ann", Value::Null))
        .await
        .problem(403, "registration_closed");
    nobody
        .post("/api/users", form("ann", json!("wrong")))
        .await
        .problem(403, "registration_closed");
    nobody
        .post("/api/users", form("host", json!("welcome")))
        .await
        .problem(409, "name_taken");
    nobody
        .post("/api/users", form("ann", json!("welcome")))
        .await
        .expect(201);
    nobody
        .post("/api/users", form("bob", json!("welcome")))
        .await
        .problem(403, "registration_closed");
}

#[tokio::test]
async fn using_a_session_moves_its_end() {
    let app = TestApp::start().await;
    let user = app.world.user("ann").await;
    let id = tower_sessions::session::Id::default();
    let soon = crate::model::WallClock::now(&crate::model::SystemTime).plus(limits::SESSION_EXPIRY_STEP);
    let mut record = tower_sessions::session::Record {
        id,
        data: [(crate::sessions::USER_KEY.to_owned(), json!(user.id.to_string()))].into(),
        expiry_date: soon.to_offset(),
    };
    tower_sessions::SessionStore::create(&app.world.sessions, &mut record)
        .await
        .unwrap();
    let ann = app.nobody().with_cookie(format!("natter_session={id}"));
    let answer = ann.get("/api/session").await;
    assert_eq!(
        answer.cookie(),
        Some(ann.cookie.clone()),
        "the cookie's own end moves too"
    );
    let handle = crate::sessions::SessionHandle::of(id);
    let stored = crate::sessions::UserSessions::live(&app.world.sessions, &handle)
        .await
        .unwrap()
        .unwrap();
    assert!(stored.expires_at > soon.plus(limits::SESSION_EXPIRY_STEP));
    assert_eq!(ann.get("/api/session").await.cookie(), None, "and not again at once");
}
