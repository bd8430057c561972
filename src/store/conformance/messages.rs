//! The clauses about messages, events and markers.

use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};

use super::{BEGINNING, Scene, Subject, parse_nonce, public_room, user};
use crate::model::{Change, ChangeKind, EventId, EventKind, Message, NewMessage, Role, Standing};
use crate::store::{Appended, Error};

pub(super) fn edit(message: &Message, body: &str) -> Change {
    Change {
        room: message.room,
        message: message.id,
        by: message.author.id,
        kind: ChangeKind::Edit {
            body: body.into(),
            mentions: Vec::new(),
        },
    }
}

pub(super) fn delete(message: &Message) -> Change {
    Change {
        kind: ChangeKind::Delete,
        ..edit(message, "")
    }
}

pub(super) fn ids(messages: &[Message]) -> Vec<EventId> {
    messages.iter().map(|message| message.id).collect()
}

/// What was acknowledged is there after a crash: each message and each change, at the moment of its answer.
pub async fn durable(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    for body in ["first", "second"] {
        let said = scene.say(scene.says(&scene.ann, body)).await?;
        let found = subject.reborn().await?.message(said.room, said.id).await?;
        ensure!(
            found.as_ref() == Some(&said),
            "an acknowledged message is lost: {said:?}, {found:?}"
        );
        scene.store.change(edit(&said, "changed")).await?;
        let found = subject.reborn().await?.message(said.room, said.id).await?;
        let found = found.context("an edited message is lost")?;
        ensure!(found.body == "changed", "an acknowledged edit is lost: {found:?}");
    }
    Ok(())
}

/// Every way of reading shows a write as soon as it was answered.
pub async fn visible(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room) = (&scene.store, scene.room.id);
    ensure!(
        store.newest(room).await?.is_none(),
        "a silent room has a newest position"
    );
    for nth in 0..5 {
        let said = scene.say(scene.says(&scene.ann, &format!("message {nth}"))).await?;
        ensure!(
            store.message(room, said.id).await?.as_ref() == Some(&said),
            "not found in its room"
        );
        ensure!(
            store.find_message(said.id).await?.as_ref() == Some(&said),
            "not found by id alone"
        );
        ensure!(scene.history().await?.last() == Some(&said), "not in the latest page");
        ensure!(store.newest(room).await? == Some(said.id), "not the newest position");
        let events = store.events(room, BEGINNING, 100).await?;
        ensure!(events.iter().any(|event| event.id == said.id), "not among the events");
        let edited = store.change(edit(&said, "other")).await?;
        let found = store
            .message(room, said.id)
            .await?
            .context("an edited message is gone")?;
        ensure!(
            edited.kind == EventKind::Edited(found),
            "the edit's event is not what is read"
        );
        ensure!(
            store.newest(room).await? == Some(edited.id),
            "an edit is not the newest position"
        );
        store.change(delete(&said)).await?;
        let found = store
            .message(room, said.id)
            .await?
            .context("a deleted message is gone")?;
        ensure!(
            found.deleted_at.is_some() && found.body.is_empty(),
            "a deletion is not seen: {found:?}"
        );
    }
    let carol = user(&**store, "carol").await?;
    ensure!(
        store.user(carol.id).await?.as_ref() == Some(&carol),
        "a new user is not found by id"
    );
    ensure!(
        store.user_by_name(&carol.name).await?.as_ref() == Some(&carol),
        "nor by name"
    );
    store
        .put_member(room, carol.id, Role::Moderator, super::AT, None)
        .await?;
    ensure!(
        store.standing(room, carol.id).await? == Standing::Member(Role::Moderator),
        "a new member is not seen"
    );
    ensure!(store.member_count(room).await? == 3, "a new member is not counted");
    Ok(())
}

