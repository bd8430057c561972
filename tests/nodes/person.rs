//! One person of a crowd: writes, edits, deletes, hears, loses connections and resumes on any node, as a real client
//! does, and has all of it written down.

mod acting;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use natter::client::Target;
use natter::model::EventId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common::{Got, Open, PASSWORD, User};
use crate::ground::{Ground, Phase, Standing};
use crate::judge::history::{Connection, Deed, Event, Op, Row};
use crate::parting::Parting;

/// How long a connection may be silent, although it was pinged, before it is given up.
const SILENCE_MAX: Duration = Duration::from_secs(8);
/// The same for one that was revoked: a paused node may still have something to tell it when it goes on.
const LINGER: Duration = Duration::from_secs(40);
/// After so much silence it is pinged.
const QUIET: Duration = Duration::from_secs(3);
/// How long an open request waits until it is sent again on the same connection.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Requests without an answer that one person has at most.
const OPEN_MAX: usize = 8;

struct Pending {
    deed: Deed,
    attempts: u32,
    /// When to send it again; `None` as long as an answer may come.
    again: Option<Instant>,
}

/// A member of a crowd.
pub struct Person {
    number: u32,
    user: User,
    ground: Arc<Ground>,
    random: StdRng,
    cursor: Option<EventId>,
    own: Vec<EventId>,
    heard: Option<EventId>,
    /// Its read marker as it was told.
    mark: Option<EventId>,
    open: BTreeMap<Op, Pending>,
    /// Who it talks to now.
    node: usize,
    /// After so many more deeds it is silenced.
    stays: u32,
    /// It wants to be silenced as soon as nothing is open.
    leaving: Option<Parting>,
    /// It is being silenced; true once that was acknowledged.
    parting: Option<JoinHandle<bool>>,
    /// How long to stay away, as the server asked.
    asked: Option<Duration>,
    standing: Arc<Mutex<Standing>>,
}

fn id(value: &Value) -> Option<EventId> {
    value.as_str().and_then(|text| EventId::parse(text).ok())
}

impl Person {
    /// Someone who is registered.
    pub fn new(number: u32, user: User, ground: Arc<Ground>, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let parts = ground.parts;
        Self {
            number,
            user,
            ground,
            stays: if parts { random.random_range(10..50) } else { u32::MAX },
            random,
            cursor: None,
            own: Vec::new(),
            heard: None,
            mark: None,
            open: BTreeMap::new(),
            node: 0,
            leaving: None,
            parting: None,
            asked: None,
            standing: Arc::default(),
        }
    }

    /// What others can see of it.
    pub fn standing(&self) -> Arc<Mutex<Standing>> {
        Arc::clone(&self.standing)
    }

