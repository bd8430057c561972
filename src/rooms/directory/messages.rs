//! The rules of what is said: who may send, edit and delete, whom a text names, where the read marker stands.

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{Directory, Error, Result};
use crate::limits;
use crate::model::message::check_body;
use crate::model::name::{NAME_CHARS_MAX, is_name_byte};
use crate::model::{Action, Change, ChangeKind, Event, EventId, Message, Name, Room, UserId};
use crate::wire::outbound::Notice;

impl Directory {
    /// May the user send this text to the room? Answers the members whom it names.
    ///
    /// # Errors
    /// By the matrix, [`Error::Archived`], [`Error::Body`].
    pub async fn check_send(&self, room: &Room, user: UserId, body: &str) -> Result<Vec<UserId>> {
        self.authorise(Action::Send, room, user).await?;
        check_body(body)?;
        Ok(self.mentions(room, body).await)
    }

    /// Whether a message may be answered: it exists in this room.
    ///
    /// # Errors
    /// [`Error::NotFound`], or what the store says.
    pub async fn check_reply(&self, room: &Room, id: EventId) -> Result<()> {
        self.existing(room, id).await.map(|_| ())
    }

    async fn existing(&self, room: &Room, id: EventId) -> Result<Message> {
        let message = self.seams.store.message(room.id, id).await?;
        message.ok_or(Error::NotFound("message"))
    }

    /// The members of the room whom a text names with `@name`, in the order of their first mention, at most
    /// [`limits::MENTIONS_MAX`] names looked up. A text without `@` costs nothing; where the store does not say in time
    /// who is meant, nobody is: that is no reason to refuse a message.
    pub async fn mentions(&self, room: &Room, body: &str) -> Vec<UserId> {
        let names = mentioned_names(body);
        if names.is_empty() {
            return Vec::new();
        }
        match tokio::time::timeout(limits::MENTIONS_PATIENCE, self.members_named(room, &names)).await {
            Ok(Ok(members)) => members,
            Ok(Err(error)) => {
                tracing::warn!(cause = error.cause(), "whom a message names can't be looked up");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!("whom a message names was not found out in time");
                Vec::new()
            }
        }
    }

    async fn members_named(&self, room: &Room, names: &[Name]) -> Result<Vec<UserId>> {
        let users = self.users_named(names).await?;
        let standings = users.iter().map(|user| self.standing(room.id, *user));
        let standings = try_join_all(standings).await?;
        let members = users
            .iter()
            .zip(standings)
            .filter(|(_, standing)| standing.role().is_some());
        Ok(members.map(|(user, _)| *user).collect())
    }

    /// Who has these names, in their order. What is not known is asked in one call; names that nobody has are not asked
    /// for again for a moment.
    async fn users_named(&self, names: &[Name]) -> Result<Vec<UserId>> {
        let absent = |name: &Name| {
            let since = self.absent.get(name);
            since.is_some_and(|since| since.elapsed() < limits::ABSENT_NAME_KEPT)
        };
        let known = |name: &Name| self.user_names.get(name);
        let mut found: Vec<(&Name, Option<UserId>)> = names.iter().map(|name| (name, known(name))).collect();
        let asked: Vec<Name> = found
            .iter()
            .filter(|(name, user)| user.is_none() && !absent(name))
            .map(|(name, _)| (*name).clone())
            .collect();
        if !asked.is_empty() {
            let tickets: Vec<_> = asked.iter().map(|name| self.user_names.ticket(name)).collect();
            let users = self.seams.store.users_by_name(&asked).await?;
            for (name, ticket) in asked.iter().zip(tickets) {
                match users.iter().find(|user| user.name == *name) {
                    Some(user) => {
                        self.user_names.fill(ticket, name.clone(), user.id);
                        let places = found.iter_mut().filter(|(other, _)| *other == name);
                        places.for_each(|(_, place)| *place = Some(user.id));
                    }
                    None => self.absent.fill(self.absent.ticket(name), name.clone(), Instant::now()),
                }
            }
        }
        Ok(found.into_iter().filter_map(|(_, user)| user).collect())
    }

    /// A name has an owner now: it can be mentioned at once, here at least.
    pub fn appeared(&self, name: &Name) {
        self.absent.forget(name);
    }

