//! What clients ask for, one request after the other: each has exactly one answer.

use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::connection::{Connection, JoinedRoom};
use super::failure::Failure;
use crate::fanout::Outlet;
use crate::limits;
use crate::model::{Action, EventId, NewMessage, Nonce, Room, Standing};
use crate::rooms::actor::{Command as RoomCommand, Join, JoinError, Send};
use crate::rooms::directory::{Error, Joined, RoomKey};
use crate::telemetry::traces;
use crate::throttle::Verdict;
use crate::wire::close::CloseCode;
use crate::wire::farewell::farewell;
use crate::wire::frame::text_frame;
use crate::wire::inbound::{Command, JoinFrom, Rejected, Request};
use crate::wire::outbound::{LeftReason, Outbound, Ref, to_json};

fn fail(on: &Connection, failure: &Failure, reference: Option<&Ref>, nonce: Option<&Nonce>, room: Option<&str>) {
    let frame = text_frame(&to_json(&Outbound::Error {
        code: failure.code,
        detail: &failure.detail,
        retry_after: failure.retry_after,
        reference,
        nonce: nonce.map(Nonce::as_str),
        room,
    }));
    on.link.refused(failure.code);
    let _ = on.link.answer(frame);
}

/// Answers a frame that is no request.
pub(super) fn reject(on: &Connection, rejected: &Rejected) {
    let failure = Failure::new(rejected.code, rejected.detail.clone());
    fail(on, &failure, rejected.reference.as_ref(), rejected.nonce.as_ref(), None);
}

/// Serves one request.
pub(super) async fn serve(on: &mut Connection, request: Request) {
    let Request { reference, command } = request;
    let (room, nonce) = match &command {
        Command::Send { room, nonce, .. } => (room.clone(), nonce.clone()),
        Command::Join { room, .. }
        | Command::Unsubscribe { room }
        | Command::Leave { room }
        | Command::Edit { room, .. }
        | Command::Delete { room, .. }
        | Command::Read { room, .. }
        | Command::Typing { room } => (room.clone(), None),
        Command::Ping => (None, None),
    };
    let served = match command {
        Command::Send {
            message,
            nonce,
            retry,
            reply_to,
            ..
        } => {
            let said = Said {
                body: message,
                nonce,
                retry,
                reply_to,
            };
            send(on, room.as_deref(), said, reference.clone()).await
        }
        Command::Join { from, .. } => join(on, room.as_deref(), from, reference.clone()).await,
        Command::Unsubscribe { .. } => unsubscribe(on, room.as_deref(), reference.clone()).await,
        Command::Leave { .. } => leave(on, room.as_deref(), reference.as_ref()).await,
        Command::Edit { id, message, .. } => edit(on, room.as_deref(), id, &message, reference.as_ref()).await,
        Command::Delete { id, .. } => delete(on, room.as_deref(), id, reference.as_ref()).await,
        Command::Read { id, .. } => read(on, room.as_deref(), id, reference.as_ref()).await,
        Command::Typing { .. } => typing(on, room.as_deref()),
        Command::Ping => {
            let _ = on.link.answer(text_frame(&to_json(&Outbound::Pong {
                reference: reference.as_ref(),
            })));
            Ok(())
        }
    };
    if let Err(failure) = served {
        fail(on, &failure, reference.as_ref(), nonce.as_ref(), room.as_deref());
    }
}

/// The joined room that a request names, or the one room of a one-room socket.
fn joined_at(on: &Connection, named: Option<&str>) -> Result<usize, Failure> {
    let found = match named {
        None => match on.one_room {
            Some(id) => on.rooms.iter().position(|joined| joined.room.id == id),
            None => {
                return Err(Failure::new(
                    "invalid_frame",
                    "\"room\" must be given: which room this is about",
                ));
            }
        },
        Some(named) => match RoomKey::parse(named)? {
            RoomKey::Id(id) => on.rooms.iter().position(|joined| joined.room.id == id),
            RoomKey::Name(name) => on
                .rooms
                .iter()
                .position(|joined| joined.room.name.as_ref() == Some(&name)),
        },
    };
    found.ok_or_else(|| Failure::new("not_joined", "this connection has not joined the room: join it first"))
}

/// The named room in its present state.
async fn room_of(on: &Connection, named: Option<&str>) -> Result<Arc<Room>, Failure> {
    let at = joined_at(on, named)?;
    Ok(on.gate.directory.room_by_id(on.rooms[at].room.id).await?)
}

/// What a send says.
struct Said {
    body: String,
    nonce: Option<Nonce>,
    retry: bool,
    reply_to: Option<EventId>,
}

