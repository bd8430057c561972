//! The node's task: takes what arrives, feeds the machine of doubt, tells the others once a second how it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::MissedTickBehavior;

use super::{Cluster, Outgoing, Passing};
use crate::channel_layer::{Error, Incoming};
use crate::limits;
use crate::model::{Moment, RoomId};
use crate::rooms::doubt::{Arrived, Input, Numbered, StatusFrame};
use crate::rooms::envelope::{self, Durable, Envelope};
use crate::rooms::hub::Hub;
use crate::rooms::state::Told;

/// How long to wait before the layer is asked again after it could not be reached.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves the cluster side of a hub until the layer is closed or the task is dropped.
pub async fn run(hub: Arc<Hub>) {
    let Some(cluster) = hub.cluster().cloned() else { return };
    tokio::join!(
        publish(&cluster),
        take(&hub, &cluster),
        tick(&hub),
        tell_status(&cluster),
        prove_link(&cluster)
    );
}

async fn publish(cluster: &Cluster) {
    let Some(mut waiting) = cluster.waiting.lock().take() else {
        return;
    };
    while let Some(outgoing) = waiting.recv().await {
        let Outgoing {
            room,
            class,
            event,
            payload,
        } = outgoing;
        match cluster.layer.publish(room, class, payload).await {
            Ok(()) => cluster.counts.published.add(u64::from(event)),
            Err(error) => {
                cluster.counts.unpublished.add(1);
                tracing::debug!(%error, %room, "an event was not handed to the channel layer");
            }
        }
    }
}

async fn take(hub: &Arc<Hub>, cluster: &Cluster) {
    loop {
        match cluster.layer.next().await {
            Ok(Incoming::Payload { room, payload, .. }) => arrived(hub, cluster, room, &payload),
            Ok(Incoming::Broadcast { payload }) => match StatusFrame::decode(&payload) {
                Ok(frame) => {
                    cluster.frame_heard(&frame);
                    hub.doubt(Input::Frame(frame));
                }
                Err(error) => {
                    cluster.counts.unreadable.add(1);
                    tracing::debug!(%error, "a broadcast was passed over");
                }
            },
            Ok(Incoming::Lost { count }) => {
                cluster.counts.losses.add(1);
                tracing::warn!(count, "the channel layer lost events: rooms are read again");
                cluster.lease.lost();
                hub.doubt(Input::Lost);
                hub.notices_lost();
            }
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the channel layer can't be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn arrived(hub: &Arc<Hub>, cluster: &Cluster, room: RoomId, payload: &Bytes) {
    // A copy of its own: the ring keeps frames for long, and must not keep the network's buffers with them.
    match Envelope::decode(&Bytes::copy_from_slice(payload)) {
        Ok(Envelope::Durable(durable)) => event(hub, cluster, room, durable),
        Ok(Envelope::Passing(passing)) => pass(hub, cluster, room, passing),
        Ok(Envelope::Newer {
            boot,
            number,
            previous,
            id,
        }) => {
            cluster.counts().unreadable.add(1);
            if let Some(ids) = &cluster.ids {
                ids.observe(id);
            }
            hub.doubt(Input::Numbered(Numbered {
                room,
                boot,
                number,
                previous,
                id,
            }));
        }
        Ok(Envelope::Unknown(kind)) => tracing::trace!(kind, "a kind of a newer build was passed over"),
        Err(error) => {
            cluster.counts.unreadable.add(1);
            tracing::debug!(%error, %room, "a payload can't be read");
        }
    }
}

fn event(hub: &Hub, cluster: &Cluster, room: RoomId, durable: Durable) {
    cluster.counts.arrived.add(1);
    if let Some(ids) = &cluster.ids {
        ids.observe(durable.id);
    }
    let (boot, number, previous, id) = (durable.boot, durable.number, durable.previous, durable.id);
    let late = match &durable.content {
        envelope::Content::Late { message, .. } => Some(*message),
        _ => None,
    };
    let cause = match &durable.content {
        envelope::Content::Message { cause, .. } | envelope::Content::Late { cause, .. } => *cause,
        _ => None,
    };
    let event = Told::from_layer(durable);
    hub.doubt(Input::Event(Arrived {
        room,
        boot,
        number,
        previous,
        id,
        late,
        cause,
        event,
    }));
}

fn pass(hub: &Arc<Hub>, cluster: &Cluster, room: RoomId, passing: envelope::Passing) {
    let kept = match passing {
        envelope::Passing::Typing { frame } => hub.pass(room, Passing::Typing(frame)),
        envelope::Passing::Presence { frame } => hub.pass(room, Passing::Presence(frame)),
        envelope::Passing::Person {
            author,
            online,
            last_seen,
        } => {
            hub.tell_person(&author, online, last_seen);
            true
        }
        envelope::Passing::Notice {
            user,
            unless_reading,
            frame,
        } => {
            hub.notice_arrived(user, unless_reading, &frame);
            true
        }
    };
    if !kept {
        cluster.counts.passing_dropped.add(1);
    }
}

async fn tick(hub: &Hub) {
    let mut every = tokio::time::interval(limits::DOUBT_TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        hub.doubt(Input::Tick);
    }
}

/// Shows the delivery lease that this node hears what others tell, and is heard.
async fn prove_link(cluster: &Cluster) {
    let mut every = tokio::time::interval(limits::STATUS_INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let begun = Moment::now();
        match cluster.layer.ping().await {
            Ok(()) => cluster.lease.linked(begun),
            Err(Error::Closed) => return,
            Err(error) => tracing::debug!(%error, "the channel layer is not proven to be in reach"),
        }
    }
}

async fn tell_status(cluster: &Cluster) {
    let mut every = tokio::time::interval(limits::STATUS_INTERVAL);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let frame = cluster.next_frame(false);
        match cluster.layer.broadcast(frame.encode()).await {
            Ok(()) => {}
            Err(Error::Closed) => return,
            Err(error) => tracing::debug!(%error, "the others were not told how this node is"),
        }
    }
}