    /// Gives one of one's own messages another text.
    ///
    /// # Errors
    /// By the matrix; [`Error::Forbidden`] for others' messages; [`Error::NotFound`] if it does not exist or was
    /// deleted; [`Error::Body`].
    pub async fn edit(&self, user: UserId, room: &Room, id: EventId, body: &str) -> Result<Event> {
        self.authorise(Action::ChangeOwn, room, user).await?;
        check_body(body)?;
        let message = self.existing(room, id).await?;
        if message.deleted_at.is_some() {
            return Err(Error::NotFound("message"));
        }
        if message.author.id != user {
            return Err(Error::Forbidden("only its author can edit a message"));
        }
        let kind = ChangeKind::Edit {
            body: body.to_owned(),
            mentions: self.mentions(room, body).await,
        };
        self.change(user, room, id, kind).await
    }

    /// Removes a message: one's own, or as a moderator or owner anybody's.
    ///
    /// # Errors
    /// By the matrix; [`Error::NotFound`] if it does not exist.
    pub async fn delete(&self, user: UserId, room: &Room, id: EventId) -> Result<Event> {
        self.authorise(Action::Read, room, user).await?;
        let message = self.existing(room, id).await?;
        let action = if message.author.id == user {
            Action::ChangeOwn
        } else {
            Action::DeleteOthers
        };
        self.authorise(action, room, user).await?;
        self.change(user, room, id, ChangeKind::Delete).await
    }

    /// Removes any message, for superusers: no role is asked, and archived rooms are no obstacle.
    ///
    /// # Errors
    /// What the store says.
    pub async fn delete_as_superuser(&self, superuser: UserId, room: &Room, id: EventId) -> Result<Event> {
        self.change(superuser, room, id, ChangeKind::Delete).await
    }

    async fn change(&self, by: UserId, room: &Room, message: EventId, kind: ChangeKind) -> Result<Event> {
        let change = Change {
            room: room.id,
            message,
            by,
            kind,
        };
        match self.seams.live.change(room, change).await {
            Err(crate::store::Error::NotFound) => Err(Error::NotFound("message")),
            done => Ok(done?),
        }
    }

    /// Moves the read marker forward to a message of the room, never back; answers where it stands then.
    ///
    /// # Errors
    /// By the matrix; [`Error::Forbidden`] for who only looks at a public room; [`Error::NotFound`] for an id that is
    /// no message of the room.
    pub async fn mark_read(&self, user: UserId, room: &Room, id: EventId) -> Result<EventId> {
        let standing = self.authorise(Action::Read, room, user).await?;
        if standing.role().is_none() {
            return Err(Error::Forbidden("only members have a read marker: join the room"));
        }
        // An invented id from the future would hide everything to come.
        self.existing(room, id).await?;
        let before = self.marker(room.id, user).await?;
        let set = self.seams.store.set_read_marker(room.id, user, id).await;
        // Also after a failure: it may have been stored.
        self.markers.forget(&(room.id, user));
        let now = set?;
        if before != Some(now) {
            let room = room.into();
            self.seams.live.inbox(user, &Notice::Read { room, id: now });
        }
        Ok(now)
    }
}

/// The names after each `@` that does not stand within a word, each once, at most [`limits::MENTIONS_MAX`].
fn mentioned_names(body: &str) -> Vec<Name> {
    let bytes = body.as_bytes();
    let mut names: Vec<Name> = Vec::new();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|byte| *byte == b'@') {
        let start = at + found;
        let end = bytes[start + 1..]
            .iter()
            .position(|byte| !is_name_byte(*byte))
            .map_or(bytes.len(), |length| start + 1 + length);
        at = end.max(start + 1);
        // "ann@example" is an address, not a mention.
        if start > 0 && (is_name_byte(bytes[start - 1]) || bytes[start - 1] == b'@') {
            continue;
        }
        if end - start - 1 > NAME_CHARS_MAX {
            continue;
        }
        let Ok(name) = Name::parse(&body[start + 1..end]) else {
            continue;
        };
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() == limits::MENTIONS_MAX {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> Vec<String> {
        mentioned_names(body).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mentions_are_names_after_an_at_sign() {
        assert_eq!(names("@ann and (@Bob), @ANN, é@eve"), ["ann", "Bob", "eve"]);
        assert!(names("no one").is_empty());
        assert!(names("ann@example @ @@x @").is_empty());
        assert!(names(&format!("@{}", "x".repeat(33))).is_empty());
        let crowd: String = (0..50).map(|n| format!("@u{n} ")).collect();
        assert_eq!(names(&crowd).len(), limits::MENTIONS_MAX);
    }
}
