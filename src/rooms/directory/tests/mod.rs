//! The rules, over the real embedded store.

mod members;
mod messages;
mod opening;
pub(crate) mod world;

use std::sync::atomic::Ordering;

use super::{Error, RoomKey, UserKey};
use crate::control_log::{Entry, RoomCut, UserCut};
use crate::model::{Action, RoomKind, Standing, UserId, Verdict, permission};
use crate::sessions::{NewSession, UserSessions};
use world::World;

#[tokio::test]
async fn names_and_ids_mean_the_same() {
    let world = World::new();
    let ann = world.user("Ann").await;
    let id = ann.id.to_string();
    for text in ["ann", "ANN", &id, &id.replace('-', ""), &id.to_uppercase()] {
        let key = UserKey::parse(text).unwrap();
        assert_eq!(world.directory.user(&key).await.unwrap().id, ann.id, "{text}");
    }
    assert_eq!(
        world.directory.user(&UserKey::parse("bob").unwrap()).await,
        Err(Error::NotFound("user"))
    );
    world.user("bob").await;
    world.directory.user(&UserKey::parse("bob").unwrap()).await.unwrap();
    for wrong in ["", "a b", "ä", &"x".repeat(33)] {
        assert!(matches!(RoomKey::parse(wrong), Err(Error::InvalidName(_))), "{wrong}");
    }
}

#[tokio::test]
async fn authorise_follows_the_matrix() {
    let world = World::new();
    for kind in [RoomKind::Public, RoomKind::Private, RoomKind::Direct] {
        let (room, people) = world.room_with_everybody(kind, kind.as_str()).await;
        for user in &people {
            let standing = world.standing(&room, user).await;
            for action in Action::ALL {
                let answer = world.directory.authorise(action, &room, user.id).await;
                let expected = match permission::verdict(action, kind, standing) {
                    Verdict::Allow => Ok(standing),
                    Verdict::Forbidden => Err("forbidden"),
                    Verdict::Banned => Err("banned"),
                    Verdict::NotFound => Err("not_found"),
                };
                assert_eq!(
                    answer.map_err(|error| error.code()),
                    expected,
                    "{action:?} {kind:?} {}",
                    user.name
                );
            }
        }
    }
}

#[tokio::test]
async fn an_archived_room_can_be_read_and_joined_but_not_written() {
    let world = World::new();
    let (room, [outsider, _, member, moderator, _]) = world.room_with_everybody(RoomKind::Public, "a").await;
    let message = world.say(&room, &member, "hi").await;
    let room = world
        .directory
        .configure_as_superuser(&room, None, Some(true))
        .await
        .unwrap();
    assert_eq!(world.told(&member), ["invited", "changed"]);
    world.directory.open_or_join(outsider.id, "a-room").await.unwrap();
    world.directory.authorise(Action::Read, &room, member.id).await.unwrap();
    let archived = [
        world.directory.check_send(&room, member.id, "hi").await.map(|_| ()),
        world
            .directory
            .edit(member.id, &room, message.id, "ho")
            .await
            .map(|_| ()),
        world.directory.delete(member.id, &room, message.id).await.map(|_| ()),
        world
            .directory
            .delete(moderator.id, &room, message.id)
            .await
            .map(|_| ()),
    ];
    for answer in archived {
        assert_eq!(answer, Err(Error::Archived));
    }
    world
        .directory
        .delete_as_superuser(outsider.id, &room, message.id)
        .await
        .unwrap();
    let room = world
        .directory
        .configure_as_superuser(&room, None, Some(false))
        .await
        .unwrap();
    world.directory.check_send(&room, member.id, "hi").await.unwrap();
}

#[tokio::test]
async fn settings_belong_to_the_owner() {
    let world = World::new();
    let (room, [_, _, _, moderator, owner]) = world.room_with_everybody(RoomKind::Public, "s").await;
    world.logged();
    let title = Some("  A title ");
    let refused = world.directory.configure(moderator.id, &room, title, None).await;
    assert_eq!(refused.map_err(|error| error.code()), Err("forbidden"));
    let room = world
        .directory
        .configure(owner.id, &room, title, Some(RoomKind::Private))
        .await
        .unwrap();
    assert_eq!((room.title.as_str(), room.kind), ("A title", RoomKind::Private));
    assert_eq!(world.directory.room_by_id(room.id).await.unwrap(), room);
    let why = RoomCut::Changed;
    assert_eq!(world.logged(), [Entry::Room { room: room.id, why }]);
    for wrong in [&*"x".repeat(101), "two\nlines"] {
        let answer = world.directory.configure(owner.id, &room, Some(wrong), None).await;
        assert_eq!(answer.map_err(|error| error.code()), Err("invalid_request"));
    }
    let answer = world
        .directory
        .configure(owner.id, &room, None, Some(RoomKind::Direct))
        .await;
    assert_eq!(answer.map_err(|error| error.code()), Err("invalid_request"));
}

