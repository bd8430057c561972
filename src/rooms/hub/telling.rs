//! What concerns people and other nodes rather than one room: the machine of doubt, notices, who is online.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::Hub;
use crate::channel_layer::{self, Class};
use crate::fanout::{Link, Outlet, Registry};
use crate::model::{Author, BootId, ConnectionId, Moment, RoomId, Timestamp, UserId};
use crate::rooms::actor::Command;
use crate::rooms::cluster::Passing;
use crate::rooms::doubt::{Action, Input};
use crate::rooms::envelope;
use crate::rooms::state::Told;
use crate::wire::frame::text_frame;
use crate::wire::outbound::Notice;

impl Hub {
    /// Tells the machine of doubt what happened, and has the rooms do what follows.
    pub(in crate::rooms) fn doubt(&self, input: Input<Option<Told>>) {
        let Some(cluster) = &self.cluster else { return };
        let mut actions = Vec::new();
        // Held while the rooms are told, so that what follows on each other arrives so.
        let mut doubt = cluster.doubt();
        doubt.handle(input, cluster.now(), &mut actions);
        actions.into_iter().for_each(|action| self.act(action));
    }

    /// A reading of the control log that began then has returned: which processes hold a lease. It is what tells a node
    /// that is silent from one that is gone. `time` is what its server's clock showed.
    pub fn leases(&self, began: Moment, holders: Vec<BootId>, time: Option<Timestamp>) {
        if let Some(cluster) = &self.cluster {
            let began = cluster.elapsed_at(began);
            self.doubt(Input::Leases { began, holders, time });
        }
    }

    pub(super) fn act(&self, action: Action<Option<Told>>) {
        let (Action::Deliver { room, .. }
        | Action::Repair { room, .. }
        | Action::Hold { room }
        | Action::Release { room }) = &action;
        let Some(mailbox) = self.active(*room).and_then(|handle| handle.mailbox.clone()) else {
            return;
        };
        match action {
            Action::Deliver { event, .. } => {
                if let Some(told) = event {
                    mailbox.tell(told);
                }
            }
            Action::Repair { after, .. } => mailbox.repair(after),
            Action::Hold { .. } => mailbox.hold(true),
            Action::Release { .. } => mailbox.hold(false),
        }
    }

    /// Gives an active room something that no store holds; false if it was dropped.
    pub(in crate::rooms) fn pass(&self, room: RoomId, passing: Passing) -> bool {
        let mailbox = self.active(room).and_then(|handle| handle.mailbox.clone());
        mailbox.is_none_or(|mailbox| mailbox.pass(passing))
    }

    /// A connection to `/ws` begins: what is published to its user's inbox arrives from now on.
    ///
    /// # Errors
    /// The channel layer is out of reach.
    pub async fn attend(&self, user: UserId) -> channel_layer::Result<()> {
        match &self.cluster {
            Some(cluster) => cluster.attendance().join(RoomId::inbox(user)).await,
            None => Ok(()),
        }
    }

    /// It has ended.
    pub async fn dismiss(&self, user: UserId) {
        if let Some(cluster) = &self.cluster {
            cluster.attendance().leave(RoomId::inbox(user)).await;
        }
    }

    /// Notices may have been lost on the way between nodes: clients look again.
    pub(in crate::rooms) fn notices_lost(&self) {
        tell_to_look_again(&self.registry);
    }

    /// Tells the other person of each active direct conversation that this one came online or went offline.
    pub fn person(&self, author: &Author, online: bool, last_seen: Option<Timestamp>) {
        self.tell_person(author, online, last_seen);
        if let Some(cluster) = &self.cluster {
            let passing = envelope::Passing::Person {
                author: author.clone(),
                online,
                last_seen,
            };
            cluster.pass(RoomId::inbox(author.id), Class::Ephemeral, passing);
        }
    }

    /// The same, on this node only.
    pub(in crate::rooms) fn tell_person(&self, author: &Author, online: bool, last_seen: Option<Timestamp>) {
        let rooms: Vec<_> = {
            let active = self.active.lock();
            let direct = active.direct.get(&author.id).into_iter().flatten();
            direct.filter_map(|room| active.rooms.get(room).cloned()).collect()
        };
        for room in rooms {
            // Presence is the first thing to drop.
            let _ = room.try_send(Command::Person {
                author: author.clone(),
                online,
                last_seen,
            });
        }
    }