async fn send(on: &mut Connection, named: Option<&str>, said: Said, reference: Option<Ref>) -> Result<(), Failure> {
    let Said {
        body,
        nonce,
        retry,
        reply_to,
    } = said;
    let at = joined_at(on, named)?;
    if let Verdict::RetryAfter(wait) = on.bucket.take(Instant::now().into_std()) {
        return Err(Failure {
            code: "rate_limited",
            detail: "you are sending too fast: wait, then send again".into(),
            retry_after: Some(wait.as_secs_f64()),
        });
    }
    let room = Arc::clone(&on.rooms[at].room);
    let mentions = if body.contains('@') {
        on.gate.directory.mentions(&room, &body).await
    } else {
        Vec::new()
    };
    if let Some(id) = reply_to {
        on.gate.directory.check_reply(&room, id).await?;
    }
    let author = on.link.author().clone();
    let message = NewMessage {
        room: room.id,
        author,
        body,
        nonce,
        retry,
        reply_to,
        mentions,
    };
    let send = Send {
        link: Arc::clone(&on.link),
        message,
        reference,
        at: Instant::now(),
        trace: traces::root("send"),
    };
    on.link.send_begun();
    let handle = &on.rooms[at].handle;
    let gone = match handle.try_send(RoomCommand::Send(Box::new(send))) {
        Ok(()) => false,
        Err(TrySendError::Full(command)) => handle.send(command).await.is_err(),
        Err(TrySendError::Closed(_)) => true,
    };
    if gone {
        // A room retires only while nobody reads it, so this connection was taken out of it.
        on.link.send_answered();
        on.rooms.swap_remove(at);
        return Err(Failure::new(
            "not_joined",
            "this connection no longer reads the room: join it again",
        ));
    }
    Ok(())
}

async fn join(on: &mut Connection, named: Option<&str>, from: JoinFrom, reference: Option<Ref>) -> Result<(), Failure> {
    let opened = match (named, on.one_room) {
        (None, None) => {
            return Err(Failure::new(
                "invalid_frame",
                "\"room\" must be given: which room to join",
            ));
        }
        (None, Some(id)) => on.gate.directory.open_or_join(on.user(), &id.to_string()).await?,
        (Some(named), one_room) => {
            if let Some(id) = one_room {
                let at = joined_at(on, Some(named))
                    .map_err(|_| Failure::new("forbidden", "this socket serves one room only: open /ws for several"))?;
                if on.rooms[at].room.id != id {
                    return Err(Failure::new(
                        "forbidden",
                        "this socket serves one room only: open /ws for several",
                    ));
                }
            } else if on.rooms.len() >= limits::ROOMS_PER_CONNECTION_MAX {
                let detail = "this connection reads 500 rooms: unsubscribe from some first";
                return Err(Failure::new("room_limit", detail));
            }
            on.gate.directory.open_or_join(on.user(), named).await?
        }
    };
    enter(on, opened, from, reference).await;
    Ok(())
}

/// How often a join begins anew because the standing may have changed under it.
const JOIN_ATTEMPTS: usize = 8;

/// Joins a room that the rules have opened; answers by itself, also if it fails.
pub(super) async fn enter(on: &mut Connection, opened: Joined, from: JoinFrom, reference: Option<Ref>) {
    let room = Arc::clone(&opened.room);
    let mut failure = Failure::new("unavailable", "the room changes too fast to be joined now: try again");
    for _ in 0..JOIN_ATTEMPTS {
        match attempt(on, opened.clone(), from, reference.clone()).await {
            Ok(()) => return,
            Err(None) => {}
            Err(Some(told)) => {
                failure = told;
                break;
            }
        }
    }
    let connection = on.link.connection();
    if let Some(at) = on.rooms.iter().position(|joined| joined.room.id == room.id) {
        let joined = on.rooms.swap_remove(at);
        let leave = RoomCommand::Leave {
            connection,
            answer: None,
        };
        let _ = joined.handle.send(leave).await;
    }
    fail(on, &failure, reference.as_ref(), None, Some(&room.label()));
    if on.one_room == Some(room.id) {
        // A one-room socket without its room has no use; the client comes back and is told by HTTP why.
        on.link.close(farewell(CloseCode::GoingAway, 2.0));
    }
}