/// Ids ascend within an append, from one append to the next whoever makes it, and from a cause to its reply.
pub async fn ordered(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Arc::new(Scene::set(subject).await?);
    let bodies: Vec<String> = (0..20).map(|nth| format!("message {nth}")).collect();
    let batch = bodies.iter().map(|body| scene.says(&scene.ann, body)).collect();
    let mut said = Vec::new();
    for (result, body) in scene.store.append(batch).await.into_iter().zip(&bodies) {
        let Appended { message, fresh, .. } = result?;
        ensure!(fresh, "a first attempt is a repetition");
        ensure!(message.body == *body, "results are not in the order given");
        said.push(message);
    }
    ensure!(said.len() == bodies.len(), "not every message has a result");
    ensure!(
        said.is_sorted_by(|a, b| a.id < b.id),
        "ids of one append don't ascend: {:?}",
        ids(&said)
    );
    let cause = said.last().context("a message")?.id;
    let reply = scene
        .say(NewMessage {
            reply_to: Some(cause),
            ..scene.says(&scene.bob, "reply")
        })
        .await?;
    ensure!(
        reply.id > cause && reply.reply_to == Some(cause),
        "a reply sorts before its cause"
    );

    // Whoever asks after somebody else was answered gets a greater id.
    let greatest = Arc::new(Mutex::new(reply.id));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (scene, greatest) = (Arc::clone(&scene), Arc::clone(&greatest));
        tasks.push(tokio::spawn(async move {
            for _ in 0..10 {
                let before = *greatest.lock().map_err(|_| anyhow::anyhow!("another task failed"))?;
                let said = scene.say(scene.says(&scene.ann, "at once")).await?;
                ensure!(
                    said.id > before,
                    "{} was answered before {} was asked for",
                    before,
                    said.id
                );
                let mut greatest = greatest.lock().map_err(|_| anyhow::anyhow!("another task failed"))?;
                *greatest = said.id.max(*greatest);
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    let history = scene.history().await?;
    ensure!(
        history.len() == 101,
        "{} messages of 101 are in the history",
        history.len()
    );
    Ok(())
}

/// A nonce is one message: later attempts get it back, whatever became of it, and store nothing.
pub async fn nonce(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let new = NewMessage {
        nonce: parse_nonce("n-1"),
        ..scene.says(&scene.ann, "hi")
    };
    let first = scene.say(new.clone()).await?;
    let new = NewMessage { retry: true, ..new };
    for _ in 0..2 {
        let again = scene.append(new.clone()).await?;
        ensure!(
            again == Appended::repeated(first.clone()),
            "a retry answers {again:?}, not {first:?}"
        );
    }
    scene.store.change(edit(&first, "edited since")).await?;
    let again = scene.append(new.clone()).await?;
    ensure!(!again.fresh, "a retry after an edit is a new message");
    ensure!(
        again.message.id == first.id,
        "a retry after an edit answers another message"
    );
    ensure!(scene.history().await?.len() == 1, "a retry stored something");

    let other_author = NewMessage {
        nonce: parse_nonce("n-1"),
        retry: true,
        ..scene.says(&scene.bob, "hi")
    };
    ensure!(
        scene.say(other_author).await?.id != first.id,
        "two authors share a nonce"
    );
    let other_body = NewMessage {
        body: "ho".into(),
        ..new.clone()
    };
    let other_room = NewMessage {
        room: public_room(&*scene.store, &scene.ann).await?.id,
        ..new
    };
    for reused in [other_body, other_room] {
        let result = scene.store.append(vec![reused]).await;
        ensure!(result == [Err(Error::NonceReused)], "a reused nonce answers {result:?}");
    }
    Ok(())
}

/// The last edit wins, and nothing undoes a deletion.
pub async fn sticky(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let said = scene.say(scene.says(&scene.ann, "one")).await?;
    let mut last = said.id;
    for body in ["two", "three"] {
        let event = scene.store.change(edit(&said, body)).await?;
        ensure!(event.id > last, "an event's id is not above what it follows");
        last = event.id;
        let found = scene
            .store
            .message(said.room, said.id)
            .await?
            .context("an edited message is gone")?;
        ensure!(
            found.body == body && found.last_event == Some(last),
            "the last edit did not win: {found:?}"
        );
        ensure!(
            found.edited_at.is_some() && found.deleted_at.is_none(),
            "it is not marked as edited: {found:?}"
        );
    }
    let deleted = scene.store.change(delete(&said)).await?;
    let kind = EventKind::Deleted { message: said.id };
    ensure!(
        deleted.id > last && deleted.kind == kind,
        "a deletion answers {deleted:?}"
    );
    let revived = scene.store.change(edit(&said, "four")).await;
    ensure!(
        revived == Err(Error::NotFound),
        "a deleted message can be edited: {revived:?}"
    );
    let found = scene
        .store
        .message(said.room, said.id)
        .await?
        .context("a deleted message is gone")?;
    ensure!(
        found.deleted_at.is_some() && found.body.is_empty(),
        "a deletion was undone: {found:?}"
    );
    ensure!(scene.history().await? == [found], "a deleted message lost its place");
    let again = scene.store.change(delete(&said)).await?;
    ensure!(again == deleted, "a second deletion is another event: {again:?}");
    Ok(())
}

/// A marker stands where it was furthest.
pub async fn marker(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room, bob) = (&scene.store, scene.room.id, scene.bob.id);
    let early = scene.say(scene.says(&scene.ann, "early")).await?.id;
    let late = scene.say(scene.says(&scene.ann, "late")).await?.id;
    ensure!(
        store.read_marker(room, bob).await?.is_none(),
        "a marker that nobody set"
    );
    for (set, stands) in [(early, early), (late, late), (early, late)] {
        let answered = store.set_read_marker(room, bob, set).await?;
        ensure!(answered == stands, "a marker at {answered} should stand at {stands}");
        ensure!(
            store.read_marker(room, bob).await? == Some(stands),
            "a marker is not read where it stands"
        );
    }
    let carol = user(&**store, "carol").await?;
    store
        .put_member(room, carol.id, Role::Member, super::AT, Some(late))
        .await?;
    ensure!(
        store.read_marker(room, carol.id).await? == Some(late),
        "a new member's marker is not where it starts"
    );
    store
        .put_member(room, carol.id, Role::Moderator, super::AT, Some(early))
        .await?;
    ensure!(
        store.read_marker(room, carol.id).await? == Some(late),
        "a new role moved a marker"
    );
    Ok(())
}
