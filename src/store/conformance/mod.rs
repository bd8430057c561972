//! The suite that every store passes: one check for each clause of the contract, under the clause's name.
//!
//! It knows the store only through its traits, draws fresh names for everything, and so runs against a shared server
//! as well as against a file. A check answers what it saw that the contract forbids; `broken` holds an implementation
//! for each clause that breaks this one alone, which proves the check.

mod accounts;
#[cfg(test)]
mod broken;
mod messages;
mod reading;
mod refusals;
mod rooms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use anyhow::{Context, ensure};
use async_trait::async_trait;

use crate::model::message::Author;
use crate::model::{EventId, Message, Name, NewMessage, Nonce, Role, Room, RoomKind, Timestamp, User};
use crate::store::{Appended, NewRoom, NewUser, Range, Store};

/// A store under test, and what the suite does to it from outside.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// What a process finds that opens the storage after the present one was killed at this moment.
    async fn reborn(&self) -> anyhow::Result<Arc<dyn Store>>;

    /// Leaves the storage no room for more, or gives it back; false if that can't be arranged.
    async fn fill(&self, full: bool) -> bool;
}

macro_rules! clauses {
    ($($module:ident :: $name:ident),* $(,)?) => {
        /// The clauses, by name.
        pub const CLAUSES: &[&str] = &[$(stringify!($name)),*];

        /// Checks one clause on a subject that no other check has used.
        ///
        /// # Errors
        /// What was seen that the clause forbids.
        pub async fn check(clause: &str, subject: &dyn Subject) -> anyhow::Result<()> {
            match clause {
                $(stringify!($name) => $module::$name(subject).await,)*
                other => anyhow::bail!("there is no clause {other}"),
            }
        }
    };
}

clauses! {
    messages::durable,
    messages::visible,
    messages::ordered,
    messages::nonce,
    messages::sticky,
    accounts::names,
    messages::marker,
    refusals::refused,
    reading::ranges,
    reading::events,
    reading::unread,
    rooms::direct,
    rooms::succession,
    rooms::bans,
    rooms::members,
    rooms::listed,
    accounts::accounts,
    accounts::invites,
    accounts::audit,
}

/// A time for whatever needs one.
const AT: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Below every id.
const BEGINNING: EventId = EventId::new(0, 0, 0);

/// Two people in a public room that the first owns.
struct Scene {
    store: Arc<dyn Store>,
    ann: User,
    bob: User,
    room: Room,
}

/// A name that nobody has yet.
fn fresh_name(prefix: &str) -> anyhow::Result<Name> {
    Ok(Name::parse(&format!("{prefix}-{:016x}", rand::random::<u64>()))?)
}

fn new_user(name: Name) -> NewUser {
    NewUser {
        name,
        password_hash: "!".into(),
        superuser: false,
        at: AT,
    }
}

async fn user(store: &dyn Store, prefix: &str) -> anyhow::Result<User> {
    Ok(store.create_user(new_user(fresh_name(prefix)?), None).await?)
}

async fn public_room(store: &dyn Store, owner: &User) -> anyhow::Result<Room> {
    let room = NewRoom {
        name: fresh_name("room")?,
        title: String::new(),
        kind: RoomKind::Public,
        owner: owner.id,
        at: AT,
    };
    Ok(store.create_room(room).await?)
}

impl Scene {
    async fn set(subject: &dyn Subject) -> anyhow::Result<Self> {
        let store = subject.store();
        let ann = user(&*store, "ann").await?;
        let bob = user(&*store, "bob").await?;
        let room = public_room(&*store, &ann).await?;
        store.put_member(room.id, bob.id, Role::Member, AT, None).await?;
        Ok(Self { store, ann, bob, room })
    }

    fn says(&self, author: &User, body: &str) -> NewMessage {
        NewMessage {
            room: self.room.id,
            author: Author {
                id: author.id,
                name: author.name.clone(),
            },
            body: body.into(),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        }
    }

    /// Appends one message that must be fresh.
    async fn say(&self, new: NewMessage) -> anyhow::Result<Message> {
        let appended = self.append(new).await?;
        ensure!(appended.fresh, "{appended:?} is said to be a repetition");
        Ok(appended.message)
    }

    /// Appends one message.
    async fn append(&self, new: NewMessage) -> anyhow::Result<Appended> {
        let mut results = self.store.append(vec![new]).await;
        ensure!(results.len() == 1, "one message got {} results", results.len());
        Ok(results.pop().context("a result")??)
    }

    /// What the room holds, by one large page.
    async fn history(&self) -> anyhow::Result<Vec<Message>> {
        Ok(self.store.page(self.room.id, Range::Latest, 10_000).await?.messages)
    }
}

fn parse_nonce(text: &str) -> Option<Nonce> {
    Nonce::parse(text)
}
