//! History, and how far one has read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Http;
use super::extract::{JsonBody, Params, Segments};
use super::gate::LoggedIn;
use super::problem::{Problem, Result};
use super::views::{MessagePage, MessagePageView};
use crate::limits;
use crate::model::{Action, EventId, Message, RoomId};
use crate::rooms::directory::RoomKey;
use crate::store::Range;

/// The routes.
pub(super) fn routes() -> OpenApiRouter<Arc<Http>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(mark_read))
}

/// What part of a room's history is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A range with exclusive bounds.
    Range(Range),
    /// The message itself and what surrounds it.
    Around(EventId),
}

/// Reads `before`, `after`, `around` and `limit`.
pub(super) fn asked(params: &Params) -> Result<(Asked, usize)> {
    let (before, after) = (params.event_id("before")?, params.event_id("after")?);
    let asked = match (params.event_id("around")?, before, after) {
        (Some(id), None, None) => Asked::Around(id),
        (Some(_), _, _) => {
            return Err(Problem::invalid(
                "around",
                "around: goes neither with before nor with after",
            ));
        }
        (None, None, None) => Asked::Range(Range::Latest),
        (None, Some(before), None) => Asked::Range(Range::Before(before)),
        (None, None, Some(after)) => Asked::Range(Range::After(after)),
        (None, Some(before), Some(after)) if after < before => Asked::Range(Range::Between(after, before)),
        (None, Some(_), Some(_)) => {
            return Err(Problem::invalid(
                "after",
                "after: lies behind before, so the range is empty",
            ));
        }
    };
    Ok((asked, params.limit(limits::PAGE_DEFAULT, limits::PAGE_MAX)?))
}

/// Reads a page: the messages, ascending, and whether there is more.
pub(super) async fn page(http: &Http, room: RoomId, asked: Asked, limit: usize) -> Result<(Vec<Message>, bool)> {
    let id = match asked {
        Asked::Range(range) => {
            let page = http.store.page(room, range, limit).await?;
            return Ok((page.messages, page.has_more));
        }
        Asked::Around(id) => id,
    };
    let middle = http.store.message(room, id).await?;
    let rest = limit - usize::from(middle.is_some()).min(limit);
    // Both sides are read as if the other were empty, so that the page is full also near an end.
    let older = http.store.page(room, Range::Before(id), rest.max(1)).await?;
    let newer = http.store.page(room, Range::After(id), rest.max(1)).await?;
    let (old, new) = shares(rest, older.messages.len(), newer.messages.len());
    let has_more = older.has_more || newer.has_more || old < older.messages.len() || new < newer.messages.len();
    let mut messages: Vec<Message> = older.messages;
    messages.drain(..messages.len() - old);
    messages.extend(middle);
    messages.extend(newer.messages.into_iter().take(new));
    Ok((messages, has_more))
}

/// How many of the older and newer messages go into a page with room for `rest`: half each, more where one side is
/// short.
fn shares(rest: usize, older: usize, newer: usize) -> (usize, usize) {
    let old = older.min((rest / 2).max(rest.saturating_sub(newer)));
    (old, newer.min(rest - old))
}

/// A page of a room's history
#[utoipa::path(operation_id = "list_messages", get, path = "/api/rooms/{room}/messages", tag = "messages",
    params(("room" = String, Path, description = "name or id"),
        ("before" = Option<String>, Query, description = "only messages before this id"),
        ("after" = Option<String>, Query, description = "only messages after this id"),
        ("around" = Option<String>, Query, description = "this message and what surrounds it"),
        ("limit" = Option<u32>, Query, description = "1 to 200 (50)")),
    responses((status = 200, body = MessagePage), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn list(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(room): Segments<String>,
    params: Params,
) -> Result<Response> {
    let (asked, limit) = asked(&params)?;
    let (room, _) = http
        .directory
        .permitted(Action::Read, &RoomKey::parse(&room)?, me.user.id)
        .await?;
    let (messages, has_more) = page(&http, room.id, asked, limit).await?;
    Ok(Json(MessagePageView::new(&room.label(), &messages, has_more)).into_response())
}

/// Where to put the read marker.
#[derive(Debug, Deserialize, ToSchema)]
struct NewMarker {
    /// The message read last.
    #[schema(value_type = String, format = "uuid")]
    id: EventId,
}

/// Where the read marker stands.
#[derive(Debug, Serialize, ToSchema)]
struct Marker {
    #[schema(value_type = String, format = "uuid")]
    id: EventId,
    /// Others' messages after it; 100 means 100 or more.
    unread: u32,
}

/// Moves your read marker forward, never back
#[utoipa::path(operation_id = "mark_read", put, path = "/api/rooms/{room}/read", tag = "messages",
    params(("room" = String, Path, description = "name or id")), request_body = NewMarker,
    responses((status = 200, body = Marker), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn mark_read(
    State(http): State<Arc<Http>>,
    me: LoggedIn,
    Segments(room): Segments<String>,
    JsonBody(marker): JsonBody<NewMarker>,
) -> Result<Json<Marker>> {
    let room = http.directory.room(&RoomKey::parse(&room)?).await?;
    let id = http.directory.mark_read(me.user.id, &room, marker.id).await?;
    let unread = http.store.unread(room.id, me.user.id, Some(id)).await?.messages;
    Ok(Json(Marker { id, unread }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_around_a_message_is_full_also_near_an_end() {
        assert_eq!(shares(10, 100, 100), (5, 5));
        assert_eq!(shares(10, 2, 100), (2, 8));
        assert_eq!(shares(10, 100, 1), (9, 1));
        assert_eq!(shares(9, 100, 100), (4, 5));
        assert_eq!(shares(10, 1, 1), (1, 1));
        assert_eq!(shares(0, 1, 1), (0, 0));
    }
}