/// One attempt to join. `None` in the error: the standing may have changed, look again.
async fn attempt(
    on: &mut Connection,
    opened: Joined,
    from: JoinFrom,
    reference: Option<Ref>,
) -> Result<(), Option<Failure>> {
    let room = Arc::clone(&opened.room);
    let watch = on.gate.directory.watch(room.id, on.user());
    match on.gate.directory.standing(room.id, on.user()).await {
        Ok(Standing::Member(_)) => {}
        Ok(Standing::Banned) => return Err(Some(Error::Banned.into())),
        Ok(Standing::Outsider) => return Err(Some(Error::NotFound("room").into())),
        Err(error) => return Err(Some(error.into())),
    }
    let (reply, answer) = oneshot::channel();
    let link = Arc::clone(&on.link);
    let join = Join {
        link,
        opened,
        from,
        reference,
        watch,
        at: Instant::now(),
        counted: false,
        reads: 0,
        reply,
    };
    let mut command = RoomCommand::Join(Box::new(join));
    let handle = loop {
        let handle = on.gate.hub.room(&room);
        match handle.send(command).await {
            Ok(()) => break handle,
            Err(back) => command = back,
        }
    };
    // A room of the same name that was deleted gives way too.
    on.rooms
        .retain(|joined| joined.room.id != room.id && (room.name.is_none() || joined.room.name != room.name));
    if on.rooms.is_empty() {
        // Most have one room: no place is kept for more.
        on.rooms.reserve_exact(1);
    }
    on.rooms.push(JoinedRoom { room, handle });
    match answer.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(JoinError::Stale)) => Err(None),
        // The room's task took it back because the user was taken out: the next look says why.
        Err(_) => Err(None),
        Ok(Err(JoinError::Gone)) => Err(Some(Error::NotFound("room").into())),
        Ok(Err(JoinError::Store(error))) => Err(Some(Error::from(error).into())),
        Ok(Err(JoinError::Layer(error))) => Err(Some(unavailable(error.to_string()))),
        Ok(Err(JoinError::Overdue)) => {
            let detail = "the server can't bring you into the room now: join it again";
            Err(Some(unavailable(detail.into())))
        }
    }
}

const fn unavailable(detail: String) -> Failure {
    Failure {
        code: "unavailable",
        detail,
        retry_after: Some(2.0),
    }
}

async fn unsubscribe(on: &mut Connection, named: Option<&str>, reference: Option<Ref>) -> Result<(), Failure> {
    let at = joined_at(on, named)?;
    let joined = on.rooms.swap_remove(at);
    let connection = on.link.connection();
    let answer = Some((Arc::clone(&on.link), reference.clone(), LeftReason::Unsubscribed));
    if joined
        .handle
        .send(RoomCommand::Leave { connection, answer })
        .await
        .is_err()
    {
        left(on, &joined.room, reference.as_ref(), LeftReason::Unsubscribed);
    }
    Ok(())
}

fn left(on: &Connection, room: &Room, reference: Option<&Ref>, reason: LeftReason) {
    let label = room.label();
    let frame = Outbound::Left {
        reference,
        room: &label,
        room_id: room.id,
        reason,
    };
    let _ = on.link.answer(text_frame(&to_json(&frame)));
}

async fn leave(on: &mut Connection, named: Option<&str>, reference: Option<&Ref>) -> Result<(), Failure> {
    let room = room_of(on, named).await?;
    on.gate.directory.authorise(Action::Leave, &room, on.user()).await?;
    on.gate.directory.may_revoke(on.user()).await?;
    let connection = on.link.connection();
    if let Some(at) = on.rooms.iter().position(|joined| joined.room.id == room.id) {
        let joined = on.rooms.swap_remove(at);
        // Taken out first, so that the request has one answer: the `left` with its `ref`.
        let _ = joined
            .handle
            .send(RoomCommand::Leave {
                connection,
                answer: None,
            })
            .await;
    }
    on.gate.directory.leave(on.user(), &room).await?;
    left(on, &room, reference, LeftReason::Left);
    if on.one_room == Some(room.id) {
        on.link.close(farewell(CloseCode::Left, 0.0));
    }
    Ok(())
}

fn ack(on: &Connection, room: &Room, id: EventId, event: Option<EventId>, reference: Option<&Ref>) {
    let label = room.label();
    let frame = text_frame(&to_json(&Outbound::Ack {
        reference,
        nonce: None,
        room: &label,
        room_id: room.id,
        id,
        at: event.unwrap_or(id).timestamp(),
        event_id: event,
    }));
    let _ = on.link.answer(frame);
}

async fn edit(
    on: &Connection,
    named: Option<&str>,
    id: EventId,
    body: &str,
    reference: Option<&Ref>,
) -> Result<(), Failure> {
    let room = room_of(on, named).await?;
    let event = on.gate.directory.edit(on.user(), &room, id, body).await?;
    ack(on, &room, id, Some(event.id), reference);
    Ok(())
}

async fn delete(on: &Connection, named: Option<&str>, id: EventId, reference: Option<&Ref>) -> Result<(), Failure> {
    let room = room_of(on, named).await?;
    let event = on.gate.directory.delete(on.user(), &room, id).await?;
    ack(on, &room, id, Some(event.id), reference);
    Ok(())
}

async fn read(on: &Connection, named: Option<&str>, id: EventId, reference: Option<&Ref>) -> Result<(), Failure> {
    let room = room_of(on, named).await?;
    let marker = on.gate.directory.mark_read(on.user(), &room, id).await?;
    on.gate.hub.counters().read.add(1);
    ack(on, &room, marker, None, reference);
    Ok(())
}

fn typing(on: &Connection, named: Option<&str>) -> Result<(), Failure> {
    let at = joined_at(on, named)?;
    let author = on.link.author().clone();
    // Typing is the first thing to drop when a room is busy.
    let _ = on.rooms[at].handle.try_send(RoomCommand::Typing {
        author,
        connection: on.link.connection(),
    });
    Ok(())
}
