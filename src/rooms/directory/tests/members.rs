//! Invitations, roles, kicks, bans and leaving.

use super::super::Error;
use super::world::World;
use crate::control_log::{Entry, StandingCut};
use crate::model::{Role, RoomKind, Standing};

#[tokio::test]
async fn members_are_invited_and_promoted_by_those_who_may() {
    let world = World::new();
    let (room, [outsider, banned, member, moderator, owner]) = world.room_with_everybody(RoomKind::Private, "i").await;
    let directory = &world.directory;
    let refused = directory.put_member(&member, &room, &outsider, None).await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
    let refused = directory
        .put_member(&moderator, &room, &outsider, Some(Role::Moderator))
        .await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
    let refused = directory.put_member(&owner, &room, &banned, None).await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
    assert_eq!(
        directory.put_member(&moderator, &room, &outsider, None).await,
        Ok(Role::Member)
    );
    assert_eq!(world.told(&outsider), ["invited"]);
    assert_eq!(world.standing(&room, &outsider).await, Standing::Member(Role::Member));
    assert_eq!(
        directory.put_member(&owner, &room, &moderator, None).await,
        Ok(Role::Moderator)
    );
    world.logged();
    assert_eq!(
        directory
            .put_member(&owner, &room, &moderator, Some(Role::Member))
            .await,
        Ok(Role::Member)
    );
    let why = StandingCut::Role;
    assert_eq!(
        world.logged(),
        [Entry::Standing {
            room: room.id,
            user: moderator.id,
            why
        }]
    );
    assert_eq!(world.standing(&room, &moderator).await, Standing::Member(Role::Member));
    let refused = directory
        .put_member(&moderator, &room, &moderator, Some(Role::Owner))
        .await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
    let refused = directory.put_member(&owner, &room, &owner, Some(Role::Member)).await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
}

#[tokio::test]
async fn an_owner_hands_the_room_over() {
    let world = World::new();
    let (room, [outsider, _, member, _, owner]) = world.room_with_everybody(RoomKind::Public, "h").await;
    world
        .directory
        .put_member(&owner, &room, &member, Some(Role::Owner))
        .await
        .unwrap();
    assert_eq!(world.standing(&room, &member).await, Standing::Member(Role::Owner));
    assert_eq!(world.standing(&room, &owner).await, Standing::Member(Role::Moderator));
    assert_eq!(world.told(&member), ["invited", "role"]);
    world
        .directory
        .put_member(&member, &room, &outsider, Some(Role::Owner))
        .await
        .unwrap();
    assert_eq!(world.standing(&room, &outsider).await, Standing::Member(Role::Owner));
    assert_eq!(world.standing(&room, &member).await, Standing::Member(Role::Moderator));
}

#[tokio::test]
async fn kicks_and_bans_reach_only_those_below() {
    let world = World::new();
    let (room, [outsider, banned, member, moderator, owner]) = world.room_with_everybody(RoomKind::Public, "k").await;
    let directory = &world.directory;
    for target in [&owner, &moderator] {
        assert!(matches!(
            directory.kick(&moderator, &room, target).await,
            Err(Error::Forbidden(_))
        ));
        assert!(matches!(
            directory.ban(&moderator, &room, target).await,
            Err(Error::Forbidden(_))
        ));
    }
    assert!(matches!(
        directory.ban(&owner, &room, &owner).await,
        Err(Error::Forbidden(_))
    ));
    world.told(&member);
    world.logged();
    directory.kick(&moderator, &room, &member).await.unwrap();
    assert_eq!(world.told(&member), ["kicked"]);
    let why = StandingCut::Kicked;
    assert_eq!(
        world.logged(),
        [Entry::Standing {
            room: room.id,
            user: member.id,
            why
        }]
    );
    assert_eq!(world.standing(&room, &member).await, Standing::Outsider);
    directory.open_or_join(&member, "k-room").await.unwrap();
    directory.ban(&moderator, &room, &member).await.unwrap();
    directory.ban(&moderator, &room, &outsider).await.unwrap();
    assert_eq!(world.told(&outsider), [""; 0]);
    assert!(matches!(
        directory.open_or_join(&member, "k-room").await,
        Err(Error::Banned)
    ));
    let bans = directory.bans(moderator.id, &room).await.unwrap();
    assert_eq!(bans.len(), 3);
    assert!(matches!(directory.bans(outsider.id, &room).await, Err(Error::Banned)));
    directory.unban(&moderator, &room, &banned).await.unwrap();
    assert_eq!(world.told(&banned), ["unbanned"]);
    assert_eq!(world.standing(&room, &banned).await, Standing::Outsider);
    directory.open_or_join(&banned, "k-room").await.unwrap();
}

#[tokio::test]
async fn an_owner_who_leaves_has_an_heir() {
    let world = World::new();
    let (room, [outsider, _, _, moderator, owner]) = world.room_with_everybody(RoomKind::Public, "l").await;
    world.told(&moderator);
    assert!(matches!(
        world.directory.leave(outsider.id, &room).await,
        Err(Error::Forbidden(_))
    ));
    world.directory.leave(owner.id, &room).await.unwrap();
    assert_eq!(world.told(&owner).last().map(String::as_str), Some("left"));
    assert_eq!(world.told(&moderator), ["role"]);
    assert_eq!(world.standing(&room, &moderator).await, Standing::Member(Role::Owner));
    assert_eq!(world.standing(&room, &owner).await, Standing::Outsider);
}
