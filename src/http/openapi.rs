//! The OpenAPI 3.1 document, made from the routes themselves: what is not routed is not in it, and what is routed is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use super::problem::{PROBLEM_JSON, Problem};
use super::views::{Kind, RoleName};
use super::{COOKIE, Http, accounts, admin, info, members, messages, rooms, sessions, users};

#[derive(OpenApi)]
#[openapi(
    info(title = "Natter", description = "The HTTP side of Natter. docs/protocol.md has the sockets."),
    components(schemas(Kind, RoleName)),
    tags(
        (name = "accounts", description = "Registering, logging in, sessions, the password"),
        (name = "people", description = "Other people"),
        (name = "rooms", description = "Rooms and direct conversations"),
        (name = "members", description = "Who is in a room, and who is banned"),
        (name = "messages", description = "History and read markers"),
        (name = "server", description = "The server"),
        (name = "admin", description = "For superusers"),
    )
)]
struct Document;

/// Every route of the API, with its description.
pub(super) fn api() -> OpenApiRouter<Arc<Http>> {
    let mut document = Document::openapi();
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("session", cookie);
    document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("session", [])]);
    let mut api = OpenApiRouter::with_openapi(document)
        .merge(info::routes())
        .merge(accounts::routes())
        .merge(sessions::routes())
        .merge(users::routes())
        .merge(rooms::routes())
        .merge(members::routes())
        .merge(messages::routes())
        .merge(admin::routes());
    for item in api.get_openapi_mut().paths.paths.values_mut() {
        let item = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in item.into_iter().flatten() {
            complete(&mut operation.responses.responses);
        }
    }
    api
}

/// Adds to the responses of one call what is the same for all: the text for each status, the media type of problems,
/// and the problems that any call can have.
fn complete(responses: &mut BTreeMap<String, RefOr<Response>>) {
    let problem = || Content::new(Some(Ref::from_schema_name(Problem::name())));
    responses.insert("default".to_owned(), RefOr::T(Response::new("")));
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let text = match status.as_str() {
            "200" => "Done",
            "201" => "Made",
            "204" => "Done; there is nothing to tell",
            "default" => "Any other problem; see the codes of docs/protocol.md, section 6",
            status => Problem::title_of(status),
        };
        response.description = text.to_owned();
        if !status.starts_with('2') {
            response.content.clear();
            response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(problem()));
        }
    }
}

/// The document as it is served, and as docs/openapi.json holds it.
#[must_use]
pub fn document() -> String {
    text(&api().into_openapi())
}

fn text(document: &utoipa::openapi::OpenApi) -> String {
    // Only maps with keys that are not strings fail to serialise, and the document has none.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Serves the document.
pub(super) fn route(document: &utoipa::openapi::OpenApi) -> Router<Arc<Http>> {
    let body = Bytes::from(text(document));
    Router::new().route(
        "/api/openapi.json",
        get(|| async move { ([(CONTENT_TYPE, "application/json")], body) }),
    )
}
