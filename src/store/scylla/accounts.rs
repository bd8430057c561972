//! Accounts and invites. A user's row comes first and the name last, so a name always leads to a user.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use scylla::value::CqlTimestamp;
use uuid::Uuid;

use super::ScyllaStore;
use super::listing::LOOKUPS_AT_ONCE;
use super::rows::{UserRow, cql, damaged, time, timestamp, user_id};
use super::session::after_a_write;
use super::stamp;
use crate::limits;
use crate::model::{Name, Timestamp, User, UserId};
use crate::store::{AccountStore, Error, Invite, NewUser, Result, UserFilter};

/// The partition of all invites.
const INVITES: &str = "all";
/// How often the uses of an invite are counted anew because somebody else was faster.
const INVITE_TRIES: usize = 20;

type InviteColumns = (String, Option<Uuid>, Option<i32>, Option<CqlTimestamp>);

fn invite((code, by, uses_left, expires_at): InviteColumns) -> Option<Invite> {
    Some(Invite {
        code,
        by: user_id(by?),
        uses_left: u32::try_from(uses_left?).ok()?,
        expires_at: timestamp(expires_at?),
    })
}

impl ScyllaStore {
    pub(super) async fn find_user(&self, id: UserId) -> Result<Option<User>> {
        let found: Option<UserRow> = self
            .cql
            .first(&self.cql.statements.user_one, (cql(id.as_bytes()),))
            .await?;
        found.map_or(Ok(None), UserRow::user)
    }

    /// Writes an account and then gives it its name; `NameTaken` leaves a row that nobody finds.
    pub(super) async fn insert_user(&self, user: &User, password_hash: &str) -> Result<()> {
        let (key, id) = (user.name.key(), cql(user.id.as_bytes()));
        let values = (
            id,
            user.name.as_str(),
            password_hash,
            user.superuser,
            user.disabled,
            time(user.created_at),
            stamp::above(None, self.clock.now()),
        );
        self.cql.write(&self.cql.statements.user_insert, values).await?;
        let lists = async {
            self.list_user(&key, UserFilter::All).await?;
            if user.superuser {
                self.list_user(&key, UserFilter::Superusers).await?;
            }
            if user.disabled {
                self.list_user(&key, UserFilter::Disabled).await?;
            }
            if let Some(seen) = user.last_seen {
                self.note_seen(user.id, seen).await?;
            }
            self.cql
                .lwt(&self.cql.statements.user_name_claim, (key.as_str(), id))
                .await
        };
        if !lists.await.map_err(after_a_write)? {
            let holder: Option<(Uuid,)> = self
                .cql
                .first(&self.cql.statements.user_by_name, (key.as_str(),))
                .await
                .map_err(after_a_write)?;
            // An attempt that seemed to fail may have been ours.
            if holder != Some((id,)) {
                return Err(Error::NameTaken);
            }
        }
        self.totals.user();
        Ok(())
    }

    async fn make_user(&self, new: NewUser) -> Result<User> {
        if self.user_of_key(&new.name.key()).await?.is_some() {
            return Err(Error::NameTaken);
        }
        let user = User {
            id: UserId::random(),
            name: new.name,
            superuser: new.superuser,
            disabled: false,
            created_at: new.at,
            last_seen: None,
        };
        self.insert_user(&user, &new.password_hash).await?;
        Ok(user)
    }

    /// The time itself is the write timestamp, so the latest wins without being read.
    async fn note_seen(&self, user: UserId, at: Timestamp) -> Result<()> {
        let stamp = i64::try_from(at.millis().saturating_mul(1_000)).unwrap_or(i64::MAX);
        let values = (stamp, time(at), cql(user.as_bytes()));
        self.cql.write(&self.cql.statements.user_seen, values).await
    }

    /// Takes one use of an invite, or gives one back.
    async fn use_invite(&self, code: &str, at: Timestamp, back: bool) -> Result<()> {
        for _ in 0..INVITE_TRIES {
            let found: Option<InviteColumns> = self.cql.first(&self.cql.statements.invite_one, (INVITES, code)).await?;
            let invite = found.and_then(invite).ok_or(Error::NotFound)?;
            if !back && (invite.uses_left == 0 || invite.expires_at <= at) {
                return Err(Error::NotFound);
            }
            let held = i32::try_from(invite.uses_left).map_err(damaged)?;
            let left = if back { held + 1 } else { held - 1 };
            let values = (left, INVITES, code, held);
            if self.cql.lwt(&self.cql.statements.invite_set_uses, values).await? {
                return Ok(());
            }
        }
        Err(Error::Refused(
            "too many register with this invite at once: try again".into(),
        ))
    }

    /// The row's name and the stamps of its two flags.
    async fn flags(&self, user: UserId) -> Result<(String, Option<i64>, Option<i64>)> {
        type Row = (Option<String>, Option<i64>, Option<i64>);
        let found: Option<Row> = self
            .cql
            .first(&self.cql.statements.user_flags, (cql(user.as_bytes()),))
            .await?;
        let (name, superuser, disabled) = found.ok_or(Error::NotFound)?;
        Ok((name.ok_or(Error::NotFound)?.to_ascii_lowercase(), superuser, disabled))
    }

