//! The clause about ranges, and what reading events and unread counts promises.

use anyhow::ensure;

use super::messages::{delete, edit, ids};
use super::{BEGINNING, Scene, Subject};
use crate::model::{Event, EventKind, NewMessage};
use crate::store::{Page, Range, Unread};

/// Bounds are exclusive, pages ascend, are full where more exists, and say so.
pub async fn ranges(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room) = (&scene.store, scene.room.id);
    let empty = store.page(room, Range::Latest, 10).await?;
    ensure!(empty == Page::default(), "an empty room has a page: {empty:?}");
    let mut all = Vec::new();
    for nth in 0..25 {
        all.push(scene.say(scene.says(&scene.ann, &format!("message {nth}"))).await?.id);
    }
    all.sort_unstable();
    let cases = [
        (Range::Latest, 10, 15..25, true),
        (Range::Latest, 25, 0..25, false),
        (Range::Latest, 100, 0..25, false),
        (Range::Before(all[15]), 10, 5..15, true),
        (Range::Before(all[10]), 10, 0..10, false),
        (Range::Before(all[0]), 10, 0..0, false),
        (Range::After(all[4]), 10, 5..15, true),
        (Range::After(all[14]), 10, 15..25, false),
        (Range::After(all[24]), 10, 0..0, false),
        (Range::After(BEGINNING), 100, 0..25, false),
        (Range::Between(all[4], all[10]), 10, 5..10, false),
        (Range::Between(all[4], all[10]), 5, 5..10, false),
        (Range::Between(all[4], all[10]), 3, 5..8, true),
        (Range::Between(all[4], all[5]), 3, 0..0, false),
    ];
    for (range, limit, expected, has_more) in cases {
        let page = store.page(room, range, limit).await?;
        let found: Vec<_> = ids(&page.messages).iter().map(|id| all.binary_search(id)).collect();
        let wanted: Vec<_> = expected.map(Ok).collect();
        ensure!(
            found == wanted,
            "{range:?} limit {limit} holds {found:?}, not {wanted:?}"
        );
        ensure!(
            page.has_more == has_more,
            "{range:?} limit {limit} says has_more {}",
            page.has_more
        );
    }
    let events = store.events(room, all[4], 10).await?;
    let found: Vec<_> = events.iter().map(|event| event.id).collect();
    ensure!(found == all[5..15], "events after a position are {found:?}");
    Ok(())
}

/// Events tell messages in their present state, and edits and deletions at their own positions.
pub async fn events(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room) = (&scene.store, scene.room.id);
    let kept = scene.say(scene.says(&scene.ann, "kept")).await?;
    let gone = scene.say(scene.says(&scene.ann, "secret")).await?;
    let first = store.change(edit(&kept, "first edit")).await?;
    let secret = store.change(edit(&gone, "more secret")).await?;
    let second = store.change(edit(&kept, "second edit")).await?;
    let deleted = store.change(delete(&gone)).await?;
    let now = |id| store.message(room, id);
    let all = store.events(room, BEGINNING, 100).await?;
    let [m1, m2, e1, e2, e3, d1] = &all[..] else {
        anyhow::bail!("two messages, three edits and a deletion are told as {all:?}")
    };
    let message = |event: &Event| match &event.kind {
        EventKind::Message(message) => Some(message.clone()),
        _ => None,
    };
    ensure!(
        message(m1) == now(kept.id).await? && m1.id == kept.id,
        "a message's event is {m1:?}"
    );
    ensure!(
        message(m2) == now(gone.id).await? && m2.id == gone.id,
        "a deleted message's event is {m2:?}"
    );
    ensure!(
        *e1 == first && *e3 == second && *d1 == deleted,
        "events are {e1:?}, {e3:?}, {d1:?}"
    );
    let EventKind::Edited(blank) = &e2.kind else {
        anyhow::bail!("an edit is told as {e2:?}")
    };
    ensure!(
        e2.id == secret.id && blank.body.is_empty(),
        "the text of a deleted message is told: {e2:?}"
    );
    for (nth, event) in all.iter().enumerate() {
        let rest = store.events(room, event.id, 2).await?;
        let wanted: Vec<_> = all[nth + 1..].iter().take(2).cloned().collect();
        ensure!(rest == wanted, "after {} come {rest:?}, not {wanted:?}", event.id);
    }
    Ok(())
}

/// Others' messages after the marker that are not deleted count, up to the bound.
pub async fn unread(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room, bob) = (&scene.store, scene.room.id, scene.bob.id);
    let named = NewMessage {
        mentions: vec![scene.ann.id, bob],
        ..scene.says(&scene.ann, "@bob")
    };
    let first = scene.say(scene.says(&scene.ann, "one")).await?;
    scene.say(named.clone()).await?;
    scene.say(scene.says(&scene.bob, "my own")).await?;
    let withdrawn = scene.say(named).await?;
    store.change(delete(&withdrawn)).await?;
    let count = |messages, mentions| Unread { messages, mentions };
    let found = store.unread(room, bob, None).await?;
    ensure!(found == count(2, 1), "without a marker {found:?}");
    let found = store.unread(room, bob, Some(first.id)).await?;
    ensure!(found == count(1, 1), "after the first {found:?}");
    let found = store.unread(room, bob, Some(withdrawn.id)).await?;
    ensure!(found == count(0, 0), "after the last {found:?}");
    let many = (0..crate::limits::UNREAD_MAX + 20)
        .map(|_| scene.says(&scene.ann, "more"))
        .collect();
    store.append(many).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let found = store.unread(room, bob, None).await?;
    ensure!(
        found.messages as usize == crate::limits::UNREAD_MAX,
        "beyond the bound {found:?}"
    );
    Ok(())
}