    /// Tells a user something on those of their `/ws` connections, here and on other nodes, that do not read a room.
    pub(in crate::rooms) fn notice(
        &self,
        user: UserId,
        notice: &Notice,
        unless_reading: Option<RoomId>,
        wanted: impl Fn(ConnectionId) -> bool,
    ) {
        self.counters().inbox.add(1);
        let links = self.registry.of_user(user);
        if links.is_empty() && self.cluster.is_none() {
            return;
        }
        let frame = text_frame(&notice.to_json());
        self.tell_links(&links, &frame, wanted);
        if let Some(cluster) = &self.cluster {
            let passing = envelope::Passing::Notice {
                user,
                unless_reading,
                frame,
            };
            cluster.pass(RoomId::inbox(user), Class::Durable, passing);
        }
    }

    /// Hands a notice to the user's `/ws` connections of this node.
    pub(in crate::rooms) fn notice_here(&self, user: UserId, frame: &Bytes, wanted: impl Fn(ConnectionId) -> bool) {
        self.tell_links(&self.registry.of_user(user), frame, wanted);
    }

    /// A notice came from another node.
    pub(in crate::rooms) fn notice_arrived(
        self: &Arc<Self>,
        user: UserId,
        unless_reading: Option<RoomId>,
        frame: &Bytes,
    ) {
        let Some(room) = unless_reading else {
            return self.notice_here(user, frame, |_| true);
        };
        if let Some(mailbox) = self.active(room).and_then(|handle| handle.mailbox.clone()) {
            let frame = frame.clone();
            mailbox.pass(Passing::Mention { user, frame });
            return;
        }
        // Nobody here reads the room. Whoever was thrown out of it meanwhile must not read what was said.
        let checks = self.cluster.as_ref().map(|cluster| Arc::clone(cluster.checks()));
        let Some(Ok(permit)) = checks.map(Semaphore::try_acquire_owned) else {
            return self.notice_here(user, &resync_frame(), |_| true);
        };
        let (hub, frame) = (Arc::clone(self), frame.clone());
        tokio::spawn(async move {
            if hub.may_read(room, user).await {
                hub.notice_here(user, &frame, |_| true);
            }
            drop(permit);
        });
    }

    /// While the node may not deliver, notices are dropped; afterwards everybody is told to look again.
    fn tell_links(&self, links: &[Arc<Link>], frame: &Bytes, wanted: impl Fn(ConnectionId) -> bool) {
        let cluster = self.cluster.as_ref();
        if cluster.is_none_or(|cluster| cluster.lease().may_write()) {
            tell_links(links, frame, wanted);
        } else {
            self.notices_dropped();
        }
    }

    /// A notice was dropped since the node may not deliver: everybody is told to look again as soon as it may.
    pub(in crate::rooms) fn notices_dropped(&self) {
        let Some(cluster) = &self.cluster else { return };
        if self.notices_dropped.swap(true, Ordering::AcqRel) {
            return;
        }
        let (lease, registry) = (cluster.lease().clone(), Arc::clone(&self.registry));
        let dropped = Arc::clone(&self.notices_dropped);
        tokio::spawn(async move {
            lease.released(Moment::now()).await;
            dropped.store(false, Ordering::Release);
            tell_to_look_again(&registry);
        });
    }

    /// Whether somebody is a member of a room. Where that can't be known now, no.
    pub(in crate::rooms) async fn may_read(&self, room: RoomId, user: UserId) -> bool {
        let Some(rules) = self.rules() else { return true };
        match rules.standing(room, user).await {
            Ok(standing) => standing.role().is_some(),
            Err(error) => {
                tracing::debug!(%error, %room, "somebody who was named may not be told");
                false
            }
        }
    }
}

/// Tells a client to look at its rooms again.
fn resync_frame() -> Bytes {
    text_frame(br#"{"type":"inbox","what":"resync"}"#)
}

fn tell_links(links: &[Arc<Link>], frame: &Bytes, wanted: impl Fn(ConnectionId) -> bool) {
    for link in links
        .iter()
        .filter(|link| !link.identity().one_room && wanted(link.connection()))
    {
        link.notice(frame);
    }
}

/// Tells every `/ws` connection that notices were lost.
fn tell_to_look_again(registry: &Registry) {
    let frame = resync_frame();
    for link in registry.all().iter().filter(|link| !link.identity().one_room) {
        link.notice(&frame);
    }
}
