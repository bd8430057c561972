//! Requests: one connection each, bounded in time and size.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::{ANSWER_BYTES_MAX, COOKIE, Error, PATIENCE, Result, Target, shortened};

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The session cookie that it sets, as `natter_session=...`.
    pub cookie: Option<String>,
    /// Its body.
    pub body: String,
}

/// A log-in: who, and the cookie that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user's id.
    pub id: String,
    /// The user's name.
    pub username: String,
    /// The cookie, as `natter_session=...`.
    pub cookie: String,
}

impl Answer {
    /// The body as JSON, if the status is one of success.
    ///
    /// # Errors
    /// [`Error::Refused`] with what was asked, else [`Error::Protocol`] if the body is not JSON.
    pub fn json(&self, what: &str) -> Result<Value> {
        if !self.status.is_success() {
            return Err(Error::Refused {
                what: what.to_owned(),
                status: self.status.as_u16(),
                body: shortened(&self.body),
            });
        }
        serde_json::from_str(&self.body).map_err(|error| Error::Protocol(format!("{what}: not JSON: {error}")))
    }
}

impl Target {
    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`Error`] if the connection fails or nothing comes in time; an answer of any status is none.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        cookie: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        self.request_from(None, method, path, cookie, body).await
    }

    /// [`Self::request`] from an address of this machine, as [`Self::connect`] takes it.
    ///
    /// # Errors
    /// As for [`Self::request`].
    pub async fn request_from(
        &self,
        from: Option<SocketAddr>,
        method: Method,
        path: &str,
        cookie: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let stream = self.connect(from).await?;
        tokio::time::timeout(PATIENCE, self.exchange(stream, method, path, cookie, body))
            .await
            .map_err(|_| Error::Silent("waiting for an HTTP answer"))?
    }

    async fn exchange(
        &self,
        stream: tokio::net::TcpStream,
        method: Method,
        path: &str,
        cookie: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let broken = |error: hyper::Error| Error::Broken("asking over HTTP", error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.host);
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |value| Bytes::from(value.to_string()));
        let request = request
            .body(Full::new(bytes))
            .map_err(|error| Error::Protocol(format!("the request can't be made: {error}")))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| Error::Broken("reading an HTTP answer", error.to_string()))?;
            Ok(Answer {
                status: parts.status,
                cookie: session_cookie(&parts.headers),
                body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        };
        tokio::pin!(connection);
        tokio::select! {
            biased;
            answer = exchange => answer,
            // The connection ends first only if it fails; the exchange then has nothing more to wait for.
            ended = &mut connection => Err(ended.map_or_else(broken, |()| {
                Error::Broken("asking over HTTP", "the server closed without an answer".to_owned())
            })),
        }
    }

    /// Registers a user.
    ///
    /// # Errors
    /// [`Error`], also if the name is taken.
    pub async fn register(&self, username: &str, password: &str) -> Result<Session> {
        self.open_session("/api/users", username, password).await
    }

    /// Logs a user in.
    ///
    /// # Errors
    /// [`Error`], also if name or password is wrong.
    pub async fn log_in(&self, username: &str, password: &str) -> Result<Session> {
        self.open_session("/api/session", username, password).await
    }

    async fn open_session(&self, path: &str, username: &str, password: &str) -> Result<Session> {
        let body = json!({ "username": username, "password": password });
        let answer = self.request(Method::POST, path, None, Some(&body)).await?;
        let what = format!("POST {path}");
        let me = answer.json(&what)?;
        let text = |key: &str| {
            let text = me[key].as_str().map(str::to_owned);
            text.ok_or_else(|| Error::Protocol(format!("{what}: the answer has no {key:?}")))
        };
        Ok(Session {
            id: text("id")?,
            username: text("username")?,
            cookie: answer
                .cookie
                .clone()
                .ok_or_else(|| Error::Protocol(format!("{what}: the answer sets no session cookie")))?,
        })
    }
}

fn session_cookie(headers: &http::HeaderMap) -> Option<String> {
    let cookies = headers
        .get_all(header::SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.filter_map(|value| value.split(';').next());
    pairs
        .find(|pair| pair.split_once('=').is_some_and(|(name, _)| name == COOKIE))
        .map(str::to_owned)
}
