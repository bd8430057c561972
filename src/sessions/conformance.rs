//! The suite that every session store passes: one check per clause of the contract, each under the clause's name, and
//! broken stores that fail one check each and no other.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use serde_json::Value;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::SessionStore;

use super::{NewSession, SessionHandle, USER_KEY, UserSessions};
use crate::limits;
use crate::model::{Timestamp, UserId};

/// Both halves of the seam in one object.
pub trait Sessions: SessionStore + UserSessions {}

impl<T: SessionStore + UserSessions> Sessions for T {}

/// What an implementation lends to the suite.
#[async_trait]
pub trait World: Sync {
    /// A store; it may hold sessions of other users.
    async fn sessions(&self) -> Arc<dyn Sessions>;

    /// The time by which it expires sessions.
    fn now(&self) -> Timestamp;

    /// Returns when this much time has passed for the store.
    async fn pass(&self, span: Duration);
}

/// Runs the whole suite; answers the clauses that failed, with what was seen.
pub async fn failures(world: &dyn World) -> Vec<(&'static str, String)> {
    let results = [
        ("fresh", fresh(world).await),
        ("save-existing", save_existing(world).await),
        ("expiry", expiry(world).await),
        ("ended", ended(world).await),
        ("listed", listed(world).await),
        ("bounded", bounded(world).await),
        ("no-secret", no_secret(world).await),
    ];
    results
        .into_iter()
        .filter_map(|(clause, result)| Some((clause, result.err()?.to_string())))
        .collect()
}

/// A record of a user that lives for an hour.
pub fn record_of(world: &dyn World, user: UserId) -> Record {
    Record {
        id: Id::default(),
        data: [(USER_KEY.to_owned(), Value::from(user.to_string()))].into(),
        expiry_date: world.now().plus(Duration::from_secs(3_600)).to_offset(),
    }
}

async fn created(world: &dyn World, sessions: &dyn Sessions, user: UserId) -> Result<Record> {
    let mut record = record_of(world, user);
    sessions.create(&mut record).await?;
    Ok(record)
}

async fn ensure_gone(sessions: &dyn Sessions, user: UserId, id: Id, why: &str) -> Result<()> {
    let handle = SessionHandle::of(id);
    ensure!(sessions.load(&id).await?.is_none(), "{why}, and load found it");
    ensure!(sessions.live(&handle).await?.is_none(), "{why}, and it was live");
    let listed = sessions.list(user).await?;
    ensure!(
        !listed.iter().any(|info| info.handle == handle),
        "{why}, and it was listed"
    );
    Ok(())
}

/// *fresh*: `create` never overwrites a session; on a collision it takes another id.
pub async fn fresh(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let first = created(world, &*sessions, UserId::random()).await?;
    let mut second = record_of(world, UserId::random());
    second.id = first.id;
    sessions.create(&mut second).await?;
    ensure!(second.id != first.id, "two sessions were made under one id");
    let kept = sessions.load(&first.id).await?.context("the first session is gone")?;
    ensure!(kept.data == first.data, "the first session's data was overwritten");
    let added = sessions
        .load(&second.id)
        .await?
        .context("the second session is not there")?;
    ensure!(added.data == second.data, "the second session's data is not its own");
    Ok(())
}

/// *save-existing*: `save` of a session that was deleted does not bring it back.
pub async fn save_existing(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let user = UserId::random();
    let mut record = created(world, &*sessions, user).await?;
    record.data.insert("colour".into(), "blue".into());
    sessions.save(&record).await?;
    let saved = sessions.load(&record.id).await?.context("a saved session is gone")?;
    ensure!(saved.data == record.data, "save did not keep the data");
    sessions.delete(&record.id).await?;
    record.data.insert("colour".into(), "red".into());
    sessions.save(&record).await?;
    ensure_gone(&*sessions, user, record.id, "it was deleted, then saved").await?;
    let never = record_of(world, user);
    sessions.save(&never).await?;
    ensure_gone(&*sessions, user, never.id, "it was never created, only saved").await
}

/// *expiry*: a session past its expiry is not loaded, listed or live.
pub async fn expiry(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let user = UserId::random();
    let mut record = record_of(world, user);
    record.expiry_date = world.now().plus(Duration::from_secs(2)).to_offset();
    sessions.create(&mut record).await?;
    ensure!(
        sessions.load(&record.id).await?.is_some(),
        "it was gone before its time"
    );
    world.pass(Duration::from_secs(3)).await;
    ensure_gone(&*sessions, user, record.id, "it had expired").await
}

