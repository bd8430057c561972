//! The handshake: from an HTTP request to a running connection.
//!
//! Who asks and from where is checked by the caller, before; whatever the rules say of the room comes before the
//! upgrade too, so that a refusal is an HTTP answer.

use std::any::Any;
use std::net::TcpStream;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use fastwebsockets::upgrade::UpgradeFut;
use futures_util::FutureExt as _;
use http::{HeaderValue, Request, header};
use hyper_util::rt::TokioIo;

use super::Gate;
use super::connection::{Connection, First};
use crate::fanout::{Identity, Link, Socket};
use crate::listen::Place;
use crate::model::{ConnectionId, EventId, Timestamp, User};
use crate::rooms::directory::{self, Joined, author_of};
use crate::sessions::SessionHandle;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::inbound::{Digest, JoinFrom};

/// The subprotocol spoken here.
const SUBPROTOCOL: &str = "natter.v1";
/// What every version's subprotocol begins with.
const SUBPROTOCOL_FAMILY: &str = "natter.";

/// Who opens a socket.
#[derive(Debug, Clone)]
pub struct Who {
    /// The user.
    pub user: Arc<User>,
    /// By which session.
    pub session: SessionHandle,
    /// When that session ends by itself.
    pub expires_at: Timestamp,
}

/// Which address was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `/ws`
    Rooms,
    /// `/ws/chat/{room}/`
    Room(String),
    /// `/ws/direct/{user}/`
    Direct(String),
}

/// What the query says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// From where to resume.
    pub from: JoinFrom,
    /// Whether the connection gets its own messages.
    pub echo: bool,
}

impl Params {
    /// Reads `since`, `have`, `latest` and `echo`; others are ignored.
    ///
    /// # Errors
    /// The parameter, and what it must be.
    pub fn parse(pairs: &[(String, String)]) -> Result<Self, (&'static str, &'static str)> {
        let mut params = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "since" => match EventId::parse(value) {
                    Ok(id) => params.from.since = Some(id),
                    Err(_) => return Err(("since", "must be the id of a message or event")),
                },
                "have" => match Digest::parse(value) {
                    None => return Err(("have", "must be a digest COUNT.XOR or COUNT.XOR.FROM")),
                    digest => params.from.have = digest,
                },
                "latest" => match value.parse() {
                    Ok(latest) if latest <= crate::limits::JOIN_MESSAGES => params.from.latest = latest,
                    _ => return Err(("latest", "must be a number from 0 to 50")),
                },
                "echo" => match value.as_str() {
                    "1" | "true" => params.echo = true,
                    "0" | "false" => params.echo = false,
                    _ => return Err(("echo", "must be 0 or 1")),
                },
                _ => {}
            }
        }
        Ok(params)
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not a WebSocket handshake of version 13: 426.
    #[error("this address wants a WebSocket handshake of version 13")]
    NotAHandshake,
    /// What the rules say.
    #[error(transparent)]
    Rules(#[from] directory::Error),
}

/// What is held for a socket and dropped at its time.
#[derive(Default)]
pub struct Held {
    /// For as long as it is open.
    pub open: Option<Place>,
    /// Until it is open.
    pub opening: Option<Box<dyn Any + Send + Sync>>,
}

/// Answers a handshake and starts the connection.
///
/// # Errors
/// [`Refusal`], before anything was upgraded.
pub async fn upgrade(
    gate: Arc<Gate>,
    mut request: Request<Body>,
    who: Who,
    target: Target,
    params: Params,
    held: Held,
) -> Result<Response, Refusal> {
    if !is_handshake(&request) {
        return Err(Refusal::NotAHandshake);
    }
    let opened = opened(&gate, &who, &target).await?;
    let (chosen, too_old) = subprotocol(&request);
    let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request).map_err(|_| Refusal::NotAHandshake)?;
    let mut response = response.map(|_| Body::empty());
    if let Some(chosen) = chosen {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    let newcomer = Newcomer::new(gate, ConnectionId::random(), who, &target, params, opened, held);
    tokio::spawn(async move {
        if let Some((stream, early)) = raw_socket(upgraded).await {
            newcomer.serve(stream.into(), too_old, early).await;
        }
    });
    Ok(response)
}

/// Starts a connection over a stream that needs no handshake, for whoever runs a server without a network.
///
/// # Errors
/// [`Refusal`], before anything was started.
pub async fn connect(
    gate: Arc<Gate>,
    socket: Socket,
    connection: ConnectionId,
    who: Who,
    target: Target,
    params: Params,
) -> Result<(), Refusal> {
    let opened = opened(&gate, &who, &target).await?;
    let newcomer = Newcomer::new(gate, connection, who, &target, params, opened, Held::default());
    tokio::spawn(newcomer.serve(socket, false, Vec::new()));
    Ok(())
}

