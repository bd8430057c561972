//! The HTTP side as clients see it: status, headers and JSON.

mod accounts;
mod admin;
mod app;
mod outer;
mod redis_down;
mod repeated;
mod rooms;

use app::TestApp;

use super::openapi;

/// What differs from the code would be a lie to whoever generates a client.
#[test]
fn the_openapi_file_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    if std::env::var_os("NATTER_WRITE_OPENAPI").is_some() {
        std::fs::write(path, openapi::document()).unwrap();
    }
    let file = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        file == openapi::document(),
        "docs/openapi.json is stale: run NATTER_WRITE_OPENAPI=1 cargo test --lib the_openapi_file_is_current"
    );
}

#[tokio::test]
async fn the_document_describes_every_route_once() {
    let app = TestApp::start().await;
    let document = app.nobody().get("/api/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                operations.push(id.to_owned());
                assert!(
                    !operation["responses"].as_object().unwrap().is_empty(),
                    "{method} {path}"
                );
            }
        }
    }
    let count = operations.len();
    operations.sort();
    operations.dedup();
    assert_eq!(operations.len(), count, "operation ids are unique");
    assert_eq!(count, 37);
}
