//! What requests bring along, read strictly: JSON bodies, query parameters and parts of the address. Whatever is wrong
//! becomes a problem document that names the field.

use std::str::FromStr;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::limits;
use crate::model::{EventId, Name};

/// A JSON object as the body.
#[derive(Debug, Clone, Copy)]
pub struct JsonBody<T>(pub T);

/// A JSON object as the body, or no body at all.
#[derive(Debug, Clone, Copy)]
pub struct OptionalBody<T>(pub Option<T>);

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// All of a body.
pub(super) async fn whole(body: Body) -> Result<bytes::Bytes, Problem> {
    to_bytes(body, limits::BODY_BYTES_MAX).await.map_err(|error| {
        let too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if too_large {
            Problem::new(
                "too_large",
                format!("the body holds more than {} bytes", limits::BODY_BYTES_MAX),
            )
        } else {
            Problem::new("bad_request", "the body broke off")
        }
    })
}

async fn read(headers: &HeaderMap, body: Body) -> Result<bytes::Bytes, Problem> {
    let bytes = whole(body).await?;
    // Forms of foreign pages can't send this type without asking first, so it is a second wall beside the origin.
    if !bytes.is_empty() && !is_json(headers) {
        return Err(Problem::new(
            "invalid_json",
            "send a JSON object with the header Content-Type: application/json",
        ));
    }
    Ok(bytes)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(Problem::new("invalid_json", "the body is not a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => at_field(&path, &inner.to_string()),
            _ => Problem::new("invalid_json", format!("the body is not JSON: {inner}")),
        }
    })?;
    json.end()
        .map_err(|error| Problem::new("invalid_json", format!("the body is not one JSON object: {error}")))?;
    Ok(value)
}

/// Serde names a missing field in its text and a wrong one in the path.
fn at_field(path: &str, text: &str) -> Problem {
    // Line and column of a body that a program wrote help nobody.
    let text = text.split(" at line ").next().unwrap_or(text);
    let missing = text
        .strip_prefix("missing field `")
        .and_then(|rest| rest.split('`').next());
    match missing {
        Some(field) => Problem::invalid(field, format!("{field}: this field is missing")),
        None => Problem::invalid(path, format!("{path}: {text}")),
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        decode(&read(&parts.headers, body).await?).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body).await?;
        let value = if bytes.is_empty() { None } else { Some(decode(&bytes)?) };
        Ok(Self(value))
    }
}

/// The parts of the address that a route names.
#[derive(Debug, Clone, Copy)]
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::new("bad_request", format!("the address: {rejection}"))),
        }
    }
}

/// The query parameters. Unknown ones are ignored; of one that is given twice the first counts.
#[derive(Debug, Clone)]
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(rejection) => Err(Problem::new("bad_request", format!("the query: {rejection}"))),
        }
    }
}

impl Params {
    /// A parameter as it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|pair| pair.0 == name);
        pair.map(|pair| pair.1.as_str())
    }

    /// A text to search for, empty if none was given.
    ///
    /// # Errors
    /// A problem if it is longer than any name or title.
    pub fn search(&self) -> Result<&str, Problem> {
        let text = self.get("q").unwrap_or_default();
        if text.chars().nth(limits::SEARCH_CHARS_MAX).is_some() {
            let most = limits::SEARCH_CHARS_MAX;
            return Err(Problem::invalid("q", format!("q: at most {most} characters")));
        }
        Ok(text)
    }

    /// How many are wanted, from 1 to `most`.
    ///
    /// # Errors
    /// A problem if it is no such number.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else {
            return Ok(default);
        };
        match text.parse() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(Problem::invalid(
                "limit",
                format!("limit: expected a number from 1 to {most}, got \"{}\"", short(text)),
            )),
        }
    }

    fn parsed<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(Problem::invalid(
                name,
                format!("{name}: expected {expected}, got \"{}\"", short(text)),
            )),
        }
    }

    /// The id of a message or event.
    ///
    /// # Errors
    /// A problem if it is none.
    pub fn event_id(&self, name: &'static str) -> Result<Option<EventId>, Problem> {
        self.parsed(name, "the id of a message")
    }

    /// Any id or number that reads from text.
    ///
    /// # Errors
    /// A problem if it does not read.
    pub fn id<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem> {
        self.parsed(name, "an id")
    }

    /// A name.
    ///
    /// # Errors
    /// A problem if it breaks the rules for names.
    pub fn name(&self, name: &'static str) -> Result<Option<Name>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match Name::parse(text) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(Problem::invalid(name, format!("{name}: {error}"))),
        }
    }
}

/// The beginning of what a client sent, for an error that repeats it.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Form {
        username: String,
        #[serde(default)]
        age: u32,
    }

    fn refused(body: &str) -> serde_json::Value {
        serde_json::to_value(decode::<Form>(body.as_bytes()).unwrap_err()).unwrap()
    }

    #[test]
    fn bad_bodies_name_the_field() {
        let form: Form = decode(br#" {"username": "ann", "age": 3, "new": null} "#).unwrap();
        assert_eq!((form.username.as_str(), form.age), ("ann", 3));
        assert_eq!(refused("{}")["field"], "username");
        assert_eq!(refused(r#"{"username": 1}"#)["field"], "username");
        assert_eq!(refused(r#"{"username": "a", "age": -1}"#)["field"], "age");
        assert_eq!(refused(r#"{"username": 1}"#)["code"], "invalid_request");
        for broken in ["", "[\"ann\"]", "null", "{", "{\"username\": \"a\"} x", "{username: 1}"] {
            assert_eq!(refused(broken)["code"], "invalid_json", "{broken}");
        }
    }

    #[test]
    fn parameters_say_what_they_expect() {
        let params = Params(vec![("limit".into(), "0".into()), ("before".into(), "x".into())]);
        assert!(params.limit(50, 200).is_err());
        assert!(params.event_id("before").is_err());
        assert!(params.event_id("after").unwrap().is_none());
        assert_eq!(Params(Vec::new()).limit(50, 200), Ok(50));
    }
}
