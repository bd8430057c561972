//! What the methods for rooms and members promise.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{AT, Scene, Subject, fresh_name, public_room, user};
use crate::model::{Name, Role, RoomId, RoomKind, Standing};
use crate::store::{Error, NewRoom, RoomChange};

/// A direct conversation is made once, whoever opens it and however many do at once.
pub async fn direct(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (ann, bob) = (scene.ann.id, scene.bob.id);
    let mut tasks = Vec::new();
    for nth in 0..8 {
        let store = subject.store();
        let (a, b) = if nth % 2 == 0 { (ann, bob) } else { (bob, ann) };
        tasks.push(tokio::spawn(async move { store.open_direct(a, b, AT).await }));
    }
    let mut made = 0;
    for task in tasks {
        let (room, fresh) = task.await??;
        made += usize::from(fresh);
        ensure!(
            room.id == RoomId::direct(ann, bob),
            "its id does not follow from the two people"
        );
        ensure!(room.kind == RoomKind::Direct && room.name.is_none(), "it is {room:?}");
        ensure!(
            room.pair == Some((ann.min(bob), ann.max(bob))),
            "its people are {:?}",
            room.pair
        );
    }
    ensure!(made == 1, "it was made {made} times");
    for person in [ann, bob] {
        let standing = scene.store.standing(RoomId::direct(ann, bob), person).await?;
        ensure!(
            standing == Standing::Member(Role::Member),
            "one of the two is {standing:?}"
        );
    }
    let (_, fresh) = scene.store.open_direct(ann, ann, AT).await?;
    ensure!(
        fresh && scene.store.member_count(RoomId::direct(ann, ann)).await? == 1,
        "notes to oneself don't work"
    );
    Ok(())
}

/// A room whose owner goes has the longest-standing moderator, else member, as its owner in the same step.
pub async fn succession(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room) = (&scene.store, scene.room.id);
    let joined = |seconds| AT.plus(Duration::from_secs(seconds));
    let (carol, dave) = (user(&**store, "carol").await?, user(&**store, "dave").await?);
    store
        .put_member(room, carol.id, Role::Moderator, joined(20), None)
        .await?;
    store
        .put_member(room, dave.id, Role::Moderator, joined(10), None)
        .await?;
    for (leaver, heir) in [
        (scene.ann.id, Some(dave.id)),
        (scene.ann.id, None),
        (dave.id, Some(carol.id)),
        (carol.id, Some(scene.bob.id)),
        (scene.bob.id, None),
    ] {
        let named = store.end_member(room, leaver).await?;
        ensure!(named == heir, "{named:?} is named as the new owner, not {heir:?}");
        ensure!(
            store.standing(room, leaver).await? == Standing::Outsider,
            "a membership did not end"
        );
        if let Some(heir) = heir {
            let standing = store.standing(room, heir).await?;
            ensure!(
                standing == Standing::Member(Role::Owner),
                "the new owner is {standing:?}"
            );
        }
    }
    let other = public_room(&**store, &scene.ann).await?.id;
    store.put_member(other, scene.bob.id, Role::Member, AT, None).await?;
    store.hand_over(other, scene.ann.id, scene.bob.id).await?;
    ensure!(
        store.standing(other, scene.ann.id).await? == Standing::Member(Role::Moderator),
        "the giver is no moderator"
    );
    ensure!(
        store.standing(other, scene.bob.id).await? == Standing::Member(Role::Owner),
        "the taker is no owner"
    );
    Ok(())
}

/// A ban ends a membership and holds until it is lifted, whoever is put into the room.
pub async fn bans(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room, bob) = (&scene.store, scene.room.id, scene.bob.id);
    store.ban(room, bob, scene.ann.id, AT).await?;
    ensure!(
        store.standing(room, bob).await? == Standing::Banned,
        "a ban does not hold"
    );
    ensure!(
        store.member_count(room).await? == 1,
        "a ban does not end the membership"
    );
    ensure!(
        store.rooms_of(bob).await?.is_empty(),
        "a banned user still has the room"
    );
    let bans = store.bans(room).await?;
    let [ban] = &bans[..] else {
        anyhow::bail!("one ban is listed as {bans:?}")
    };
    ensure!(
        (ban.user, ban.by, ban.at) == (bob, scene.ann.id, AT),
        "a ban is listed as {ban:?}"
    );
    ensure!(ban.name == scene.bob.name, "a ban names {}", ban.name);
    store.put_member(room, bob, Role::Member, AT, None).await?;
    ensure!(
        store.standing(room, bob).await? == Standing::Banned,
        "making somebody a member lifted their ban"
    );
    store.unban(room, bob).await?;
    ensure!(
        store.standing(room, bob).await? == Standing::Outsider,
        "a ban is not lifted"
    );
    store.unban(room, bob).await?;
    store.put_member(room, bob, Role::Member, AT, None).await?;
    ensure!(
        store.standing(room, bob).await? == Standing::Member(Role::Member),
        "a lifted ban still holds"
    );
    store.end_member(room, bob).await?;
    let late = store.set_role(room, bob, Role::Moderator).await;
    ensure!(
        late == Err(Error::NotFound) && store.standing(room, bob).await? == Standing::Outsider,
        "a role given after the end of a membership brought it back: {late:?}"
    );
    Ok(())
}

