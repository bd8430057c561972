//! Accounts, sessions, rooms and who is in them. The sessions are as far away as the control log is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use natter::model::{Name, Role, Room, RoomId, Timestamp, User, UserId};
use natter::sessions::{Error, NewSession, Result, SessionHandle, SessionInfo, UserSessions};

use crate::ground::{EPOCH, Ground, pass};

/// What is known of people.
#[derive(Default)]
pub struct Accounts {
    /// By id.
    pub users: BTreeMap<UserId, User>,
    /// By id.
    pub rooms: BTreeMap<RoomId, Room>,
    /// Who is in which room as what.
    pub members: BTreeMap<(RoomId, UserId), Role>,
    sessions: BTreeSet<(UserId, String)>,
}

impl Accounts {
    /// Makes an account.
    pub fn user(&mut self, bytes: [u8; 16], name: &str) -> User {
        let user = User {
            id: UserId::from_bytes(bytes),
            name: Name::parse(name).expect("a name"),
            superuser: false,
            disabled: false,
            created_at: Timestamp::from_millis(EPOCH),
            last_seen: None,
        };
        self.users.insert(user.id, user.clone());
        user
    }

    /// Logs somebody in.
    pub fn log_in(&mut self, user: UserId, bytes: [u8; 16]) -> SessionHandle {
        let text = format!("{:032x}", u128::from_be_bytes(bytes));
        self.sessions.insert((user, text.clone()));
        SessionHandle::parse(&text).expect("32 hex digits")
    }

    /// Whose session this is, if it is one.
    pub fn whose(&self, handle: &SessionHandle) -> Option<User> {
        let handle = handle.to_string();
        let (user, _) = self.sessions.iter().find(|(_, text)| *text == handle)?;
        self.users.get(user).cloned()
    }
}

/// One node's way to the sessions.
pub struct SimSessions {
    ground: Arc<Ground>,
    node: usize,
}

impl SimSessions {
    /// A node's.
    pub const fn new(ground: Arc<Ground>, node: usize) -> Self {
        Self { ground, node }
    }

    async fn asked<T>(&self, what: impl FnOnce(&mut Accounts) -> T) -> Result<T> {
        pass(self.ground.dice(1..=6)).await;
        if self.ground.weather.lock().log_away.contains(&self.node) {
            pass(300).await;
            return Err(Error::Unavailable("cut off".into()));
        }
        let answer = what(&mut self.ground.accounts.lock());
        pass(self.ground.dice(1..=6)).await;
        Ok(answer)
    }
}

#[async_trait]
impl UserSessions for SimSessions {
    async fn list(&self, _user: UserId) -> Result<Vec<SessionInfo>> {
        unreachable!("nobody lists sessions")
    }

    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        let user = self.asked(|accounts| accounts.whose(handle)).await?;
        let at = Timestamp::from_millis(EPOCH);
        Ok(user.map(|user| SessionInfo {
            handle: handle.clone(),
            user: user.id,
            created_at: at,
            last_seen_at: at,
            expires_at: Timestamp::from_millis(EPOCH * 2),
            agent: String::new(),
            address: String::new(),
        }))
    }

    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        let key = (user, handle.to_string());
        self.asked(|accounts| accounts.sessions.remove(&key)).await
    }

    async fn end_all(&self, _user: UserId, _except: Option<&SessionHandle>) -> Result<u64> {
        unreachable!("sessions end one by one here")
    }

    async fn create_many(&self, _sessions: Vec<NewSession>) -> Result<()> {
        unreachable!("sessions are made one by one here")
    }

    async fn sweep(&self) -> Result<u64> {
        Ok(0)
    }

    async fn ping(&self) -> Result<()> {
        self.asked(|_| ()).await
    }
}
