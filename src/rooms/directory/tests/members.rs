//! Invitations, roles, kicks, bans and leaving.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Directory, Error, RoomKey, Seams};
use super::world::World;
use crate::control_log::{Entry, StandingCut};
use crate::model::{Action, Role, RoomKind, Standing};

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
    directory.open_or_join(member.id, "k-room").await.unwrap();
    directory.ban(&moderator, &room, &member).await.unwrap();
    directory.ban(&moderator, &room, &outsider).await.unwrap();
    assert_eq!(world.told(&outsider), [""; 0]);
    assert!(matches!(
        directory.open_or_join(member.id, "k-room").await,
        Err(Error::Banned)
    ));
    let bans = directory.bans(moderator.id, &room).await.unwrap();
    assert_eq!(bans.len(), 3);
    assert!(matches!(directory.bans(outsider.id, &room).await, Err(Error::Banned)));
    directory.unban(&moderator, &room, &banned).await.unwrap();
    assert_eq!(world.told(&banned), ["unbanned"]);
    assert_eq!(world.standing(&room, &banned).await, Standing::Outsider);
    directory.open_or_join(banned.id, "k-room").await.unwrap();
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

#[tokio::test]
async fn a_role_given_at_the_moment_of_a_kick_brings_nobody_back() {
    let world = World::new();
    let (room, [_, _, member, moderator, owner]) = world.room_with_everybody(RoomKind::Public, "z").await;
    for round in 0..20 {
        world.directory.put_member(&owner, &room, &member, None).await.unwrap();
        let promoted = world
            .directory
            .put_member(&owner, &room, &member, Some(Role::Moderator));
        let kicked = world.directory.kick(&owner, &room, &member);
        let (promoted, kicked) = tokio::join!(promoted, kicked);
        kicked.unwrap();
        assert_eq!(
            world.standing(&room, &member).await,
            Standing::Outsider,
            "round {round}: {promoted:?}"
        );
        let stored = world.store.standing(room.id, member.id).await.unwrap();
        assert_eq!(stored, Standing::Outsider, "round {round}: {promoted:?}");
    }
    // The same in the one order that would bring somebody back: what was known of them is older than the kick.
    assert!(world.standing(&room, &moderator).await.role().is_some());
    world.store.end_member(room.id, moderator.id).await.unwrap();
    let late = world
        .directory
        .put_member(&owner, &room, &moderator, Some(Role::Member))
        .await;
    assert!(matches!(late, Err(Error::NotFound(_))), "{late:?}");
    let stored = world.store.standing(room.id, moderator.id).await.unwrap();
    assert_eq!(stored, Standing::Outsider);
}

#[tokio::test]
async fn what_could_not_be_announced_is_announced_later_and_may_be_repeated() {
    let world = World::new();
    let (room, [_, _, member, moderator, owner]) = world.room_with_everybody(RoomKind::Private, "o").await;
    world.logged();
    world.log.down.store(true, Ordering::SeqCst);
    let directory = &world.directory;
    let unavailable = |answer: Result<(), Error>| matches!(answer, Err(Error::Unavailable(_)));
    assert!(unavailable(directory.leave(member.id, &room).await));
    assert!(unavailable(directory.leave(member.id, &room).await));
    let promoted = directory.put_member(&owner, &room, &moderator, Some(Role::Owner)).await;
    assert!(unavailable(promoted.map(|_| ())));
    directory.settle().await;
    assert!(directory.owes() && world.logged().is_empty());
    world.log.down.store(false, Ordering::SeqCst);
    directory.settle().await;
    assert!(!directory.owes());
    let entry = |user, why| Entry::Standing {
        room: room.id,
        user,
        why,
    };
    let [left, heir, former] = &world.logged()[..] else {
        panic!("three changes were stored")
    };
    assert_eq!(*left, entry(member.id, StandingCut::Left));
    assert_eq!(*heir, entry(moderator.id, StandingCut::Role));
    assert_eq!(*former, entry(owner.id, StandingCut::Role));
    // Who repeats it learns what any outsider learns, after the same announcement.
    assert!(matches!(
        directory.leave(member.id, &room).await,
        Err(Error::NotFound(_))
    ));
    assert_eq!(world.logged(), [entry(member.id, StandingCut::Left)]);
    let again = directory
        .put_member(&moderator, &room, &owner, Some(Role::Moderator))
        .await;
    assert_eq!(again, Ok(Role::Moderator));
    assert_eq!(world.logged(), [entry(owner.id, StandingCut::Role)]);
}

