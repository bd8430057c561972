//! Opening and joining rooms.

use super::super::Error;
use super::world::World;
use crate::limits;
use crate::model::{Name, Role, RoomKind, Standing};

#[tokio::test]
async fn the_first_owns_the_room_and_the_next_joins_it() {
    let world = World::new();
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let made = world.directory.open_or_join(ann.id, "Lobby").await.unwrap();
    assert!(made.created);
    assert_eq!((made.role, made.room.kind), (Role::Owner, RoomKind::Public));
    let newest = world.say(&made.room, &ann, "hi").await;
    let joined = world.directory.open_or_join(bob.id, "lobby").await.unwrap();
    assert!(!joined.created);
    assert_eq!((joined.room.id, joined.role), (made.room.id, Role::Member));
    assert_eq!(joined.read, Some(newest.id), "what was said before is not unread");
    world.say(&made.room, &ann, "again").await;
    let id = made.room.id.to_string();
    let again = world.directory.open_or_join(bob.id, &id).await.unwrap();
    assert_eq!((again.role, again.read), (Role::Member, Some(newest.id)));
    assert_eq!(world.told(&bob), ["joined"]);
    let unknown = crate::model::RoomId::random().to_string();
    assert!(matches!(
        world.directory.open_or_join(bob.id, &unknown).await,
        Err(Error::NotFound(_))
    ));
    assert!(matches!(
        world.directory.open_or_join(bob.id, "a b").await,
        Err(Error::InvalidName(_))
    ));
}

#[tokio::test]
async fn whom_another_node_let_in_is_told_their_own_marker() {
    let world = World::new();
    world.among_others();
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let made = world.directory.open_or_join(ann.id, "Lobby").await.unwrap();
    assert_eq!(world.standing(&made.room, &bob).await, Standing::Outsider);
    let first = world.say(&made.room, &ann, "hi").await;
    // Another node lets bob in, and this one has not heard of it yet.
    let at = first.at();
    let (room, store) = (made.room.id, &world.store);
    store
        .put_member(room, bob.id, Role::Member, at, Some(first.id))
        .await
        .unwrap();
    world.say(&made.room, &ann, "again").await;
    let joined = world.directory.open_or_join(bob.id, "lobby").await.unwrap();
    assert_eq!((joined.role, joined.read), (Role::Member, Some(first.id)));
}

#[tokio::test]
async fn of_many_at_once_one_makes_the_room() {
    let world = World::new();
    let mut people = Vec::new();
    for n in 0..8 {
        people.push(world.user(&format!("u{n}")).await);
    }
    let joins = people.iter().map(|user| world.directory.open_or_join(user.id, "crowd"));
    let joined = futures_util::future::try_join_all(joins).await.unwrap();
    assert_eq!(joined.iter().filter(|joined| joined.created).count(), 1);
    assert!(joined.iter().all(|other| other.room.id == joined[0].room.id));
    for (user, joined) in people.iter().zip(&joined) {
        assert_eq!(world.standing(&joined.room, user).await, Standing::Member(joined.role));
    }
}

#[tokio::test]
async fn private_rooms_do_not_exist_for_others_and_bans_say_so() {
    let world = World::new();
    for kind in [RoomKind::Private, RoomKind::Public] {
        let (room, [outsider, banned, member, ..]) = world.room_with_everybody(kind, kind.as_str()).await;
        for key in [room.label(), room.id.to_string()] {
            let outside = world
                .directory
                .open_or_join(outsider.id, &key)
                .await
                .map(|joined| joined.role);
            let expected = if kind == RoomKind::Private {
                Err("not_found")
            } else {
                Ok(Role::Member)
            };
            assert_eq!(outside.map_err(|error| error.code()), expected);
            let banned = world.directory.open_or_join(banned.id, &key).await;
            assert!(matches!(banned, Err(Error::Banned)));
            assert!(!world.directory.open_or_join(member.id, &key).await.unwrap().created);
        }
    }
}

