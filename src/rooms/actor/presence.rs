//! Who is here, who came and went, who types: told at most once a second, and dropped first.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Actor;
use super::remote::ROSTER_TICKS;
use super::store_steps::Step;
use crate::channel_layer::Class;
use crate::fanout::Outlet;
use crate::limits;
use crate::model::{Author, ConnectionId, Name, Timestamp, User, UserId};
use crate::presence::{self, Present};
use crate::rooms::envelope::Passing;
use crate::wire::frame::text_frame;
use crate::wire::outbound::{Outbound, PresenceView, to_json};

/// Who came and went since the last time members were told.
#[derive(Debug, Default)]
pub(super) struct Comings {
    /// By connections of this node: other nodes are told.
    arrived: BTreeSet<Name>,
    departed: BTreeSet<Name>,
    /// As other nodes told, or as a look at presence showed.
    elsewhere: (BTreeSet<Name>, BTreeSet<Name>),
    /// Something changed elsewhere in a crowd, where no names are told.
    crowd: bool,
    /// Whom members have been told of, as far as that is known, and how many.
    roster: Option<Present>,
    /// Who of the two people of a direct conversation was online at the last look, and as far as members were told.
    online: Option<(Vec<UserId>, Vec<UserId>)>,
    ticks: u64,
}

/// What members are told of who came and went.
#[derive(Debug)]
pub(super) struct Told {
    own: (Vec<Name>, Vec<Name>),
    all: (Vec<Name>, Vec<Name>),
}

impl Comings {
    pub(super) fn came(&mut self, name: &Name) {
        self.departed.remove(name);
        self.arrived.insert(name.clone());
    }

    pub(super) fn went(&mut self, name: &Name) {
        if !self.arrived.remove(name) {
            self.departed.insert(name.clone());
        }
    }

    /// Members are told of these from now on only by what changes.
    pub(super) fn begin_roster(&mut self, present: &Present) {
        if self.roster.is_none() {
            self.roster = Some(present.clone());
        }
    }

    fn elsewhere(&mut self, came: impl IntoIterator<Item = Name>, went: impl IntoIterator<Item = Name>) {
        for name in came {
            self.elsewhere.1.remove(&name);
            self.elsewhere.0.insert(name);
        }
        for name in went {
            self.elsewhere.0.remove(&name);
            self.elsewhere.1.insert(name);
        }
    }

    /// Takes the frame by which another node told who came and went there: once a second at most, so that reading it
    /// costs nothing.
    pub(super) fn heard(&mut self, frame: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Heard {
            joined: Option<Vec<String>>,
            left: Option<Vec<String>>,
        }
        let header = match frame.get(1) {
            Some(126) => 4,
            Some(127) => 10,
            _ => 2,
        };
        let Some(Ok(heard)) = frame.get(header..).map(serde_json::from_slice::<Heard>) else {
            return;
        };
        let names = |names: Vec<String>| names.into_iter().filter_map(|name| Name::parse(&name).ok());
        self.crowd |= heard.joined.is_none();
        let (joined, left) = (heard.joined.unwrap_or_default(), heard.left.unwrap_or_default());
        self.elsewhere(names(joined), names(left));
    }

    fn take(&mut self) -> Option<Told> {
        let own = (std::mem::take(&mut self.arrived), std::mem::take(&mut self.departed));
        let (mut joined, mut left) = std::mem::take(&mut self.elsewhere);
        if own.0.is_empty() && own.1.is_empty() && joined.is_empty() && left.is_empty() && !self.crowd {
            return None;
        }
        self.crowd = false;
        joined.extend(own.0.iter().cloned());
        left.extend(own.1.iter().cloned());
        if let Some(roster) = &mut self.roster {
            roster.names.retain(|name| !left.contains(name));
            let known: BTreeSet<Name> = roster.names.iter().cloned().collect();
            roster.names.extend(joined.difference(&known).cloned());
        }
        let list = |names: BTreeSet<Name>| names.into_iter().collect();
        Some(Told {
            own: (list(own.0), list(own.1)),
            all: (list(joined), list(left)),
        })
    }
}

impl Actor {
    /// Tells everybody who came and went since the last time.
    pub(super) fn tell_presence(&mut self) {
        self.look_round();
        let Some(told) = self.comings.take() else { return };
        // Presence may be out of reach for a while, and the room must not wait for it.
        self.roll.changed();
        let presence = self.hub.presence();
        let room = self.room.id;
        self.steps.push(Box::pin(async move {
            let present = presence.present(room, 0).await;
            Step::Presence {
                count: present.map(|present| present.count),
                told,
            }
        }));
    }

