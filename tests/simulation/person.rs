//! One person: talks in some rooms over one socket, hears, loses the connection and resumes on any node, as the project's
//! own client does; all of it is written down.

mod acting;
mod hearing;
mod place;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use natter::model::{ConnectionId, Room, User};
use natter::sessions::SessionHandle;
use serde_json::{Value, json};

use self::place::Place;
use crate::ground::Ground;
use crate::judge::history::{Client, Connection, Deed, Event, Op, Row};
use crate::node::Node;
use crate::pipe::{PersonEnd, first_frame, pipe};

/// After so much silence it pings, in milliseconds.
const QUIET: u64 = 3_000;
/// After so much it gives the connection up.
const SILENCE_MAX: u64 = 8_000;
/// Requests without an answer that it has at most.
const OPEN_MAX: usize = 8;
/// How long it still listens after it was silenced.
const LISTENS: u64 = 4_000;

struct Pending {
    room: usize,
    deed: Deed,
    attempts: u32,
    /// When to send it again; `None` as long as an answer may come.
    again: Option<u64>,
}

/// A socket.
struct Talk {
    connection: Connection,
    node: usize,
    pipe: PersonEnd,
    bytes: Vec<u8>,
    welcome: bool,
    heard: u64,
    pinged: bool,
    stalled: u64,
    /// It gets parts of the history again since it was slow.
    slow: bool,
}

/// It is being silenced.
struct Parting {
    done: Arc<AtomicBool>,
    log_out: bool,
    listens: Option<u64>,
}

/// One person.
pub struct Person {
    ground: Arc<Ground>,
    number: Client,
    user: User,
    session: SessionHandle,
    echo: bool,
    places: Vec<Place>,
    open: BTreeMap<Op, Pending>,
    talk: Option<Talk>,
    back: u64,
    next: u64,
    parting: Option<Parting>,
}

/// What others have for a person in one step.
pub struct Around<'a> {
    /// The nodes that answer.
    pub nodes: &'a [Option<&'a Node>],
    /// Everybody still talks.
    pub talking: bool,
    /// Who may kick.
    pub owner: &'a User,
    /// How long the texts are, in characters.
    pub length: usize,
    /// How many of a hundred deeds are to have oneself silenced.
    pub parts: u32,
    /// How many are to stop reading.
    pub stalls: u32,
    /// How many are to leave the connection.
    pub leaves: u64,
}

impl Person {
    /// Somebody who has an account and is in these rooms.
    pub fn new(ground: &Arc<Ground>, name: &str, rooms: &[Room]) -> Self {
        let number = ground.number();
        let (user, session) = {
            let mut accounts = ground.accounts.lock();
            let user = accounts.user(ground.bytes(), name);
            let session = accounts.log_in(user.id, ground.bytes());
            (user, session)
        };
        Self {
            ground: Arc::clone(ground),
            number,
            user,
            session,
            echo: ground.chance(50),
            places: rooms.iter().map(Place::new).collect(),
            open: BTreeMap::new(),
            talk: None,
            back: 0,
            next: 0,
            parting: None,
        }
    }

    /// Whose account it is.
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// Whether it is connected, waits for nothing, and is nobody's concern.
    pub fn is_calm(&self) -> bool {
        self.talk.is_some() && self.open.is_empty() && self.parting.is_none() && self.places.iter().all(|one| one.live)
    }

    /// Whether it shows a room as it is stored, from where on it knows it.
    pub fn shows(&self, room: &Room, stored: &[Row]) -> bool {
        let mut places = self.places.iter().filter(|place| place.room.id == room.id);
        places.all(|place| {
            let mut known = stored
                .iter()
                .filter(|row| place.tail.is_some_and(|tail| row.id >= tail));
            known.all(|row| {
                let shown = place.rows.get(&row.id.attempt_hash());
                shown.is_some_and(|(_, token, deleted)| (token, deleted) == (&row.token, &row.deleted))
            })
        })
    }

    /// A node has died.
    pub fn died(&mut self, node: usize) {
        if let Some(talk) = self.talk.as_ref().filter(|talk| talk.node == node) {
            talk.pipe.cut();
        }
    }

    /// Lives for a moment.
    pub fn step(&mut self, around: &Around<'_>) {
        let now = self.ground.now();
        if self.talk.is_none() {
            if now >= self.back {
                self.come(around, now);
            }
            return;
        }
        if self.listen(now) {
            return self.go(now);
        }
        self.join(now);
        if self.parted(now) {
            return self.go(now);
        }
        if now >= self.next {
            self.next = now + self.ground.dice(60..=500);
            if self.act(around, now) {
                self.go(now);
            }
        }
    }