#[tokio::test]
async fn a_direct_conversation_is_one_from_both_sides() {
    let world = World::new();
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let made = world.directory.open_direct(&ann, "bob").await.unwrap();
    assert!(made.created);
    assert_eq!(made.with.unwrap().id, bob.id);
    assert_eq!(world.told(&bob), ["direct"]);
    let again = world.directory.open_direct(&bob, &ann.id.to_string()).await.unwrap();
    assert_eq!((again.created, again.room.id), (false, made.room.id));
    assert_eq!(world.told(&ann), ["direct"]);
    assert_eq!(
        world
            .directory
            .open_direct(&ann, "ANN")
            .await
            .map(|_| ())
            .map_err(|e| e.code()),
        Err("invalid_request")
    );
    let unknown = world.directory.open_direct(&ann, "eve").await;
    assert!(matches!(unknown, Err(Error::NotFound("user"))));
    // It can be joined by id like any other room, by these two alone.
    let eve = world.user("eve").await;
    let id = made.room.id.to_string();
    assert!(world.directory.open_or_join(bob.id, &id).await.unwrap().with.is_some());
    assert!(matches!(
        world.directory.open_or_join(eve.id, &id).await,
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn rooms_and_memberships_are_counted_for_each_user() {
    let world = World::throttled();
    let (maker, joiner) = (world.user("maker").await, world.user("joiner").await);
    let directory = &world.directory;
    let limited = |answer: Result<(), Error>| matches!(answer, Err(Error::RateLimited { .. }));
    for n in 0..limits::ROOM_CREATION.burst {
        directory.open_or_join(maker.id, &format!("r{n}")).await.unwrap();
    }
    assert!(limited(directory.open_or_join(maker.id, "more").await.map(drop)));
    assert!(limited(directory.open_direct(&maker, "joiner").await.map(drop)));
    assert_eq!(world.store.room_by_name(&Name::parse("more").unwrap()).await, Ok(None));
    // Rooms that are there, and one is in, are open all the same; and others may make theirs.
    directory.open_or_join(maker.id, "r0").await.unwrap();
    directory.open_direct(&joiner, "maker").await.unwrap();
    directory.open_direct(&maker, "joiner").await.unwrap();
    let key = joiner.id.to_string();
    let throttles = &directory.seams.throttles;
    while throttles.check(crate::throttle::Kind::Membership, &key).await == Ok(crate::throttle::Verdict::Allowed) {}
    assert!(limited(directory.open_or_join(joiner.id, "r0").await.map(drop)));
    let room = directory.open_or_join(maker.id, "r0").await.unwrap().room;
    assert_eq!(directory.standing(room.id, joiner.id).await, Ok(Standing::Outsider));
}

#[tokio::test]
async fn nobody_joins_or_makes_more_rooms_than_one_may_be_in() {
    let world = World::new();
    let (owner, joiner) = (world.user("owner").await, world.user("joiner").await);
    let directory = &world.directory;
    let mut last = None;
    for n in 0..limits::ROOMS_PER_USER_MAX {
        let new = crate::store::NewRoom {
            name: Name::parse(&format!("r{n}")).unwrap(),
            title: String::new(),
            kind: RoomKind::Public,
            owner: joiner.id,
            at: joiner.created_at,
        };
        last = Some(world.store.create_room(new).await.unwrap());
    }
    directory.open_or_join(owner.id, "lobby").await.unwrap();
    assert_eq!(
        directory.open_or_join(joiner.id, "lobby").await.map(drop),
        Err(Error::RoomLimit)
    );
    assert_eq!(
        directory.open_or_join(joiner.id, "new").await.map(drop),
        Err(Error::RoomLimit)
    );
    directory.open_or_join(joiner.id, "r0").await.unwrap();
    directory.leave(joiner.id, &last.unwrap()).await.unwrap();
    directory.open_or_join(joiner.id, "lobby").await.unwrap();
}

#[tokio::test]
async fn the_count_of_members_is_read_once_until_it_changes() {
    let world = World::new();
    let (owner, ghost, guest) = (
        world.user("owner").await,
        world.user("ghost").await,
        world.user("guest").await,
    );
    let directory = &world.directory;
    let room = directory.open_or_join(owner.id, "den").await.unwrap().room;
    assert_eq!(directory.member_count(room.id).await, Ok(1));
    // Behind the directory's back, to see that it does not look.
    world
        .store
        .put_member(room.id, ghost.id, Role::Member, ghost.created_at, None)
        .await
        .unwrap();
    assert_eq!(directory.member_count(room.id).await, Ok(1));
    directory.open_or_join(guest.id, "den").await.unwrap();
    assert_eq!(directory.member_count(room.id).await, Ok(3));
    directory.leave(guest.id, &room).await.unwrap();
    assert_eq!(directory.member_count(room.id).await, Ok(2));
}