/// A session that lasts.
const fn new_session(id: tower_sessions::session::Id, user: crate::model::UserId) -> crate::sessions::NewSession {
    crate::sessions::NewSession {
        id,
        user,
        expires_at: crate::model::Timestamp::from_millis(u32::MAX as u64 * 1_000),
    }
}

#[tokio::test]
async fn a_log_out_that_was_not_announced_is_finished_by_its_repetition() {
    let world = World::new();
    let user = world.user("logs-out").await;
    let id = tower_sessions::session::Id(7);
    let session = new_session(id, user.id);
    crate::sessions::UserSessions::create_many(&world.sessions, vec![session])
        .await
        .unwrap();
    let handle = crate::sessions::SessionHandle::of(id);
    world.log.down.store(true, Ordering::SeqCst);
    assert!(world.directory.end_session(user.id, &handle).await.is_err());
    assert!(
        world.directory.settle_session(&handle).await.is_err(),
        "the log is still away"
    );
    world.log.down.store(false, Ordering::SeqCst);
    world.logged();
    world.directory.settle_session(&handle).await.unwrap();
    assert_eq!(
        world.logged(),
        [Entry::Session {
            handle: handle.clone(),
            user: user.id
        }]
    );
    world.directory.settle_session(&handle).await.unwrap();
    assert_eq!(world.logged(), []);
}

#[tokio::test]
async fn a_log_out_that_is_under_way_is_announced_by_whoever_asks_for_it_again() {
    let world = World::new();
    let user = world.user("logs-out").await;
    let handle = crate::sessions::SessionHandle::of(tower_sessions::session::Id(9));
    let entry = Entry::Session {
        handle: handle.clone(),
        user: user.id,
    };
    let under_way = world.directory.ending(user.id, &handle);
    world.directory.settle_session(&handle).await.unwrap();
    assert_eq!(world.logged(), [entry]);
    drop(under_way);
    world.directory.settle_session(&handle).await.unwrap();
    assert_eq!(world.logged(), []);
}

#[tokio::test]
async fn a_log_out_that_died_with_its_node_is_announced_by_another() {
    let Some((link, _server)) = crate::redis_link::testing::shared().await else {
        return;
    };
    let sessions = |link: &crate::redis_link::RedisLink| {
        crate::sessions::redis::RedisSessions::new(link.clone(), Arc::new(crate::model::SystemTime))
    };
    let presence = crate::presence::local::LocalPresence::new().node();
    let world = World::over(
        Some((Arc::new(sessions(&link)), presence)),
        Arc::new(crate::throttle::Off),
    );
    let user = world.user("logs-out").await;
    let id = tower_sessions::session::Id(rand::random());
    let session = new_session(id, user.id);
    let elsewhere: Arc<dyn crate::sessions::UserSessions> = Arc::new(sessions(&link));
    elsewhere.create_many(vec![session]).await.unwrap();
    let handle = crate::sessions::SessionHandle::of(id);
    assert!(elsewhere.end(user.id, &handle).await.unwrap());
    world.directory.settle_session(&handle).await.unwrap();
    let user = user.id;
    assert_eq!(world.logged(), [Entry::Session { handle, user }]);
}

#[tokio::test]
async fn the_end_of_a_session_that_no_store_knows_is_not_answered_while_the_log_is_away() {
    let world = World::new();
    let unknown = crate::sessions::SessionHandle::of(tower_sessions::session::Id(8));
    world.log.down.store(true, Ordering::SeqCst);
    assert!(world.directory.settle_session(&unknown).await.is_err());
    // Who only logs in again acknowledges nothing for it.
    assert_eq!(world.directory.settle_known(&unknown).await, Ok(false));
    world.log.down.store(false, Ordering::SeqCst);
    world.directory.settle_session(&unknown).await.unwrap();
    assert_eq!(world.logged(), [], "strangers must not fill the log");
}

