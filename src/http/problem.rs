//! Problem documents (RFC 9457): the one place where an error becomes a status.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::rooms::directory;
use crate::sessions::password;
use crate::{presence, sessions, store, throttle};

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    row: &'static Row,
    detail: Box<str>,
    retry_after: Option<f64>,
    field: Option<Box<str>>,
}

/// Why a request was not done (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// Names the kind of problem: `urn:natter:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in words; always the same for one code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, where, and what to do.
    detail: &'a str,
    /// A stable code of docs/protocol.md section 6.
    code: &'static str,
    /// Seconds to wait before trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<f64>,
    /// The field or parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<&'a str>,
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> std::borrow::Cow<'static, str> {
        "Problem".into()
    }
}

/// The result of a request.
pub type Result<T> = std::result::Result<T, Problem>;

/// Code, status and title.
type Row = (&'static str, u16, &'static str);

/// Status and title of each code. The first stands for those that are missing here, which is a defect.
const CODES: &[Row] = &[
    ("internal", 500, "A defect of the server"),
    ("invalid_json", 400, "Not a JSON object"),
    ("bad_request", 400, "Not a valid request"),
    (
        "invalid_request",
        422,
        "A field is missing, of the wrong kind or out of bounds",
    ),
    ("invalid_name", 422, "Not a valid name"),
    ("invalid_password", 422, "Not a valid password"),
    ("message_empty", 422, "The message is empty"),
    ("message_too_long", 422, "The message is too long"),
    ("not_logged_in", 401, "Not logged in"),
    ("bad_credentials", 401, "Wrong user name or password"),
    ("forbidden", 403, "Not allowed"),
    ("banned", 403, "Banned from this room"),
    ("bad_origin", 403, "A request from another site"),
    ("registration_closed", 403, "Registration needs an invite or is closed"),
    ("not_found", 404, "Not found"),
    ("method_not_allowed", 405, "No such method here"),
    ("name_taken", 409, "The name is taken"),
    ("nonce_reused", 409, "The nonce was used before"),
    ("archived", 409, "The room is read-only"),
    ("room_limit", 409, "In too many rooms"),
    ("too_large", 413, "The request is too large"),
    ("upgrade_required", 426, "A WebSocket handshake is needed"),
    ("rate_limited", 429, "Too many requests"),
    ("refused", 503, "The server cannot store now"),
    ("unknown_outcome", 503, "It may or may not be stored"),
    ("unavailable", 503, "Out of reach for now"),
    ("timeout", 503, "It took too long"),
];

impl Problem {
    /// A problem by its code; a code that is not in the table is a defect and becomes one.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<Box<str>>) -> Self {
        Self {
            row: CODES.iter().find(|row| row.0 == code).unwrap_or(&CODES[0]),
            detail: detail.into(),
            retry_after: None,
            field: None,
        }
    }

    /// The same problem, with the field that is wrong.
    #[must_use]
    pub fn at(mut self, field: impl Into<Box<str>>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same problem, with the seconds to wait.
    #[must_use]
    pub const fn retry_after(mut self, seconds: f64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A field that is missing, of the wrong kind or out of bounds.
    #[must_use]
    pub fn invalid(field: impl Into<Box<str>>, detail: impl Into<Box<str>>) -> Self {
        Self::new("invalid_request", detail).at(field)
    }

    /// No valid session.
    #[must_use]
    pub fn not_logged_in() -> Self {
        Self::new("not_logged_in", "log in first: this request needs a valid session")
    }

    /// Something does not exist, or not for the asker.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new("not_found", format!("there is no such {what}, or it is not for you"))
    }

    /// Too many; wait.
    #[must_use]
    pub fn rate_limited(what: &str, wait: std::time::Duration) -> Self {
        let seconds = wait.as_secs_f64().max(0.1);
        Self::new(
            "rate_limited",
            format!("too many {what}: try again in {} s", seconds.ceil()),
        )
        .retry_after(seconds)
    }

    /// A defect; the cause is for the log alone.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed for a defect");
        Self::new(
            "internal",
            "the server has a defect and could not do this: please report it",
        )
    }

    /// Something that the server depends on is out of reach; the cause is for the log alone.
    #[must_use]
    pub fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::warn!(%cause, "a request failed because something is out of reach");
        Self::new(
            "unavailable",
            "something the server depends on is out of reach: try again",
        )
        .retry_after(2.0)
    }

    /// The document for an error that came with a status and nothing else.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                "method_not_allowed",
                "this address does not know the method; see the Allow header",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new("too_large", "the request is too large"),
            StatusCode::UPGRADE_REQUIRED => Self::new("upgrade_required", "a WebSocket handshake is needed"),
            StatusCode::SERVICE_UNAVAILABLE => Self::new("unavailable", "try again").retry_after(2.0),
            status if status.is_client_error() => Self::new("bad_request", "the request can't be understood"),
            _ => Self::new(
                "internal",
                "the server has a defect and could not do this: please report it",
            ),
        }
    }

    /// What problems of a status are about, where several codes share it in general words.
    #[must_use]
    pub(super) fn title_of(status: &str) -> &'static str {
        match status {
            "401" => "Not logged in, or wrong credentials",
            "403" => "Not allowed",
            "409" => "It is in the way of something that exists",
            "422" => "A field is missing, of the wrong kind or out of bounds",
            status => CODES
                .iter()
                .find(|row| row.1.to_string() == status)
                .map_or("A problem", |row| row.2),
        }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.row.0
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (code, status, title) = *self.row;
        let document = Document {
            kind: format!("urn:natter:{code}"),
            title,
            status,
            detail: &self.detail,
            code,
            retry_after: self.retry_after,
            field: self.field.as_deref(),
        };
        document.serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.row.1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            // The header knows whole seconds only; rounding up keeps its promise. Waits are hours at most.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped just before"
            )]
            let whole = seconds.ceil().clamp(1.0, 86_400.0) as u64;
            headers.insert(RETRY_AFTER, HeaderValue::from(whole));
        }
        response
    }
}

impl From<directory::Error> for Problem {
    fn from(error: directory::Error) -> Self {
        if let Some(cause) = error.cause() {
            match &error {
                directory::Error::Internal(_) => tracing::error!(%cause, "a request failed for a defect"),
                _ => tracing::warn!(%cause, code = error.code(), "a request could not be done"),
            }
        }
        let mut problem = Self::new(error.code(), error.to_string());
        problem.retry_after = error.retry_after();
        problem.field = match &error {
            directory::Error::Invalid { field, .. } => Some((*field).into()),
            directory::Error::InvalidName(_) => Some("name".into()),
            directory::Error::Body(_) => Some("message".into()),
            _ => None,
        };
        problem
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        directory::Error::from(error).into()
    }
}

impl From<sessions::Error> for Problem {
    fn from(error: sessions::Error) -> Self {
        directory::Error::from(error).into()
    }
}

impl From<presence::Error> for Problem {
    fn from(error: presence::Error) -> Self {
        directory::Error::from(error).into()
    }
}

impl From<throttle::Error> for Problem {
    fn from(error: throttle::Error) -> Self {
        Self::unavailable(&error)
    }
}

impl From<tower_sessions::session::Error> for Problem {
    fn from(error: tower_sessions::session::Error) -> Self {
        Self::unavailable(&error)
    }
}

impl From<password::Error> for Problem {
    fn from(error: password::Error) -> Self {
        match error {
            password::Error::Busy => Self::new("unavailable", error.to_string()).retry_after(3.0),
            password::Error::Damaged(_) | password::Error::Failed(_) => Self::internal(&error),
        }
    }
}
