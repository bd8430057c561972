//! Every family that the document lists is served, and what happens is counted where it belongs.

use http::Method;
use serde_json::json;

use crate::common::{PASSWORD, Server};

#[tokio::test]
async fn what_happens_is_counted_where_it_belongs() {
    let server = Server::start();
    let before = server.series().await;
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let refused = server.target().log_in(&ann.username, "another password").await;
    assert!(refused.is_err());
    server.log_in(&ann).await;
    assert!(server.open("/ws/chat/no.name/", &ann).await.is_err());

    let mut first = server.room("hall", &ann).await;
    let mut second = server.room("hall", &bob).await;
    let ack = first
        .ask(json!({ "type": "send", "message": "one", "nonce": "n1" }))
        .await;
    second.hears("one").await;
    let again = first
        .ask(json!({ "type": "send", "message": "one", "nonce": "n1", "retry": true }))
        .await;
    assert_eq!(again["id"], ack["id"]);
    first
        .ask(json!({ "type": "edit", "id": ack["id"], "message": "uno" }))
        .await;
    second.until("edited").await;
    second.ask(json!({ "type": "read", "id": ack["id"] })).await;
    second.send(json!({ "type": "typing" })).await;
    first.until("typing").await;
    first.ask(json!({ "type": "delete", "id": ack["id"] })).await;
    second.until("deleted").await;
    first.send(json!({ "type": "no such thing" })).await;
    first.error("unknown_type").await;

    let since = ack["id"].as_str().expect("an id");
    let mut third = server.socket(&format!("/ws/chat/hall/?since={since}"), &ann).await;
    third.until("live").await;
    drop(third);
    let path = format!("/api/rooms/hall/members/{}", bob.username);
    server.done(Method::DELETE, &path, &ann, None).await;
    assert_eq!(second.closed().await, Some(4203));
    server
        .done(
            Method::PUT,
            "/api/password",
            &ann,
            Some(json!({ "current": PASSWORD, "new": "entirely new" })),
        )
        .await;

    let increased = [
        "natter_connections",
        "natter_connections_opened_total",
        "natter_connections_closed_total{reason=\"kicked\"}",
        "natter_handshakes_refused_total{status=\"400\"}",
        "natter_sockets_accepted_total",
        "natter_sockets_open",
        "natter_rooms_active",
        "natter_messages_appended_total",
        "natter_messages_repeated_total",
        "natter_encodings_total",
        "natter_deliveries_total",
        "natter_written_bytes_total",
        "natter_events_total{kind=\"message\"}",
        "natter_events_total{kind=\"edited\"}",
        "natter_events_total{kind=\"deleted\"}",
        "natter_events_total{kind=\"typing\"}",
        "natter_events_total{kind=\"read\"}",
        "natter_send_to_ack_seconds_count",
        "natter_refused_total{code=\"unknown_type\"}",
        "natter_joins_total{answer=\"first\"}",
        "natter_joins_total{answer=\"resumed\"}",
        "natter_store_reads_total{kind=\"message_range\"}",
        "natter_store_reads_total{kind=\"other\"}",
        "natter_store_writes_total",
        "natter_store_commits_total",
        "natter_logins_total{outcome=\"ok\"}",
        "natter_logins_total{outcome=\"bad_credentials\"}",
        "natter_registrations_total",
        "natter_revocations_total",
        "natter_revocation_seconds_count",
        "natter_send_to_delivery_seconds_count",
        "natter_shared_reads_total{outcome=\"led\"}",
        "natter_cache_lookups_total{cache=\"rooms\"}",
        "natter_cache_hits_total{cache=\"rooms\"}",
    ];
    // A connection that is gone is counted when its task ends, and presence is told once a second.
    let later = [
        "natter_connections_closed_total{reason=\"gone\"}",
        "natter_events_total{kind=\"presence\"}",
    ];
    loop {
        let after = server.series().await;
        let was = |name: &str| before.get(name).copied().unwrap_or_default();
        let missing: Vec<&&str> = increased
            .iter()
            .filter(|name| after.get(**name).is_none_or(|now| *now <= was(name)))
            .collect();
        assert!(missing.is_empty(), "not counted: {missing:?}");
        if later
            .iter()
            .all(|name| after.get(*name).is_some_and(|now| *now > was(name)))
        {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let document = include_str!("../../docs/operations.md");
    let after = server.series().await;
    let listed = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `natter_")?.split_once('`'))
        // Their series are named by statements of servers, which one machine has none of.
        .filter(|(name, _)| !name.starts_with("store_statement"));
    // One machine alone lacks nothing.
    for (name, value) in [
        ("natter_store_up", 1.0),
        ("natter_redis_up", 1.0),
        ("natter_channel_layer_up", 1.0),
        ("natter_delivering", 1.0),
        ("natter_clock_refusing", 0.0),
    ] {
        assert_eq!(after.get(name), Some(&value), "{name}");
    }
    assert!(after["natter_control_log_lag_seconds"] >= 0.0);
    for (name, _) in listed {
        let name = format!("natter_{name}");
        assert!(
            after.keys().any(|series| series.starts_with(&name)),
            "{name} is not served"
        );
    }
}
