//! One connection, from `hello` to the last word. It is a task only while there is something to do; in between it rests
//! on its seat, and what wakes it makes it a task again. So an idle connection has no task, and nothing waits for it.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::read::{self, Incoming};
use super::seat::{Seat, Sleeper};
use super::{Gate, requests};
use crate::fanout::{Link, Outlet};
use crate::limits;
use crate::listen::Place;
use crate::model::{Room, RoomId, User, UserId};
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
    pub rooms: Vec<JoinedRoom>,
    pub one_room: Option<RoomId>,
    pub bucket: crate::throttle::SendBucket,
    /// Its user's inbox arrives from other nodes.
    attending: bool,
    decoder: Decoder,
    /// Counts for as long as it is open.
    _place: Option<Place>,
}

/// What is next for a connection.
enum Next {
    /// There is nothing to do but for what may be read (if `reading`), or what it is woken for.
    Rest { reading: bool },
    /// It has ended.
    End,
}

impl Sleeper for Connection {
    fn woken(self, seat: Arc<Seat<Self>>) {
        let runtime = self.gate.runtime.clone();
        runtime.spawn(self.run(seat));
    }
}

impl Connection {
    pub(super) fn new(gate: Arc<Gate>, link: Arc<Link>, place: Option<Place>) -> Self {
        let bucket = crate::throttle::SendBucket::new(gate.throttled, std::time::Instant::now());
        Self {
            gate,
            link,
            rooms: Vec::new(),
            one_room: None,
            bucket,
            attending: false,
            decoder: read::decoder(),
            _place: place,
        }
    }

    /// Whose connection it is.
    pub(super) fn user(&self) -> UserId {
        self.link.author().id
    }

    /// Says hello, joins the first room, and serves what the client sent before the upgrade was complete.
    pub(super) async fn begin(&mut self, user: &User, first: Option<First>, mut early: Vec<u8>) {
        self.open(user, first).await;
        if !early.is_empty() {
            let incoming = read::decode(&mut self.decoder, &mut early);
            self.take(incoming).await;
        }
    }

    /// Serves the connection until it ends, or has nothing to do and rests on its seat.
    pub(super) async fn run(mut self, seat: Arc<Seat<Self>>) {
        loop {
            match AssertUnwindSafe(self.work()).catch_unwind().await {
                Ok(Next::Rest { reading }) => match self.rest(&seat, reading) {
                    Some(awake) => self = awake,
                    None => return,
                },
                Ok(Next::End) => break,
                Err(_) => {
                    self.fail();
                    break;
                }
            }
        }
        // A panic of its own would leave it among the others for ever.
        let _ = AssertUnwindSafe(Box::pin(self.end())).catch_unwind().await;
        self.gate.registry.release(&self.link);
    }

    /// Ends it because of a defect: what it was about to do was done in part, and only its client can tell what.
    pub(super) fn fail(&self) {
        self.link.abort(&farewell(CloseCode::Internal, 2.0));
    }

    /// Does what there is to do.
    async fn work(&mut self) -> Next {
        loop {
            let reading = self.link.waiting() == 0 && self.link.may_send() && !self.decoder.is_over();
            let Some(signals) = self.link.look(reading) else {
                return Next::Rest { reading };
            };
            if signals.dead() || self.link.is_dead() {
                return Next::End;
            }
            // A client for which there is always something is served in turn with all others.
            tokio::task::coop::consume_budget().await;
            let now = self.gate.registry.seconds();
            if !self.link.drain(now) {
                continue;
            }
            if self.link.is_dead() {
                return Next::End;
            }
            if self.link.has_put_off() {
                Box::pin(self.drained()).await;
            }
            if reading && signals.readable() {
                let incoming = read::read(&self.link, &mut self.decoder, now);
                if !incoming.is_empty() {
                    // Boxed, so that who only answers a ping does not hold the room for every request's state.
                    Box::pin(self.take(incoming)).await;
                }
            }
        }
    }

    /// Rests until something wakes it; if something has happened meanwhile it goes on at once.
    fn rest(self, seat: &Arc<Seat<Self>>, reading: bool) -> Option<Self> {
        if self.link.rest(&Waker::from(Arc::clone(seat)), reading) {
            seat.sit(self)
        } else {
            Some(self)
        }
    }

    async fn end(&mut self) {
        self.close().await;
        if self.link.ended_in_order() {
            linger(&self.link).await;
        }
    }

    async fn open(&mut self, user: &User, first: Option<First>) {
        let identity = self.link.identity();
        // Before `hello`: what concerns the user from then on is told, so the client may look at its rooms.
        if !identity.one_room {
            match self.gate.hub.attend(user.id).await {
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
            user: &user.name,
            user_id: user.id,
            superuser: user.superuser,
            server: concat!("natter/", env!("CARGO_PKG_VERSION")),
            limits: LimitsView::current(),
        }));
        let _ = self.link.answer(hello);
        self.gate.hub.counters().connections_opened.add(1);
        match self.gate.hub.presence().connect(user.id, self.link.connection()).await {
            Ok(true) if self.gate.departures.lock().remove(&user.id).is_none() => {
                self.gate.hub.person(&identity.author, true, user.last_seen);
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
            self.gate.hub.dismiss(self.user()).await;
        }
        match self.gate.hub.presence().disconnect(self.user(), connection).await {
            Ok(true) => {
                let author = self.link.identity().author.clone();
                self.gate
                    .departures
                    .lock()
                    .insert(self.user(), (author, self.gate.clock.now()));
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