    /// Comes back again and again until it is over.
    pub async fn live(mut self) {
        let mut phase = self.ground.phase.subscribe();
        loop {
            if *phase.borrow() == Phase::Over {
                return;
            }
            let connection = self.ground.recorder.number();
            let over = self.visit(connection, &mut phase).await;
            if over {
                return;
            }
            self.standing.lock().live = false;
            self.record(Event::Closed { connection });
            self.leaving = None;
            if let Some(parting) = self.parting.take() {
                // Or its second attempt would silence the next connection.
                parting.await.expect("a parting");
            }
            let lost: Vec<Op> = self
                .open
                .iter()
                .filter(|(_, one)| one.again.is_none())
                .map(|(op, _)| *op)
                .collect();
            for op in lost {
                self.unknown(op);
            }
            match self.asked.take() {
                Some(delay) => {
                    tokio::time::sleep(delay).await;
                    self.ground.returns.lock().push(Instant::now());
                }
                None => {
                    let pause = self.random.random_range(50..400);
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
        }
    }

    fn record(&self, event: Event) {
        self.ground.recorder.record(event);
    }

    /// One connection, from its opening to its end; true if it is still open because everything is over.
    async fn visit(&mut self, connection: Connection, phase: &mut watch::Receiver<Phase>) -> bool {
        let (node, address) = self.ground.any_node(&mut self.random);
        self.node = node;
        let room = self.ground.room.clone();
        self.record(Event::Opened {
            connection,
            client: self.number,
            node: node.to_string(),
        });
        self.record(Event::Joining {
            connection,
            room: room.clone(),
            since: self.cursor,
        });
        let since = self
            .cursor
            .map_or_else(String::new, |cursor| format!("&since={cursor}"));
        let open = Open::new(address, &format!("/ws/chat/{room}/?echo=1{since}")).cookie(&self.user.cookie);
        let mut socket = match open.try_open(HANDSHAKE).await {
            Ok(Ok(socket)) => socket,
            Ok(Err((401, _))) => {
                self.log_in(address).await;
                return false;
            }
            Ok(Err(_)) | Err(_) => return false,
        };
        let mut live = false;
        let mut heard = Instant::now();
        let mut pinged = false;
        let mut next = tokio::time::Instant::now();
        loop {
            let now = *phase.borrow();
            tokio::select! {
                got = socket.next() => {
                    (heard, pinged) = (Instant::now(), false);
                    match got {
                        Got::Frame(frame, _) => live |= self.take(connection, &frame),
                        Got::Close(4101 | 4200..=4202 | 4206) => {
                            self.log_in(address).await;
                            return false;
                        }
                        Got::Close(_) | Got::End => return false,
                    }
                }
                () = tokio::time::sleep_until(next) => {
                    next += Duration::from_millis(self.random.random_range(self.ground.pace.clone()));
                    if live && !self.act(connection, &mut socket, now).await {
                        return false;
                    }
                }
                _ = phase.changed() => {}
            }
            if *phase.borrow() == Phase::Over {
                return true;
            }
            let patience = if self.parting.is_some() { LINGER } else { SILENCE_MAX };
            if heard.elapsed() > patience {
                return false;
            }
            if heard.elapsed() > QUIET && !pinged && self.parting.is_none() {
                socket.send(json!({ "type": "ping" })).await;
                pinged = true;
            }
        }
    }

    async fn log_in(&mut self, address: SocketAddr) {
        let log_in = async { Target::at(address).log_in(&self.user.username, PASSWORD).await };
        if let Ok(Ok(user)) = tokio::time::timeout(HANDSHAKE, log_in).await {
            self.user = user;
        }
    }

    /// Takes a frame; true if it says that the room is live.
    fn take(&mut self, connection: Connection, frame: &Value) -> bool {
        let room = self.ground.room.clone();
        let text = frame["message"].as_str().unwrap_or_default().to_owned();
        let row = |id, deleted| Row {
            id,
            token: text.clone(),
            deleted,
        };
        let own = id(&frame["id"]);
        match (frame["type"].as_str().expect("a type"), own) {
            ("message", Some(message)) => {
                let row = row(message, frame["deleted"] == true);
                let late = frame["late"] == true;
                self.shown(&row);
                self.heard = Some(message);
                self.see(id(&frame["event_id"]).or(own));
                self.record(Event::Shown {
                    connection,
                    room,
                    row,
                    late,
                });
            }
            (kind @ ("edited" | "deleted"), Some(message)) => {
                let row = row(message, kind == "deleted");
                let change = id(&frame["event_id"]).expect("an event id");
                self.shown(&row);
                self.see(Some(change));
                self.record(Event::Changed {
                    connection,
                    room,
                    change,
                    row,
                });
            }
            ("ack", _) => self.acknowledged(frame),
            ("error", _) => self.refused(frame),
            ("bye", _) => self.asked = frame["delay"].as_f64().map(Duration::from_secs_f64),
            ("reset", _) => {
                let from = id(&frame["from"]).expect("a cursor");
                self.record(Event::Reset {
                    connection,
                    room,
                    from,
                    to: id(&frame["to"]),
                });
            }
            ("joined", _) => self.marked(id(&frame["read"]), true),
            ("read", Some(mark)) => self.marked(Some(mark), false),
            ("live", _) => {
                self.see(id(&frame["cursor"]));
                let mut standing = self.standing.lock();
                (standing.live, standing.parting) = (true, None);
                drop(standing);
                self.record(Event::Live { connection, room });
                return true;
            }
            _ => {}
        }
        false
    }

    /// Notes its read marker as it was told; one that has gone is one that went back.
    fn marked(&mut self, mark: Option<EventId>, may_be_none: bool) {
        let gone = self.mark.filter(|_| may_be_none).map(|_| EventId::new(0, 0, 0));
        if let Some(id) = mark.or(gone) {
            self.mark = self.mark.max(Some(id));
            let (client, room) = (self.number, self.ground.room.clone());
            self.record(Event::Marked { client, room, id });
        }
    }

    fn see(&mut self, seen: Option<EventId>) {
        self.cursor = self.cursor.max(seen);
    }

    fn shown(&self, row: &Row) {
        let mut standing = self.standing.lock();
        let entry = standing.rows.entry(row.id.attempt_hash()).or_default();
        if !entry.1 {
            *entry = (row.token.clone(), row.deleted);
        }
    }

    fn op(frame: &Value) -> Option<Op> {
        frame["ref"].as_u64().and_then(|number| Op::try_from(number).ok())
    }

    fn acknowledged(&mut self, frame: &Value) {
        let Some((op, pending)) = Self::op(frame).and_then(|op| self.open.remove_entry(&op)) else {
            return;
        };
        let message = id(&frame["id"]).expect("an id");
        let id = id(&frame["event_id"]).unwrap_or(message);
        if matches!(pending.deed, Deed::Send { .. }) {
            self.own.push(message);
        }
        self.standing.lock().open = self.open.len();
        self.record(Event::Acknowledged { op, id });
    }

    fn refused(&mut self, frame: &Value) {
        let Some(op) = Self::op(frame).filter(|op| self.open.contains_key(op)) else {
            return;
        };
        let open = matches!(frame["code"].as_str(), Some("unknown_outcome" | "timeout" | "internal"));
        if open || self.open[&op].attempts > 1 {
            // What an earlier attempt may have stored is asked for again until it is known.
            self.unknown(op);
        } else {
            self.open.remove(&op);
            self.record(Event::Refused { op });
        }
        self.standing.lock().open = self.open.len();
    }

    fn unknown(&mut self, op: Op) {
        self.record(Event::Unknown { op });
        let pending = self.open.get_mut(&op).expect("it is open");
        if matches!(pending.deed, Deed::Send { .. }) {
            pending.again = Some(Instant::now() + AGAIN);
        } else {
            // Only sends can be repeated safely.
            self.open.remove(&op);
        }
        self.standing.lock().open = self.open.len();
    }
}
