//! Names, accounts, invites, the audit log.

use std::time::Duration;

use anyhow::ensure;

use super::{AT, Scene, Subject, fresh_name, new_user, user};
use crate::model::{Name, RoomKind};
use crate::store::{Error, Invite, NewAuditEntry, NewRoom, RoomChange, Store, UserFilter};

/// The same name in other letters.
fn shouted(name: &Name) -> anyhow::Result<Name> {
    Ok(Name::parse(&name.as_str().to_ascii_uppercase())?)
}

/// One user and one room to a name, whatever the case, also when two ask at once.
pub async fn names(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let store = &scene.store;
    for name in [scene.ann.name.clone(), shouted(&scene.ann.name)?] {
        let found = store.user_by_name(&name).await?;
        ensure!(found.as_ref() == Some(&scene.ann), "{name} finds {found:?}");
        let second = store.create_user(new_user(name), None).await;
        ensure!(second == Err(Error::NameTaken), "a second user of a name: {second:?}");
    }
    let room = |name| NewRoom {
        name,
        title: String::new(),
        kind: RoomKind::Private,
        owner: scene.bob.id,
        at: AT,
    };
    let taken = scene.room.name.clone().unwrap_or(fresh_name("none")?);
    for name in [taken.clone(), shouted(&taken)?] {
        let found = store.room_by_name(&name).await?;
        ensure!(found.as_ref() == Some(&scene.room), "{name} finds {found:?}");
        let second = store.create_room(room(name)).await;
        ensure!(second == Err(Error::NameTaken), "a second room of a name: {second:?}");
    }
    store
        .change_room(
            scene.room.id,
            RoomChange {
                deleted: true,
                ..RoomChange::default()
            },
        )
        .await?;
    let heir = store.create_room(room(taken.clone())).await?;
    ensure!(
        store.room_by_name(&taken).await? == Some(heir),
        "a deleted room keeps its name"
    );
    one_of_many(subject).await
}

async fn one_of_many(subject: &dyn Subject) -> anyhow::Result<()> {
    let scene = Scene::set(subject).await?;
    let name = fresh_name("many")?;
    let mut tasks = Vec::new();
    for nth in 0..8 {
        let store = subject.store();
        let name = if nth % 2 == 0 { name.clone() } else { shouted(&name)? };
        let owner = scene.ann.id;
        tasks.push(tokio::spawn(async move {
            let room = NewRoom {
                name: name.clone(),
                title: String::new(),
                kind: RoomKind::Public,
                owner,
                at: AT,
            };
            (
                store.create_user(new_user(name), None).await.map(drop),
                store.create_room(room).await.map(drop),
            )
        }));
    }
    let (mut users, mut rooms) = (0, 0);
    for task in tasks {
        let (user, room) = task.await?;
        ensure!(matches!(user, Ok(()) | Err(Error::NameTaken)), "somebody got {user:?}");
        ensure!(matches!(room, Ok(()) | Err(Error::NameTaken)), "somebody got {room:?}");
        users += usize::from(user.is_ok());
        rooms += usize::from(room.is_ok());
    }
    ensure!(
        (users, rooms) == (1, 1),
        "{users} users and {rooms} rooms of one name were made at once"
    );
    Ok(())
}