    async fn hash_row(&self, user: UserId) -> Result<Option<(Option<String>, Option<i64>)>> {
        type Row = (Option<String>, Option<String>, Option<i64>);
        let found: Option<Row> = self
            .cql
            .first(&self.cql.statements.user_hash, (cql(user.as_bytes()),))
            .await?;
        Ok(found.and_then(|(name, hash, stamp)| name.map(|_| (hash, stamp))))
    }
}

#[async_trait]
impl AccountStore for ScyllaStore {
    async fn create_user(&self, user: NewUser, invite: Option<&str>) -> Result<User> {
        let Some(code) = invite else {
            return self.make_user(user).await;
        };
        let at = user.at;
        self.use_invite(code, at, false).await?;
        match self.make_user(user).await {
            Ok(user) => Ok(user),
            // Whether the account exists is unknown: then the use stays taken.
            Err(error @ Error::UnknownOutcome(_)) => Err(error),
            Err(error) => {
                self.use_invite(code, at, true).await.map_err(after_a_write)?;
                Err(error)
            }
        }
    }

    async fn create_users(&self, users: Vec<NewUser>) -> Result<Vec<User>> {
        stream::iter(users)
            .map(|new| async move {
                let name = new.name.clone();
                match self.make_user(new).await {
                    Err(Error::NameTaken) => self
                        .user_by_name(&name)
                        .await?
                        .ok_or_else(|| damaged(format!("the user {name} exists, but can't be found"))),
                    other => other,
                }
            })
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.find_user(id).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>> {
        let found: Vec<Option<User>> = stream::iter(ids.to_vec())
            .map(|id| self.find_user(id))
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn user_by_name(&self, name: &Name) -> Result<Option<User>> {
        self.user_of_key(&name.key()).await
    }

    async fn users_by_name(&self, names: &[Name]) -> Result<Vec<User>> {
        let keys: Vec<String> = names.iter().map(Name::key).collect();
        let found: Vec<Option<User>> = stream::iter(keys)
            .map(|key| async move { self.user_of_key(&key).await })
            .buffered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn find_users(
        &self,
        prefix: &str,
        filter: UserFilter,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<User>> {
        self.search_users(prefix, filter, after, limit).await
    }

    async fn user_count(&self) -> Result<u64> {
        Ok(self.sum_totals().await?.users)
    }

    async fn password_hash(&self, user: UserId) -> Result<Option<String>> {
        Ok(self.hash_row(user).await?.and_then(|(hash, _)| hash))
    }

    async fn set_password_hash(&self, user: UserId, hash: String) -> Result<()> {
        let (_, stamp) = self.hash_row(user).await?.ok_or(Error::NotFound)?;
        let values = (stamp::above(stamp, self.clock.now()), hash, cql(user.as_bytes()));
        self.cql.write(&self.cql.statements.user_set_hash, values).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<()> {
        let (key, _, stamp) = self.flags(user).await?;
        if disabled {
            self.list_user(&key, UserFilter::Disabled).await?;
        }
        let values = (stamp::above(stamp, self.clock.now()), disabled, cql(user.as_bytes()));
        self.cql.write(&self.cql.statements.user_set_disabled, values).await
    }

    async fn set_superuser(&self, user: UserId, superuser: bool) -> Result<()> {
        let (key, stamp, _) = self.flags(user).await?;
        if superuser {
            self.list_user(&key, UserFilter::Superusers).await?;
        }
        let values = (stamp::above(stamp, self.clock.now()), superuser, cql(user.as_bytes()));
        self.cql.write(&self.cql.statements.user_set_superuser, values).await
    }

    async fn set_last_seen(&self, seen: Vec<(UserId, Timestamp)>) -> Result<()> {
        stream::iter(seen)
            .map(|(user, at)| self.note_seen(user, at))
            .buffer_unordered(LOOKUPS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn create_invite(&self, invite: Invite) -> Result<()> {
        let uses = i32::try_from(invite.uses_left.min(limits::INVITE_USES_MAX)).map_err(damaged)?;
        let values = (
            INVITES,
            invite.code,
            cql(invite.by.as_bytes()),
            uses,
            time(invite.expires_at),
        );
        match self.cql.lwt(&self.cql.statements.invite_add, values).await? {
            true => Ok(()),
            false => Err(Error::Refused("an invite with this code exists: make another".into())),
        }
    }

    async fn invites(&self, now: Timestamp) -> Result<Vec<Invite>> {
        let found: Vec<InviteColumns> = self.cql.rows(&self.cql.statements.invites_all, (INVITES,)).await?;
        let mut invites: Vec<Invite> = found
            .into_iter()
            .filter_map(invite)
            .filter(|invite| invite.uses_left > 0 && invite.expires_at > now)
            .collect();
        invites.sort_by(|a, b| (a.expires_at, &a.code).cmp(&(b.expires_at, &b.code)));
        Ok(invites)
    }

    async fn delete_invite(&self, code: &str) -> Result<bool> {
        self.cql.lwt(&self.cql.statements.invite_delete, (INVITES, code)).await
    }
}