    fn come(&mut self, around: &Around<'_>, now: u64) {
        let there: Vec<usize> = (0..around.nodes.len())
            .filter(|at| around.nodes[*at].is_some())
            .collect();
        if there.is_empty() {
            return;
        }
        let node = there[usize::try_from(self.ground.dice(0..=there.len() as u64 - 1)).expect("few nodes")];
        let connection = self.ground.number();
        let (end, own) = pipe();
        let at = around.nodes[node].expect("it is there");
        at.open(
            self.session.clone(),
            end,
            ConnectionId::from_bytes(self.ground.bytes()),
            self.echo,
        );
        self.ground.record(Event::Opened {
            connection,
            client: self.number,
            node: node.to_string(),
        });
        self.talk = Some(Talk {
            connection,
            node,
            pipe: own,
            bytes: Vec::new(),
            welcome: false,
            heard: now,
            pinged: false,
            stalled: 0,
            slow: false,
        });
    }

    /// Leaves the connection, whoever ended it.
    fn go(&mut self, now: u64) {
        let Some(talk) = self.talk.take() else { return };
        if talk.pipe.is_refused() {
            self.session = self.ground.accounts.lock().log_in(self.user.id, self.ground.bytes());
        }
        self.ground.record(Event::Closed {
            connection: talk.connection,
        });
        for place in &mut self.places {
            (place.asked, place.live, place.again) = (false, false, 0);
        }
        let lost: Vec<Op> = self
            .open
            .iter()
            .filter(|(_, one)| one.again.is_none())
            .map(|(op, _)| *op)
            .collect();
        for op in lost {
            self.unknown(op, now);
        }
        self.back = now + self.ground.dice(50..=1_500);
    }

    /// Takes what has come; true if the connection is over.
    fn listen(&mut self, now: u64) -> bool {
        let talk = self.talk.as_mut().expect("it is connected");
        if now < talk.stalled {
            return false;
        }
        let ended = talk.pipe.take(&mut talk.bytes);
        talk.slow |= talk.pipe.was_full();
        let mut frames = Vec::new();
        while let Some((opcode, payload)) = first_frame(&mut talk.bytes) {
            (talk.heard, talk.pinged) = (now, false);
            match opcode {
                1 => frames.push(payload),
                8 => {
                    frames.push(Vec::new());
                    break;
                }
                _ => {}
            }
        }
        let silent = now.saturating_sub(talk.heard.max(talk.stalled));
        if silent > QUIET && !talk.pinged {
            talk.pinged = true;
            talk.pipe.say(r#"{"type":"ping"}"#);
        }
        for payload in frames {
            if payload.is_empty() {
                return true;
            }
            let frame: Value = serde_json::from_slice(&payload).expect("JSON");
            self.take(&frame, now);
        }
        ended || silent > SILENCE_MAX
    }

    fn join(&mut self, now: u64) {
        let Some(talk) = self.talk.as_ref().filter(|talk| talk.welcome) else {
            return;
        };
        for place in &mut self.places {
            if place.asked || now < place.again {
                continue;
            }
            place.asked = true;
            place.paged = 0;
            let mut frame = json!({ "type": "join", "room": place.name, "ref": "join" });
            if let Some(since) = place.cursor {
                frame["since"] = json!(since);
                if let Some(have) = place.digest().filter(|_| self.ground.chance(70)) {
                    frame["have"] = json!(have);
                }
            }
            self.ground.record(Event::Joining {
                connection: talk.connection,
                room: place.name.clone(),
                since: place.cursor,
            });
            talk.pipe.say(&frame.to_string());
        }
    }

    /// Whether it was silenced and has listened long enough whether that is so.
    fn parted(&mut self, now: u64) -> bool {
        let Some(parting) = &mut self.parting else { return false };
        let given_up = Arc::strong_count(&parting.done) == 1;
        if parting.done.load(Ordering::Relaxed) {
            let until = *parting.listens.get_or_insert(now + LISTENS);
            if now < until {
                return false;
            }
        } else if !given_up {
            return false;
        }
        // A node that died may have ended the session without telling anybody.
        let log_out = parting.log_out;
        self.parting = None;
        if log_out {
            self.session = self.ground.accounts.lock().log_in(self.user.id, self.ground.bytes());
        }
        true
    }
}