/// Members come in the order of their names, by prefix, page by page.
pub async fn members(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let (store, room) = (&scene.store, scene.room.id);
    for _ in 0..5 {
        let guest = user(&**store, "Guest").await?;
        store.put_member(room, guest.id, Role::Member, AT, None).await?;
    }
    let everybody = store.members(room, "", None, 100).await?;
    ensure!(everybody.len() == 7, "{} of 7 members are listed", everybody.len());
    ensure!(
        everybody.is_sorted_by(|a, b| a.name < b.name),
        "members are not in the order of names"
    );
    ensure!(
        everybody[0].user == scene.ann.id && everybody[0].role == Role::Owner,
        "roles are wrong"
    );
    let guests = store.members(room, "gUEST", None, 100).await?;
    ensure!(guests == everybody[2..], "a prefix finds {guests:?}");
    let mut after: Option<Name> = None;
    let mut walked = Vec::new();
    while let Some(last) = {
        let page = store.members(room, "", after.as_ref(), 3).await?;
        walked.extend(page.clone());
        page.last().map(|member| member.name.clone())
    } {
        after = Some(last);
    }
    ensure!(walked == everybody, "page by page the list is another");
    Ok(())
}

/// Rooms are found by part of name or title; private, archived and deleted ones where they should be and nowhere else.
pub async fn listed(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    let word = fresh_name("Word")?.as_str().to_owned();
    let make = |title: String, kind| {
        let name = fresh_name("room");
        async move {
            let room = NewRoom {
                name: name?,
                title,
                kind,
                owner: scene.ann.id,
                at: AT,
            };
            anyhow::Ok(store.create_room(room).await?)
        }
    };
    let open = make(format!("Über {word}"), RoomKind::Public).await?;
    let private = make(word.clone(), RoomKind::Private).await?;
    let archived = make(word.clone(), RoomKind::Public).await?;
    let deleted = make(word.clone(), RoomKind::Public).await?;
    let change = RoomChange {
        archived: Some(true),
        ..RoomChange::default()
    };
    let archived = store.change_room(archived.id, change).await?;
    ensure!(archived.archived, "a room was not archived");
    store
        .change_room(
            deleted.id,
            RoomChange {
                deleted: true,
                ..RoomChange::default()
            },
        )
        .await?;

    let found = store.public_rooms(&format!("über {}", word.to_lowercase()), 10).await?;
    ensure!(found == [open.clone()], "in the directory is {found:?}");
    let found = store.public_rooms(&word, 10).await?;
    ensure!(found == [open.clone()], "in the directory is {found:?}");
    let mut wanted = vec![open.clone(), private, archived];
    wanted.sort_by(|a, b| a.name.cmp(&b.name));
    let all = store.all_rooms(&word, None, 10).await?;
    ensure!(all == wanted, "all rooms are {all:?}");
    let rest = store.all_rooms(&word, Some(wanted[0].id), 1).await?;
    ensure!(rest == wanted[1..2], "after the first comes {rest:?}");

    let name = deleted.name.context("a named room has a name")?;
    ensure!(
        store.room_by_name(&name).await?.is_none(),
        "a deleted room is found by name"
    );
    ensure!(
        store.room(deleted.id).await?.is_some_and(|room| room.deleted),
        "a deleted room is not found by id"
    );
    ensure!(
        store.change_room(deleted.id, RoomChange::default()).await.is_err(),
        "a deleted room was changed"
    );
    let mine = store.rooms_of(scene.ann.id).await?;
    ensure!(
        mine.iter().all(|membership| membership.room.id != deleted.id),
        "a deleted room is among one's own"
    );
    ensure!(
        mine.len() == 4 && mine.iter().all(|one| one.role == Role::Owner),
        "one's own rooms are {mine:?}"
    );
    let stranger = user(&**store, "stranger").await?;
    ensure!(
        store.share_a_room(scene.ann.id, scene.bob.id).await?,
        "two members share no room"
    );
    ensure!(
        !store.share_a_room(scene.ann.id, stranger.id).await?,
        "a stranger shares a room"
    );
    Ok(())
}