#[tokio::test]
async fn what_every_node_must_act_on_is_counted_for_each_user() {
    let world = World::throttled();
    let (guesser, other) = (world.user("guesser").await, world.user("other").await);
    let invented = |n: u32| crate::sessions::SessionHandle::parse(&format!("{n:032x}")).unwrap();
    world.logged();
    let most = crate::limits::REVOCATION.burst;
    for n in 0..most {
        let answer = world.directory.end_session(guesser.id, &invented(n)).await;
        assert_eq!(answer, Err(Error::NotFound("session")));
    }
    let limited = |answer: Result<(), Error>| matches!(answer, Err(Error::RateLimited { .. }));
    for n in 0..100 {
        assert!(limited(world.directory.end_session(guesser.id, &invented(n)).await));
    }
    assert!(limited(world.directory.may_revoke(guesser.id).await));
    assert_eq!(
        world.logged().len(),
        most as usize,
        "only what was allowed reaches the other nodes"
    );
    // Nobody else has to wait, and sessions that are there end all the same.
    world.directory.may_revoke(other.id).await.unwrap();
    let id = tower_sessions::session::Id(9);
    let session = crate::sessions::NewSession {
        id,
        user: guesser.id,
        expires_at: crate::model::Timestamp::from_millis(u64::from(u32::MAX) * 1_000),
    };
    crate::sessions::UserSessions::create_many(&world.sessions, vec![session])
        .await
        .unwrap();
    let handle = crate::sessions::SessionHandle::of(id);
    world.directory.end_session(guesser.id, &handle).await.unwrap();
}

#[tokio::test]
async fn moderators_are_counted_too_and_what_is_refused_changes_nothing() {
    let world = World::throttled();
    let (owner, member) = (world.user("owner").await, world.user("member").await);
    let name = crate::model::Name::parse("den").unwrap();
    let directory = &world.directory;
    let room = directory
        .create(owner.id, name, String::new(), RoomKind::Public)
        .await
        .unwrap();
    directory.open_or_join(member.id, "den").await.unwrap();
    while directory.may_revoke(owner.id).await.is_ok() {}
    world.logged();
    let refused = [
        directory.kick(&owner, &room, &member).await,
        directory.ban(&owner, &room, &member).await,
        directory.unban(&owner, &room, &member).await,
        directory
            .put_member(&owner, &room, &member, Some(Role::Moderator))
            .await
            .map(drop),
        directory.configure(owner.id, &room, Some("new"), None).await.map(drop),
    ];
    for answer in refused {
        assert!(matches!(answer, Err(Error::RateLimited { .. })), "{answer:?}");
    }
    assert_eq!(world.logged(), []);
    assert_eq!(
        directory.standing(room.id, member.id).await,
        Ok(Standing::Member(Role::Member))
    );
}

#[tokio::test]
async fn a_node_that_may_have_missed_a_revocation_asks_the_store() {
    let world = World::new();
    let (room, [_, _, member, _, owner]) = world.room_with_everybody(RoomKind::Private, "l").await;
    let node = crate::model::BootId::random();
    let lease = crate::control_log::lease::DeliveryLease::of(node);
    let elsewhere = Directory::new(Seams {
        lease: lease.clone(),
        ..world.directory.seams.clone()
    });
    let reading = |begun| {
        let position = crate::control_log::Position {
            incarnation: 1,
            offset: 0,
        };
        lease.renewed(begun, position, &[(node, position)]);
    };
    reading(crate::model::Moment::now());
    elsewhere
        .permitted(Action::Read, &RoomKey::Id(room.id), member.id)
        .await
        .unwrap();
    // The entry does not reach this node, whose last reading is now too long ago.
    world.directory.ban(&owner, &room, &member).await.unwrap();
    let change = crate::store::RoomChange {
        archived: Some(true),
        ..Default::default()
    };
    world.store.change_room(room.id, change).await.unwrap();
    let stale = elsewhere.standing(room.id, member.id).await.unwrap();
    assert_eq!(
        stale,
        Standing::Member(Role::Member),
        "it answers from memory while the lease holds"
    );
    lease.bar(crate::control_log::Position {
        incarnation: 1,
        offset: 1,
    });
    let answer = elsewhere
        .permitted(Action::Read, &RoomKey::Id(room.id), member.id)
        .await;
    assert_eq!(answer.map(drop), Err(Error::Banned));
    assert!(elsewhere.room_by_id(room.id).await.unwrap().archived);
}
