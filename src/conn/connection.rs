//! The task of one connection, from `hello` to the last word.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;

use super::read::{self, Incoming};
use super::{Gate, requests};
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::model::{Room, RoomId, User};
use crate::rooms::actor::Command;
use crate::rooms::directory::Joined;
use crate::rooms::hub::RoomHandle;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::frame::{Decoder, close_frame, pong_frame, raw_close_frame, text_frame};
use crate::wire::inbound::JoinFrom;
use crate::wire::outbound::{LimitsView, Outbound, to_json};

/// A room that this connection reads.
#[derive(Debug)]
pub(super) struct JoinedRoom {
    pub room: Arc<Room>,
    pub handle: Arc<RoomHandle>,
}

/// The room that a one-room socket serves from the start.
#[derive(Debug)]
pub(super) struct First {
    pub opened: Joined,
    pub from: JoinFrom,
}

/// One connection's own state.
#[derive(Debug)]
pub(super) struct Connection {
    pub gate: Arc<Gate>,
    pub link: Arc<Link>,
    pub user: Arc<User>,
    pub rooms: Vec<JoinedRoom>,
    pub one_room: Option<RoomId>,
    pub bucket: crate::throttle::SendBucket,
    /// Its user's inbox arrives from other nodes.
    attending: bool,
    decoder: Decoder,
}

impl Connection {
    pub(super) fn new(gate: Arc<Gate>, link: Arc<Link>, user: Arc<User>) -> Self {
        let bucket = crate::throttle::SendBucket::new(gate.throttled, std::time::Instant::now());
        Self {
            gate,
            link,
            user,
            rooms: Vec::new(),
            one_room: None,
            bucket,
            attending: false,
            decoder: read::decoder(),
        }
    }

    /// Says hello, joins the first room, and serves what the client sent before the upgrade was complete.
    pub(super) async fn begin(&mut self, first: Option<First>, mut early: Vec<u8>) {
        self.open(first).await;
        if !early.is_empty() {
            let incoming = read::decode(&mut self.decoder, &mut early);
            self.take(incoming).await;
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self: Box<Self>) {
        loop {
            let link = Arc::clone(&self.link);
            let reading = link.waiting() == 0 && link.may_send() && !self.decoder.is_over();
            let (readable, signals) = poll_fn(|cx| link.poll(cx, reading)).await;
            if signals.dead() || link.is_dead() {
                break;
            }
            let now = self.gate.registry.seconds();
            if !link.drain(now) {
                continue;
            }
            if link.is_dead() {
                break;
            }
            if link.has_put_off() {
                Box::pin(self.drained()).await;
            }
            if readable && reading {
                let incoming = read::read(&link, &mut self.decoder, now);
                if !incoming.is_empty() {
                    // Boxed, so that an idle connection's task does not hold the room for every request's state.
                    Box::pin(self.take(incoming)).await;
                }
            }
        }
        Box::pin(self.close()).await;
        if self.link.ended_in_order() {
            Box::pin(linger(&self.link)).await;
        }
    }

    async fn open(&mut self, first: Option<First>) {
        let identity = self.link.identity();
        // Before `hello`: what concerns the user from then on is told, so the client may look at its rooms.
        if !identity.one_room {
            match self.gate.hub.attend(self.user.id).await {
                Ok(()) => self.attending = true,
                Err(error) => {
                    // It would miss what concerns its user without a word: it comes back, here or elsewhere.
                    tracing::debug!(%error, "an inbox can't be joined on the channel layer");
                    self.link.close(farewell(CloseCode::GoingAway, 2.0));
                    return;
                }
            }
        }
        let hello = text_frame(&to_json(&Outbound::Hello {
            connection: identity.connection,
            user: &self.user.name,
            user_id: self.user.id,
            superuser: self.user.superuser,
            server: concat!("natter/", env!("CARGO_PKG_VERSION")),
            limits: LimitsView::current(),
        }));
        let _ = self.link.answer(hello);
        self.gate.hub.counters().connections_opened.add(1);
        match self
            .gate
            .hub
            .presence()
            .connect(self.user.id, self.link.connection())
            .await
        {
            Ok(true) if self.gate.departures.lock().remove(&self.user.id).is_none() => {
                self.gate.hub.person(&identity.author, true, self.user.last_seen);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "presence was not told of a connection"),
        }
        if let Some(First { opened, from }) = first {
            self.one_room = Some(opened.room.id);
            requests::enter(self, opened, from, None).await;
        }
    }

    /// What was put off while something waited.
    async fn drained(&self) {
        for (room, _) in self.link.take_behind() {
            self.gate.hub.counters().fell_behind.add(1);
            if let Some(joined) = self.rooms.iter().find(|joined| joined.room.id == room) {
                let _ = joined.handle.send(Command::Drained(self.link.connection())).await;
            }
        }
        if self.link.take_notices_lost() {
            let frame = Bytes::from_static(br#"{"type":"inbox","what":"resync"}"#);
            let _ = self.link.answer(text_frame(&frame));
        }
    }

    /// Waits until everything that waits is written, or the connection is dead.
    async fn settle(&self) {
        while !self.link.is_dead() {
            poll_fn(|cx| self.link.poll(cx, false)).await;
            if self.link.drain(self.gate.registry.seconds()) {
                break;
            }
        }
        self.drained().await;
    }

    async fn take(&mut self, incoming: Vec<Incoming>) {
        for item in incoming {
            // Many small frames can fit into one read: their answers must not pile up for a client that takes none.
            if self.link.waiting() > limits::ANSWER_BYTES_RESERVED / 2 {
                self.settle().await;
            }
            if self.link.is_dead() || self.link.is_silent() {
                return;
            }
            match item {
                Incoming::Request(request) => requests::serve(self, request).await,
                Incoming::Rejected(rejected) => requests::reject(self, &rejected),
                Incoming::Ping(payload) => {
                    let _ = self.link.answer(pong_frame(&payload));
                }
                Incoming::Close(code) => {
                    let answer =
                        code.map_or_else(|| close_frame(CloseCode::Normal, ""), |code| raw_close_frame(code, ""));
                    self.link.close(answer);
                }
                Incoming::Broken(code) => self.link.close(farewell(code, 0.0)),
                Incoming::End => self.link.abort(&[]),
            }
        }
    }

    async fn close(&mut self) {
        let connection = self.link.connection();
        for joined in self.rooms.drain(..) {
            let _ = joined
                .handle
                .send(Command::Leave {
                    connection,
                    answer: None,
                })
                .await;
        }
        self.gate.registry.remove(&self.link);
        if self.attending {
            self.gate.hub.dismiss(self.user.id).await;
        }
        match self.gate.hub.presence().disconnect(self.user.id, connection).await {
            Ok(true) => {
                let author = self.link.identity().author.clone();
                self.gate
                    .departures
                    .lock()
                    .insert(self.user.id, (author, self.gate.clock.now()));
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "presence was not told of a disconnection"),
        }
    }
}

/// Reads what the peer still sends after the last word, for a moment: a socket that is closed with unread bytes sends
/// a reset, which can overtake the close frame.
async fn linger(link: &Link) {
    let discard = async {
        let mut left = limits::LINGER_BYTES_MAX;
        let mut buffer = vec![0; 4096];
        while left > 0 {
            poll_fn(|cx| link.poll_readable(cx)).await;
            match link.try_read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => left = left.saturating_sub(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(limits::LINGER, discard).await;
}
