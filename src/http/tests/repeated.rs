//! Registrations that are repeated because the first attempt was answered that it failed.

use serde_json::json;

use super::app::{PASSWORD, TestApp, Wish};
use crate::limits;
use crate::model::{Name, Timestamp};
use crate::store::NewUser;

#[tokio::test]
async fn a_registration_that_got_no_further_than_the_account_can_be_repeated() {
    let app = TestApp::with(Wish {
        throttled: true,
        ..Wish::default()
    })
    .await;
    let half = |name: &'static str, at| {
        let app = &app;
        async move {
            let user = NewUser {
                name: Name::parse(name).unwrap(),
                password_hash: app.http.passwords.hash(PASSWORD).await.unwrap(),
                superuser: false,
                at,
            };
            app.world.store.create_user(user, None).await.unwrap()
        }
    };
    // What is left when Redis goes after the account was stored and before the session is.
    let ann = half("ann", app.http.clock.now()).await;
    let register = |name: &str, password: &str| {
        let form = json!({"username": name, "password": password});
        let nobody = app.nobody();
        async move { nobody.post("/api/users", form).await }
    };
    register("ann", "another horse").await.problem(409, "name_taken");
    let answer = register("ann", PASSWORD).await;
    let cookie = answer.cookie().unwrap();
    assert_eq!(answer.expect(201)["id"], ann.id.to_string());
    app.nobody().with_cookie(cookie).get("/api/session").await.expect(200);
    // It is a log-in and is throttled as one, but tells no more than that the name is taken.
    for _ in 0..limits::LOGIN_ACCOUNT.free {
        register("ann", "another horse").await.problem(409, "name_taken");
    }
    let hashes = app.http.passwords.computed();
    register("ann", PASSWORD).await.problem(409, "name_taken");
    // Nor does an older account tell anything, or cost a hash.
    half("bob", Timestamp::from_millis(1)).await;
    let made = app.http.passwords.computed();
    register("bob", PASSWORD).await.problem(409, "name_taken");
    assert_eq!((made - hashes, app.http.passwords.computed()), (1, made));
}