    /// The second half of `tell_presence`, once the count is known.
    pub(super) fn presence_counted(&mut self, count: u64, told: Told) {
        let names = count <= limits::PRESENT_NAMES_MAX as u64;
        let room = self.state.room();
        let frame = |(joined, left): &(Vec<Name>, Vec<Name>)| {
            text_frame(&to_json(&Outbound::Presence(PresenceView::Room {
                room: &room.label,
                room_id: room.id,
                count,
                joined: names.then_some(joined),
                left: names.then_some(left),
            })))
        };
        let all = frame(&told.all);
        self.hub.counters().presence.add(1);
        self.state.ephemeral(&all, None);
        if let Some((cluster, _)) = &self.cluster
            && !(told.own.0.is_empty() && told.own.1.is_empty())
        {
            let frame = if told.own == told.all { all } else { frame(&told.own) };
            cluster.pass(room.id, Class::Ephemeral, Passing::Presence { frame });
        }
    }

    /// Looks now and then who is here: what other nodes told may be lost, and a node that died told nothing.
    fn look_round(&mut self) {
        self.comings.ticks += 1;
        let turn = u64::from(self.room.id.as_bytes()[0]) % ROSTER_TICKS;
        if self.cluster.is_none() || self.state.is_empty() || self.comings.ticks % ROSTER_TICKS != turn {
            return;
        }
        let (presence, room) = (self.hub.presence(), self.room.id);
        self.steps.push(match self.room.pair {
            None => Box::pin(async move { Step::Roster(presence.present(room, limits::PRESENT_NAMES_MAX).await) }),
            Some((low, high)) => Box::pin(async move { Step::Online(presence.online(&[low, high]).await) }),
        });
    }

    /// Compares who is here with what members were told.
    pub(super) fn compare_roster(&mut self, present: presence::Result<Present>) {
        let Ok(present) = present else { return };
        if let Some(before) = &self.comings.roster {
            let crowd = present.count.max(before.count) > limits::PRESENT_NAMES_MAX as u64;
            if crowd {
                self.comings.crowd |= present.count != before.count;
            } else {
                let then: BTreeSet<Name> = before.names.iter().cloned().collect();
                let now: BTreeSet<Name> = present.names.iter().cloned().collect();
                // What this node is about to tell anyway is not told twice.
                let came: Vec<Name> = now.difference(&then).cloned().collect();
                let went: Vec<Name> = then.difference(&now).cloned().collect();
                let (arrived, departed) = (&self.comings.arrived, &self.comings.departed);
                let came: Vec<Name> = came.into_iter().filter(|name| !arrived.contains(name)).collect();
                let went: Vec<Name> = went.into_iter().filter(|name| !departed.contains(name)).collect();
                self.comings.elsewhere(came, went);
            }
        }
        self.comings.roster = Some(present);
    }

    /// Compares who of the two people of a direct conversation is online with what was told. A change counts once two
    /// looks agree on it: a reload is no departure.
    pub(super) fn compare_online(&mut self, online: presence::Result<Vec<UserId>>) {
        let (Ok(online), Some((low, high))) = (online, self.room.pair) else {
            return;
        };
        let Some((last, told)) = self.comings.online.replace((online.clone(), online.clone())) else {
            return;
        };
        let mut now_told = told.clone();
        for user in [low, high] {
            let is = online.contains(&user);
            if is == told.contains(&user) || is != last.contains(&user) {
                continue;
            }
            now_told.retain(|other| *other != user);
            if is {
                now_told.push(user);
            }
            let store = self.hub.store();
            self.steps.push(Box::pin(async move {
                let person = store.user(user).await.ok().flatten();
                Step::Person { person, online: is }
            }));
        }
        self.comings.online = Some((online, now_told));
    }

    /// The second half of `compare_online`.
    pub(super) fn person_compared(&mut self, person: Option<User>, online: bool) {
        if let Some(User {
            id, name, last_seen, ..
        }) = person
        {
            self.person(&Author { id, name }, online, last_seen);
        }
    }

    /// Tells the others that somebody types, at most once in a while.
    pub(super) fn typing(&mut self, author: &Author, connection: ConnectionId) {
        if !self.state.has(connection) || self.typed.contains_key(&author.id) {
            return;
        }
        self.typed.insert(author.id, Instant::now());
        self.hub.counters().typing.add(1);
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Typing {
            room: &room.label,
            room_id: room.id,
            user: &author.name,
            user_id: author.id,
        }));
        self.state.ephemeral(&frame, Some(connection));
        if let Some((cluster, _)) = &self.cluster {
            cluster.pass(room.id, Class::Ephemeral, Passing::Typing { frame });
        }
    }

    /// Tells that the other person of a direct conversation came online or went offline.
    pub(super) fn person(&mut self, author: &Author, online: bool, last_seen: Option<Timestamp>) {
        if let Some((_, told)) = &mut self.comings.online {
            told.retain(|other| *other != author.id);
            if online {
                told.push(author.id);
            }
        }
        let room = self.state.room();
        let frame = text_frame(&to_json(&Outbound::Presence(PresenceView::Person {
            room: &room.label,
            room_id: room.id,
            user: &author.name,
            user_id: author.id,
            online,
            last_seen,
        })));
        for link in self.state.links().filter(|link| link.author().id != author.id) {
            link.ephemeral(&frame);
        }
    }
}
