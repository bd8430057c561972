//! Session stores that are broken on purpose, each in one way.

use parking_lot::Mutex;
use tower_sessions::session_store;

use super::super::sqlite::SqliteSessions;
use super::super::sqlite::tests::SqliteWorld;
use super::super::{Result, SessionInfo};
use super::*;

/// What a broken store does wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// `create` overwrites what has the id.
    Overwrites,
    /// `save` creates what is not there.
    Resurrects,
    /// Sessions outlive their expiry.
    ForgetsTime,
    /// `end` answers and does nothing.
    EndsNothing,
    /// `end_all` answers and does nothing.
    EndsNone,
    /// `end_all` ends what a list shows.
    EndsListed,
    /// `end` does not ask whose session it is.
    EndsAnybodys,
    /// One session is left out of a list.
    HidesOne,
    /// Sessions of others are listed too.
    ShowsOthers,
    /// The cookie's value is listed.
    TellsTheId,
}

struct BrokenWorld {
    fault: Fault,
    sound: SqliteWorld,
}

#[derive(Debug)]
struct Broken {
    fault: Fault,
    inner: SqliteSessions,
    made: Mutex<Vec<(Id, UserId)>>,
}

#[async_trait]
impl World for BrokenWorld {
    async fn sessions(&self) -> Arc<dyn Sessions> {
        Arc::new(Broken {
            fault: self.fault,
            inner: self.sound.open(),
            made: Mutex::default(),
        })
    }

    fn now(&self) -> Timestamp {
        self.sound.now()
    }

    async fn pass(&self, span: Duration) {
        self.sound.pass(span).await;
    }
}

#[async_trait]
impl SessionStore for Broken {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        match self.fault {
            Fault::Overwrites => self.inner.delete(&record.id).await?,
            Fault::ForgetsTime => record.expiry_date += Duration::from_secs(86_400),
            _ => {}
        }
        self.inner.create(record).await?;
        let user = record.data.get(USER_KEY).and_then(Value::as_str);
        if let Some(user) = user.and_then(|user| UserId::parse(user).ok()) {
            self.made.lock().push((record.id, user));
        }
        Ok(())
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        if self.fault == Fault::Resurrects && self.inner.load(&record.id).await?.is_none() {
            return self.inner.create(&mut record.clone()).await;
        }
        self.inner.save(record).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.inner.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.inner.delete(id).await
    }
}

#[async_trait]
impl UserSessions for Broken {
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>> {
        let mut list = self.inner.list(user).await?;
        let made = self.made.lock().clone();
        match self.fault {
            // Only the `listed` check has several sessions of one user listed, and no more than these.
            Fault::HidesOne if (2..10).contains(&list.len()) => drop(list.pop()),
            Fault::ShowsOthers => {
                for (_, other) in made.into_iter().filter(|(_, other)| *other != user) {
                    list.extend(self.inner.list(other).await?);
                }
            }
            Fault::TellsTheId => {
                for info in &mut list {
                    let of_it = |(id, _): &&(Id, UserId)| SessionHandle::of(*id) == info.handle;
                    info.agent = made
                        .iter()
                        .find(of_it)
                        .map_or_else(String::new, |(id, _)| id.to_string());
                }
            }
            _ => {}
        }
        Ok(list)
    }

    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        self.inner.live(handle).await
    }

    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        match self.fault {
            Fault::EndsNothing => Ok(true),
            Fault::EndsAnybodys => match self.inner.live(handle).await? {
                Some(info) => self.inner.end(info.user, handle).await,
                None => Ok(false),
            },
            _ => self.inner.end(user, handle).await,
        }
    }

    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64> {
        let mut list = self.inner.list(user).await?;
        list.retain(|info| Some(&info.handle) != except);
        match self.fault {
            // Of the many that `bounded` makes it ends all.
            Fault::EndsNone if list.len() < 10 => return Ok(list.len() as u64),
            Fault::EndsListed => {
                for info in &list {
                    self.inner.end(user, &info.handle).await?;
                }
                return Ok(list.len() as u64);
            }
            _ => {}
        }
        self.inner.end_all(user, except).await
    }

    async fn create_many(&self, sessions: Vec<NewSession>) -> Result<()> {
        self.inner.create_many(sessions).await
    }

    async fn sweep(&self) -> Result<u64> {
        self.inner.sweep().await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}

#[tokio::test]
async fn each_broken_store_fails_its_own_clause_and_no_other() {
    for (fault, clause) in [
        (Fault::Overwrites, "fresh"),
        (Fault::Resurrects, "save-existing"),
        (Fault::ForgetsTime, "expiry"),
        (Fault::EndsNothing, "ended"),
        (Fault::EndsNone, "ended"),
        (Fault::EndsAnybodys, "ended"),
        (Fault::EndsListed, "bounded"),
        (Fault::HidesOne, "listed"),
        (Fault::ShowsOthers, "listed"),
        (Fault::TellsTheId, "no-secret"),
    ] {
        let sound = SqliteWorld::new();
        let failed = failures(&BrokenWorld { fault, sound }).await;
        let clauses: Vec<_> = failed.iter().map(|(clause, _)| *clause).collect();
        assert_eq!(clauses, [clause], "{fault:?}: {failed:?}");
    }
}