/// *ended*: after `end` or `end_all` returned, neither `load` nor `live` finds it. Nobody ends another's.
pub async fn ended(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let (ann, ben) = (UserId::random(), UserId::random());
    let mut mine = Vec::new();
    for _ in 0..4 {
        mine.push(created(world, &*sessions, ann).await?.id);
    }
    let other = created(world, &*sessions, ben).await?.id;
    let handles: Vec<_> = mine.iter().map(|id| SessionHandle::of(*id)).collect();
    ensure!(!sessions.end(ben, &handles[0]).await?, "a user ended another's session");
    ensure!(
        sessions.load(&mine[0]).await?.is_some(),
        "a user ended another's session"
    );
    ensure!(sessions.end(ann, &handles[0]).await?, "end did not find the session");
    ensure!(
        sessions.load(&mine[0]).await?.is_none(),
        "it was ended, and load found it"
    );
    ensure!(
        sessions.live(&handles[0]).await?.is_none(),
        "it was ended, and it was live"
    );
    ensure!(!sessions.end(ann, &handles[0]).await?, "a session was ended twice");
    let count = sessions.end_all(ann, Some(&handles[1])).await?;
    ensure!(count == 2, "3 were left and 1 excepted; ended: {count}");
    ensure!(sessions.load(&mine[1]).await?.is_some(), "the excepted one was ended");
    for (id, handle) in mine.iter().zip(&handles).skip(2) {
        ensure!(sessions.load(id).await?.is_none(), "all were ended, and load found one");
        ensure!(
            sessions.live(handle).await?.is_none(),
            "all were ended, and one was live"
        );
    }
    let live = sessions.live(&handles[1]).await?.map(|one| one.expires_at);
    let told = sessions.expiries(&handles).await?;
    ensure!(
        live.is_some() && told == [None, live, None, None],
        "one of four is live until {live:?}; asked together: {told:?}"
    );
    let count = sessions.end_all(ann, None).await?;
    ensure!(count == 1, "1 was left; ended: {count}");
    ensure!(
        sessions.load(&mine[1]).await?.is_none(),
        "all were ended, and load found one"
    );
    ensure!(
        sessions.load(&other).await?.is_some(),
        "another user's session was ended"
    );
    Ok(())
}

/// *listed*: every session with a user is listed under that user only, by handle, also one that was made in bulk.
pub async fn listed(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let users = [UserId::random(), UserId::random()];
    let nobody = Record {
        data: [].into(),
        ..record_of(world, users[0])
    };
    sessions.create(&mut nobody.clone()).await?;
    for user in users {
        let bulk = NewSession {
            id: Id::default(),
            user,
            expires_at: world.now().plus(Duration::from_secs(3_600)),
        };
        let mut expected = vec![SessionHandle::of(bulk.id)];
        sessions.create_many(vec![bulk]).await?;
        for _ in 0..2 {
            expected.push(SessionHandle::of(created(world, &*sessions, user).await?.id));
        }
        expected.sort_unstable();
        let list = sessions.list(user).await?;
        let mut handles: Vec<_> = list.iter().map(|info| info.handle.clone()).collect();
        handles.sort_unstable();
        ensure!(handles == expected, "{expected:?} were made, {handles:?} are listed");
        for info in list {
            ensure!(info.user == user, "listed under {user}, but of {}", info.user);
            let live = sessions.live(&info.handle).await?;
            ensure!(
                live.is_some_and(|live| live.user == user),
                "a listed session is not live"
            );
        }
    }
    Ok(())
}

/// *bounded*: a list has a bound, `end_all` has none.
pub async fn bounded(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let user = UserId::random();
    let count = 3 * limits::SESSIONS_LISTED_MAX;
    let bulk = (0..count).map(|n| NewSession {
        id: Id::default(),
        user,
        expires_at: world.now().plus(Duration::from_secs(3_600 + n as u64)),
    });
    let bulk: Vec<_> = bulk.collect();
    sessions.create_many(bulk.clone()).await?;
    let list = sessions.list(user).await?;
    let most = limits::SESSIONS_LISTED_MAX;
    ensure!(list.len() == most, "{count} were made, {} are listed", list.len());
    let first = bulk[count - most].expires_at;
    ensure!(
        list.iter().all(|info| info.expires_at >= first),
        "what ends first is listed"
    );
    let kept = SessionHandle::of(bulk[7].id);
    let ended = sessions.end_all(user, Some(&kept)).await?;
    ensure!(ended == count as u64 - 1, "{count} were made, {ended} ended");
    let left = sessions.list(user).await?;
    ensure!(
        left.len() == 1 && left[0].handle == kept,
        "{} are left, {kept} was to stay",
        left.len()
    );
    Ok(())
}

/// *no-secret*: nothing listed contains the cookie's value.
pub async fn no_secret(world: &dyn World) -> Result<()> {
    let sessions = world.sessions().await;
    let user = UserId::random();
    let id = created(world, &*sessions, user).await?.id;
    let shown = format!("{:?}", sessions.list(user).await?);
    let secrets = [
        id.to_string(),
        id.0.to_string(),
        format!("{:x}", id.0),
        format!("{:x}", id.0.swap_bytes()),
    ];
    for secret in secrets {
        ensure!(!shown.contains(&secret), "the id is in what is listed: {shown}");
    }
    Ok(())
}

mod broken;