/// Accounts keep what they are told, and lists show the right ones in order.
pub async fn accounts(subject: &dyn Subject) -> anyhow::Result<()> {
    let store = subject.store();
    let ann = user(&*store, "ann").await?;
    store.set_password_hash(ann.id, "hash".into()).await?;
    ensure!(
        store.password_hash(ann.id).await?.as_deref() == Some("hash"),
        "a password's hash is not kept"
    );
    store.set_disabled(ann.id, true).await?;
    store.set_superuser(ann.id, true).await?;
    let late = AT.plus(Duration::from_secs(60));
    store.set_last_seen(vec![(ann.id, late)]).await?;
    store.set_last_seen(vec![(ann.id, AT)]).await?;
    let found = store.user(ann.id).await?;
    ensure!(
        found.as_ref().is_some_and(|user| user.disabled && user.superuser),
        "it is {found:?}"
    );
    ensure!(
        found.is_some_and(|user| user.last_seen == Some(late)),
        "the time last seen moved back"
    );
    let nobody = crate::model::UserId::random();
    ensure!(
        store.set_disabled(nobody, true).await == Err(Error::NotFound),
        "nobody was disabled"
    );
    ensure!(store.user(nobody).await?.is_none(), "nobody was found");

    let word = fresh_name("w")?;
    let several = (0..5).map(|nth| Ok(new_user(Name::parse(&format!("{word}-{nth}"))?)));
    let made = store.create_users(several.collect::<anyhow::Result<Vec<_>>>()?).await?;
    ensure!(made.len() == 5, "{} of 5 users were made", made.len());
    let again = store
        .create_users(vec![new_user(shouted(&made[2].name)?), new_user(fresh_name("new")?)])
        .await?;
    ensure!(
        again.len() == 2 && again[0] == made[2],
        "of users made again {again:?} are answered"
    );
    store.set_disabled(made[3].id, true).await?;
    let prefix = word.as_str().to_ascii_uppercase();
    let found = store
        .find_users(&prefix, UserFilter::All, Some(&made[0].name), 3)
        .await?;
    let names: Vec<_> = found.iter().map(|user| &user.name).collect();
    ensure!(
        names == [&made[1].name, &made[2].name, &made[3].name],
        "a list holds {names:?}"
    );
    let found = store.find_users(&prefix, UserFilter::Disabled, None, 3).await?;
    ensure!(
        found.len() == 1 && found[0].id == made[3].id,
        "disabled ones are {found:?}"
    );
    ensure!(
        store
            .find_users(&prefix, UserFilter::Superusers, None, 3)
            .await?
            .is_empty(),
        "superusers from nowhere"
    );
    let some = store.users(&[made[4].id, nobody]).await?;
    ensure!(some == made[4..], "users by id are {some:?}");
    let some = store
        .users_by_name(&[made[4].name.clone(), fresh_name("none")?])
        .await?;
    ensure!(some == made[4..], "users by name are {some:?}");
    Ok(())
}

/// An invite is good for as many accounts as it says, until it expires or is withdrawn.
pub async fn invites(subject: &dyn Subject) -> anyhow::Result<()> {
    let store = subject.store();
    let by = user(&*store, "ann").await?.id;
    let invite = |uses_left, expires_at| {
        let code = fresh_name("code")?.to_string();
        anyhow::Ok(Invite {
            code,
            by,
            uses_left,
            expires_at,
        })
    };
    let good = invite(2, AT.plus(Duration::from_secs(1)))?;
    let expired = invite(2, AT)?;
    for one in [&good, &expired] {
        store.create_invite(one.clone()).await?;
    }
    let listed = store.invites(AT).await?;
    ensure!(
        listed.contains(&good) && !listed.contains(&expired),
        "the good invites are {listed:?}"
    );
    let register = async |code: &str| {
        store
            .create_user(new_user(fresh_name("new")?), Some(code))
            .await
            .map_err(anyhow::Error::from)
    };
    for _ in 0..2 {
        register(&good.code).await?;
    }
    for code in [&good.code, &expired.code, "never-made"] {
        let refused = register(code).await;
        let why = refused.as_ref().err().and_then(|error| error.downcast_ref());
        ensure!(
            why == Some(&Error::NotFound),
            "an invite that is used up, expired or unknown: {refused:?}"
        );
    }
    ensure!(
        store.delete_invite(&expired.code).await?,
        "an invite could not be withdrawn"
    );
    ensure!(
        !store.delete_invite(&expired.code).await?,
        "an invite was withdrawn twice"
    );
    Ok(())
}

async fn log(store: &dyn Store, action: &str) -> anyhow::Result<crate::store::AuditEntry> {
    let entry = NewAuditEntry {
        actor: None,
        actor_name: "command line".into(),
        action: action.into(),
        target: "target".into(),
        detail: "detail".into(),
    };
    Ok(store.append_audit(entry).await?)
}

/// The audit log keeps every line, newest first.
pub async fn audit(subject: &dyn Subject) -> anyhow::Result<()> {
    let store = subject.store();
    let mut lines = Vec::new();
    for nth in 0..5 {
        lines.insert(0, log(&*store, &format!("test.{nth}")).await?);
    }
    ensure!(
        lines.is_sorted_by(|a, b| a.id > b.id),
        "ids of the audit log don't ascend"
    );
    let newest = store.audit(None, 2).await?;
    ensure!(newest == lines[..2], "the newest lines are {newest:?}");
    let older = store.audit(Some(lines[1].id), 10).await?;
    ensure!(older.starts_with(&lines[2..]), "the older lines are {older:?}");
    Ok(())
}