#[tokio::test]
async fn a_deleted_room_is_gone_and_its_name_is_free() {
    let world = World::new();
    let (room, [outsider, ..]) = world.room_with_everybody(RoomKind::Public, "d").await;
    world.directory.delete_room(&room).await.unwrap();
    assert!(matches!(
        world.directory.room_by_id(room.id).await,
        Err(Error::NotFound(_))
    ));
    let again = world.directory.open_or_join(outsider.id, "d-room").await.unwrap();
    assert!(again.created);
    assert_ne!(again.room.id, room.id);
    // Repeating it is announced again, for an attempt that got no further than the store.
    world.logged();
    world.directory.delete_room(&room).await.unwrap();
    let why = RoomCut::Deleted;
    assert_eq!(world.logged(), [Entry::Room { room: room.id, why }]);
}

#[tokio::test]
async fn log_ins_end_in_the_store_before_they_are_announced() {
    let world = World::new();
    let (ann, bob) = (world.user("ann").await, world.user("bob").await);
    let session = |user: UserId| NewSession {
        id: tower_sessions::session::Id::default(),
        user,
        expires_at: crate::model::Timestamp::from_millis(4_000_000_000_000),
    };
    let sessions = [session(ann.id), session(ann.id), session(ann.id), session(bob.id)];
    let handles = sessions
        .clone()
        .map(|session| crate::sessions::SessionHandle::of(session.id));
    world.sessions.create_many(sessions.to_vec()).await.unwrap();

    let foreign = world.directory.end_session(bob.id, &handles[0]).await;
    assert_eq!(foreign, Err(Error::NotFound("session")));
    assert!(world.sessions.live(&handles[0]).await.unwrap().is_some());

    world.logged();
    world.directory.end_session(ann.id, &handles[0]).await.unwrap();
    assert_eq!(world.sessions.live(&handles[0]).await.unwrap(), None);
    let handle = handles[0].clone();
    assert_eq!(world.logged(), [Entry::Session { handle, user: ann.id }]);

    let except = Some(&handles[1]);
    world
        .directory
        .change_password(ann.id, "hash".into(), except)
        .await
        .unwrap();
    assert!(world.sessions.live(&handles[1]).await.unwrap().is_some());
    assert_eq!(world.sessions.live(&handles[2]).await.unwrap(), None);
    assert_eq!(
        world.store.password_hash(ann.id).await.unwrap().as_deref(),
        Some("hash")
    );
    let cut = |except: Option<&crate::sessions::SessionHandle>, why| Entry::User {
        user: ann.id,
        except: except.cloned(),
        why,
    };
    assert_eq!(world.logged(), [cut(except, UserCut::PasswordChanged)]);

    world.directory.disable(ann.id).await.unwrap();
    assert_eq!(world.sessions.live(&handles[1]).await.unwrap(), None);
    assert!(world.store.user(ann.id).await.unwrap().unwrap().disabled);
    assert!(world.directory.user_by_id(ann.id).await.unwrap().disabled);
    assert_eq!(world.logged(), [cut(None, UserCut::Disabled)]);
    world.directory.enable(ann.id).await.unwrap();
    assert!(!world.directory.user_by_id(ann.id).await.unwrap().disabled);

    assert_eq!(world.directory.end_sessions(bob.id).await, Ok(1));
    assert_eq!(world.sessions.live(&handles[3]).await.unwrap(), None);
}

#[tokio::test]
async fn a_revocation_that_cannot_be_announced_is_not_acknowledged_and_can_be_repeated() {
    let world = World::new();
    let (room, [_, _, member, _, owner]) = world.room_with_everybody(RoomKind::Public, "r").await;
    world.log.down.store(true, Ordering::SeqCst);
    let answer = world.directory.kick(&owner, &room, &member).await;
    assert_eq!(answer.map_err(|error| error.code()), Err("unavailable"));
    assert_eq!(world.standing(&room, &member).await, Standing::Outsider);
    world.log.down.store(false, Ordering::SeqCst);
    world.logged();
    world.directory.kick(&owner, &room, &member).await.unwrap();
    assert_eq!(world.logged().len(), 1);
}

#[tokio::test]
async fn entries_make_the_directory_forget() {
    let world = World::new();
    let (room, [outsider, _, member, ..]) = world.room_with_everybody(RoomKind::Public, "f").await;
    assert!(world.standing(&room, &member).await.role().is_some());
    // Another node bans somebody: this one learns of it from the log.
    world
        .store
        .ban(room.id, member.id, outsider.id, room.created_at)
        .await
        .unwrap();
    assert!(
        world
            .directory
            .standing(room.id, member.id)
            .await
            .unwrap()
            .role()
            .is_some()
    );
    world.directory.apply(&Entry::Standing {
        room: room.id,
        user: member.id,
        why: crate::control_log::StandingCut::Banned,
    });
    assert_eq!(world.standing(&room, &member).await, Standing::Banned);
    world.store.unban(room.id, member.id).await.unwrap();
    world.directory.forget_all();
    assert_eq!(world.standing(&room, &member).await, Standing::Outsider);
}

#[tokio::test]
async fn only_people_who_share_a_room_know_where_somebody_is() {
    let world = World::new();
    let (_, [outsider, _, member, _, owner]) = world.room_with_everybody(RoomKind::Private, "w").await;
    let connection = crate::model::ConnectionId::random();
    world.presence.connect(member.id, connection).await.unwrap();
    assert_eq!(world.directory.whereabouts(outsider.id, &member).await, Ok(None));
    let seen = world.directory.whereabouts(owner.id, &member).await.unwrap().unwrap();
    assert!(seen.online);
    assert!(world.directory.whereabouts(member.id, &member).await.unwrap().is_some());
}
