//! Sending, editing, deleting, mentions and read markers.

use super::super::Error;
use super::world::World;
use crate::model::{EventKind, Role, RoomKind};

#[tokio::test]
async fn a_send_names_members_only() {
    let world = World::new();
    let (room, [outsider, banned, member, moderator, _]) = world.room_with_everybody(RoomKind::Public, "m").await;
    let text = "@m-moderator @m-outsider @m-banned @nobody @M-MEMBER";
    let named = world.directory.check_send(&room, member.id, text).await.unwrap();
    assert_eq!(named, [moderator.id, member.id]);
    let refused = |error: Error| error.code();
    let empty = world.directory.check_send(&room, member.id, " \n").await;
    assert_eq!(empty.map_err(refused), Err("message_empty"));
    let long = world.directory.check_send(&room, member.id, &"x".repeat(4_001)).await;
    assert_eq!(long.map_err(refused), Err("message_too_long"));
    let outside = world.directory.check_send(&room, outsider.id, "hi").await;
    assert_eq!(outside.map_err(refused), Err("forbidden"));
    let banned = world.directory.check_send(&room, banned.id, "hi").await;
    assert_eq!(banned.map_err(refused), Err("banned"));
}

#[tokio::test]
async fn one_edits_ones_own_and_moderators_delete_anybodys() {
    let world = World::new();
    let (room, [_, _, member, moderator, owner]) = world.room_with_everybody(RoomKind::Public, "e").await;
    let directory = &world.directory;
    let (mine, theirs) = (
        world.say(&room, &member, "a").await,
        world.say(&room, &owner, "b").await,
    );
    let edited = directory.edit(member.id, &room, mine.id, "see @e-owner").await.unwrap();
    let EventKind::Edited(message) = edited.kind else {
        panic!("{edited:?}")
    };
    assert_eq!(
        (message.body.as_str(), message.mentions),
        ("see @e-owner", vec![owner.id])
    );
    let refused = |error: Error| error.code();
    let not_mine = directory.edit(moderator.id, &room, mine.id, "x").await;
    assert_eq!(not_mine.map_err(refused), Err("forbidden"));
    let empty = directory.edit(member.id, &room, mine.id, "").await;
    assert_eq!(empty.map_err(refused), Err("message_empty"));
    let not_mine = directory.delete(member.id, &room, theirs.id).await;
    assert_eq!(not_mine.map_err(refused), Err("forbidden"));
    let first = directory.delete(moderator.id, &room, theirs.id).await.unwrap();
    let second = directory.delete(owner.id, &room, theirs.id).await.unwrap();
    assert_eq!(first, second, "deleting again changes nothing");
    let gone = directory.edit(owner.id, &room, theirs.id, "back").await;
    assert_eq!(gone.map_err(refused), Err("not_found"));
    let unknown = directory.delete(owner.id, &room, World::far_id()).await;
    assert_eq!(unknown.map_err(refused), Err("not_found"));
    let (other, _) = world.room_with_everybody(RoomKind::Public, "o").await;
    assert!(directory.check_reply(&other, mine.id).await.is_err());
    directory.check_reply(&room, mine.id).await.unwrap();
}

#[tokio::test]
async fn the_marker_moves_forward_to_what_exists() {
    let world = World::new();
    let (room, [outsider, _, member, ..]) = world.room_with_everybody(RoomKind::Public, "r").await;
    let (first, second) = (
        world.say(&room, &member, "a").await,
        world.say(&room, &member, "b").await,
    );
    world.told(&member);
    let directory = &world.directory;
    assert_eq!(directory.mark_read(member.id, &room, second.id).await, Ok(second.id));
    assert_eq!(directory.mark_read(member.id, &room, first.id).await, Ok(second.id));
    assert_eq!(world.told(&member), ["read"], "only a move is told");
    let far = directory.mark_read(member.id, &room, World::far_id()).await;
    assert_eq!(far.map_err(|error| error.code()), Err("not_found"));
    let outside = directory.mark_read(outsider.id, &room, first.id).await;
    assert_eq!(outside.map_err(|error| error.code()), Err("forbidden"));
}

#[tokio::test]
async fn a_name_that_nobody_has_is_asked_for_once_and_a_store_that_is_away_refuses_no_message() {
    let world = World::new();
    let (room, [_, _, member, _, owner]) = world.room_with_everybody(RoomKind::Public, "m").await;
    let directory = &world.directory;
    let text = format!("@zoe and @{}", member.name);
    assert_eq!(directory.check_send(&room, owner.id, &text).await, Ok(vec![member.id]));
    // Zoe comes; this node has just learnt that there is none, and does not ask again.
    let zoe = world.user("zoe").await;
    directory
        .seams
        .store
        .put_member(room.id, zoe.id, Role::Member, zoe.created_at, None)
        .await
        .unwrap();
    assert_eq!(directory.check_send(&room, owner.id, &text).await, Ok(vec![member.id]));
    // Where she registers she can be named at once.
    directory.appeared(&zoe.name);
    assert_eq!(
        directory.check_send(&room, owner.id, &text).await,
        Ok(vec![zoe.id, member.id])
    );
    world.store.close().await;
    assert_eq!(directory.mentions(&room, "@somebody-new").await, []);
    assert_eq!(
        directory.check_send(&room, owner.id, &text).await,
        Ok(vec![zoe.id, member.id])
    );
}