/// The room that a socket serves from the start, as far as the rules open it.
async fn opened(gate: &Gate, who: &Who, target: &Target) -> Result<Option<Joined>, Refusal> {
    Ok(match target {
        Target::Rooms => None,
        Target::Room(room) => Some(gate.directory.open_or_join(who.user.id, room).await?),
        Target::Direct(user) => Some(gate.directory.open_direct(&who.user, user).await?),
    })
}

/// What a connection is made of.
struct Newcomer {
    gate: Arc<Gate>,
    identity: Identity,
    first: Option<First>,
    who: Who,
    held: Held,
}

impl Newcomer {
    fn new(
        gate: Arc<Gate>,
        connection: ConnectionId,
        who: Who,
        target: &Target,
        params: Params,
        opened: Option<Joined>,
        held: Held,
    ) -> Self {
        let identity = Identity {
            connection,
            author: author_of(&who.user),
            session: who.session.clone(),
            one_room: *target != Target::Rooms,
            echo: params.echo,
        };
        let first = opened.map(|opened| First {
            opened,
            from: params.from,
        });
        Self {
            gate,
            identity,
            first,
            who,
            held,
        }
    }

    /// Serves the connection until it ends or rests.
    async fn serve(self, socket: Socket, too_old: bool, early: Vec<u8>) {
        // Boxed and gone once it is open: a busy connection goes on in this task.
        if let Some(connection) = Box::pin(self.open(socket, too_old, early)).await {
            connection.run(Arc::default()).await;
        }
    }

    /// Takes the socket over and brings the connection to where it only waits.
    async fn open(self, socket: Socket, too_old: bool, early: Vec<u8>) -> Option<Connection> {
        let Self { gate, who, held, .. } = self;
        let link = Arc::new(Link::new(
            self.identity,
            socket,
            Arc::clone(gate.registry.traffic()),
            gate.registry.seconds(),
            who.expires_at,
        ));
        if too_old {
            link.abort(&farewell(CloseCode::ClientTooOld, 0.0));
            return None;
        }
        if let Err(error) = gate.registry.add(&link) {
            tracing::warn!(%error, "a socket can't be watched");
            link.abort(&farewell(CloseCode::GoingAway, 2.0));
            return None;
        }
        let mut connection = Connection::new(gate, link, held.open);
        let beginning = async {
            // Registered first, checked second: a log-out between the handshake and here is not missed.
            match connection.gate.sessions.live(&who.session).await {
                Ok(Some(_)) => {}
                Ok(None) => connection.link.abort(&farewell(CloseCode::LoggedOut, 0.0)),
                Err(_) => connection.link.abort(&farewell(CloseCode::GoingAway, 2.0)),
            }
            drop(held.opening);
            connection.begin(&who.user, self.first, early).await;
        };
        if AssertUnwindSafe(beginning).catch_unwind().await.is_err() {
            connection.fail();
        }
        Some(connection)
    }
}

fn is_handshake<B>(request: &Request<B>) -> bool {
    let has = |name, word: &str| {
        let values = request
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(word))
    };
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
    request.method() == http::Method::GET
        && has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && has(header::SEC_WEBSOCKET_VERSION, "13")
        && key.is_some_and(|key| key.len() == 24)
}

/// The subprotocol to answer with, and whether the client speaks only versions that are gone.
fn subprotocol<B>(request: &Request<B>) -> (Option<HeaderValue>, bool) {
    let offered: Vec<&str> = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if offered.contains(&SUBPROTOCOL) {
        return (Some(HeaderValue::from_static(SUBPROTOCOL)), false);
    }
    match offered.iter().find(|offer| offer.starts_with(SUBPROTOCOL_FAMILY)) {
        Some(old) => (HeaderValue::from_str(old).ok(), true),
        None => (None, false),
    }
}

/// The TCP socket under the upgraded connection, and what the client has sent already.
async fn raw_socket(upgraded: UpgradeFut) -> Option<(TcpStream, Vec<u8>)> {
    let upgraded = match upgraded.await {
        Ok(websocket) => websocket.into_inner().into_inner(),
        Err(error) => {
            tracing::debug!(%error, "a handshake was not completed");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<TokioIo<tokio::net::TcpStream>>() else {
        tracing::error!("an upgraded connection is not a TCP stream: the listener is not ours");
        return None;
    };
    // The runtime's watch ends here; the registry's begins.
    match parts.io.into_inner().into_std() {
        Ok(stream) => Some((stream, parts.read_buf.to_vec())),
        Err(error) => {
            tracing::debug!(%error, "a socket was gone before it was taken over");
            None
        }
    }
}
