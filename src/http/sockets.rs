//! The addresses of sockets: what is checked before the upgrade, and the refusals as problem documents.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::Http;
use super::handshake::{Handshake, bad_address};
use super::problem::Problem;
use crate::conn::{self, Gate, Held, Params, Refusal, Target, Who};
use crate::listen::Place;
use crate::rooms::directory::Error;

/// What the upgrade routes share.
#[derive(Clone)]
struct Sockets {
    http: Arc<Http>,
    gate: Arc<Gate>,
}

impl axum::extract::FromRef<Sockets> for Arc<Http> {
    fn from_ref(sockets: &Sockets) -> Self {
        Self::clone(&sockets.http)
    }
}

/// The upgrade routes of docs/protocol.md section 2; the trailing slash is optional.
pub fn sockets(http: Arc<Http>, gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/ws", get(rooms))
        .route("/ws/", get(rooms))
        .route("/ws/chat/{room}", get(room))
        .route("/ws/chat/{room}/", get(room))
        .route("/ws/direct/{user}", get(direct))
        .route("/ws/direct/{user}/", get(direct))
        .with_state(Sockets { http, gate })
}

type Pairs = Query<Vec<(String, String)>>;

async fn rooms(State(sockets): State<Sockets>, who: HandshakeOf, query: Pairs, request: Request) -> Response {
    open(sockets, who, Target::Rooms, &query, request).await
}

async fn room(
    State(sockets): State<Sockets>,
    who: HandshakeOf,
    Path(room): Path<String>,
    query: Pairs,
    request: Request,
) -> Response {
    open(sockets, who, Target::Room(room), &query, request).await
}

async fn direct(
    State(sockets): State<Sockets>,
    who: HandshakeOf,
    Path(user): Path<String>,
    query: Pairs,
    request: Request,
) -> Response {
    open(sockets, who, Target::Direct(user), &query, request).await
}

/// The checks of a handshake, from the state that these routes have.
struct HandshakeOf(Handshake);

impl axum::extract::FromRequestParts<Sockets> for HandshakeOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut http::request::Parts, sockets: &Sockets) -> Result<Self, Problem> {
        Handshake::from_request_parts(parts, &sockets.http).await.map(Self)
    }
}

async fn open(
    sockets: Sockets,
    HandshakeOf(Handshake { me, admitted }): HandshakeOf,
    target: Target,
    query: &[(String, String)],
    request: Request<Body>,
) -> Response {
    let params = match Params::parse(query) {
        Ok(params) => params,
        Err((field, detail)) => return bad_address(field, detail).into_response(),
    };
    let held = Held {
        open: request.extensions().get::<Place>().cloned(),
        opening: Some(Box::new(admitted)),
    };
    let who = Who {
        user: me.user,
        session: me.handle,
        expires_at: me.expires_at,
    };
    match conn::upgrade(sockets.gate, request, who, target, params, held).await {
        Ok(response) => response,
        Err(refusal) => problem_of(refusal).into_response(),
    }
}

fn problem_of(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotAHandshake => Problem::new("upgrade_required", refusal.to_string()),
        // In an address these are a bad request, where a body that says so is 422.
        Refusal::Rules(Error::InvalidName(error)) => bad_address("name", &error.to_string()),
        Refusal::Rules(Error::Invalid { field, detail }) => bad_address(field, &detail),
        Refusal::Rules(error) => error.into(),
    }
}
