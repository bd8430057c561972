//! Direct conversations: two people, no name, nobody else.

use http::Method;
use serde_json::json;

use crate::common::Server;

#[tokio::test]
async fn two_people_talk_and_nobody_else_gets_in() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let eve = server.user("eve").await;
    let mut one = server.socket(&format!("/ws/direct/{}/", bob.username), &ann).await;
    let joined = one.expect("joined").await;
    assert_eq!(
        (&joined["kind"], &joined["with"], &joined["with_id"]),
        (&json!("direct"), &json!(bob.username), &json!(bob.id))
    );
    assert_eq!(joined["room"], joined["room_id"]);
    one.expect("live").await;
    let mut two = server.socket(&format!("/ws/direct/{}", ann.username), &bob).await;
    let other = two.expect("joined").await;
    assert_eq!(
        (&other["room_id"], &other["with"]),
        (&joined["room_id"], &json!(ann.username))
    );
    two.until("live").await;
    one.say("psst").await;
    two.hears("psst").await;
    two.say("what?").await;
    one.hears("what?").await;

    let id = joined["room_id"].as_str().unwrap();
    let refused = server
        .open(&format!("/ws/chat/{id}/"), &eve)
        .await
        .err()
        .expect("a refusal");
    assert_eq!(refused.0, 404, "{refused:?}");
    let mut many = server.socket("/ws", &eve).await;
    let refused = many.ask(json!({ "type": "join", "room": id })).await;
    assert_eq!(refused["code"], "not_found", "{refused}");
    let answer = server
        .request(Method::GET, &format!("/api/rooms/{id}/messages"), &eve, None)
        .await;
    assert_eq!(answer.status, 404);
}
