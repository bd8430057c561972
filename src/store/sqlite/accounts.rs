//! Accounts and invites.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, ToSql, params};

use super::SqliteStore;
use super::rows::{self, integer, millis, user_columns};
use crate::limits;
use crate::model::{Name, Timestamp, User, UserId};
use crate::store::{AccountStore, Error, Invite, NewUser, Result, UserFilter};

const INSERT: &str = "INSERT INTO users (id, name, name_key, password_hash, superuser, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name_key) DO NOTHING";
const ONE: &str = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = ?1");
const BY_NAME: &str = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.name_key = ?1");
const FIND: &str = concat!(
    "SELECT ",
    user_columns!(),
    " FROM users u WHERE u.name_key >= ?1 AND u.name_key < ?1 || char(0x10ffff) AND u.name_key > ?2"
);
const USE_INVITE: &str = "UPDATE invites SET uses_left = uses_left - 1
    WHERE code = ?1 AND uses_left > 0 AND expires_at > ?2";
const COUNT: &str = "SELECT count(*) FROM users";
const HASH: &str = "SELECT password_hash FROM users WHERE id = ?1";
const SET_HASH: &str = "UPDATE users SET password_hash = ?2 WHERE id = ?1";
const SET_DISABLED: &str = "UPDATE users SET disabled = ?2 WHERE id = ?1";
const SET_SUPERUSER: &str = "UPDATE users SET superuser = ?2 WHERE id = ?1";
const SEEN: &str = "UPDATE users SET last_seen = ?2 WHERE id = ?1 AND coalesce(last_seen, -1) < ?2";
const ADD_INVITE: &str = "INSERT INTO invites (code, by_id, uses_left, expires_at) VALUES (?1, ?2, ?3, ?4)";
const INVITES: &str = "SELECT code, by_id, uses_left, expires_at FROM invites
    WHERE uses_left > 0 AND expires_at > ?1 ORDER BY expires_at, code";
const DELETE_INVITE: &str = "DELETE FROM invites WHERE code = ?1";

/// Makes an account; `None` if the name is taken.
fn insert(db: &Connection, new: NewUser) -> Result<Option<User>> {
    let id = UserId::random();
    let made = db.prepare_cached(INSERT)?.execute(params![
        id.as_bytes(),
        new.name.as_str(),
        new.name.key(),
        new.password_hash,
        new.superuser,
        millis(new.at)
    ])?;
    Ok((made == 1).then_some(User {
        id,
        name: new.name,
        superuser: new.superuser,
        disabled: false,
        created_at: new.at,
        last_seen: None,
    }))
}

fn create(db: &Connection, new: NewUser, invite: Option<&str>) -> Result<User> {
    if let Some(code) = invite
        && db.prepare_cached(USE_INVITE)?.execute(params![code, millis(new.at)])? == 0
    {
        return Err(Error::NotFound);
    }
    insert(db, new)?.ok_or(Error::NameTaken)
}

/// Answers every user asked for, those that existed as they are.
fn create_several(db: &Connection, users: Vec<NewUser>) -> Result<Vec<User>> {
    users
        .into_iter()
        .map(|new| {
            let name = new.name.clone();
            match insert(db, new)? {
                Some(user) => Ok(user),
                None => one(db, BY_NAME, [name.key()])?
                    .ok_or_else(|| Error::Damaged(format!("the user {name} exists, but can't be found"))),
            }
        })
        .collect()
}

fn one(db: &Connection, sql: &str, params: impl Params) -> Result<Option<User>> {
    Ok(db.prepare_cached(sql)?.query_row(params, rows::user).optional()?)
}

fn find(db: &Connection, prefix: &str, filter: UserFilter, after: &str, limit: usize) -> Result<Vec<User>> {
    let only = match filter {
        UserFilter::All => "",
        UserFilter::Superusers => " AND u.superuser = 1",
        UserFilter::Disabled => " AND u.disabled = 1",
    };
    let mut statement = db.prepare_cached(&format!("{FIND}{only} ORDER BY u.name_key LIMIT ?3"))?;
    let found = statement.query_map(params![prefix, after, integer(limit)], rows::user)?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn set(db: &Connection, sql: &str, user: UserId, value: impl ToSql) -> Result<()> {
    match db.prepare_cached(sql)?.execute(params![user.as_bytes(), value])? {
        0 => Err(Error::NotFound),
        _ => Ok(()),
    }
}

fn invites(db: &Connection, now: Timestamp) -> Result<Vec<Invite>> {
    let mut statement = db.prepare_cached(INVITES)?;
    let found = statement.query_map([millis(now)], |row| {
        Ok(Invite {
            code: row.get(0)?,
            by: rows::user_id(row, 1)?,
            uses_left: row.get(2)?,
            expires_at: rows::timestamp(row, 3)?,
        })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn create_user(&self, user: NewUser, invite: Option<&str>) -> Result<User> {
        let invite = invite.map(str::to_owned);
        self.engine.write(move |db| create(db, user, invite.as_deref())).await
    }

    async fn create_users(&self, users: Vec<NewUser>) -> Result<Vec<User>> {
        let mut made = Vec::with_capacity(users.len());
        let mut users = users.into_iter();
        loop {
            let some: Vec<_> = users.by_ref().take(limits::SEED_ROWS_PER_WRITE).collect();
            if some.is_empty() {
                return Ok(made);
            }
            made.extend(self.engine.write(move |db| create_several(db, some)).await?);
        }
    }

    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.engine.read(move |db| one(db, ONE, [id.as_bytes()])).await
    }

    async fn users(&self, ids: &[UserId]) -> Result<Vec<User>> {
        let ids = ids.to_vec();
        self.engine
            .read(move |db| {
                ids.iter()
                    .filter_map(|id| one(db, ONE, [id.as_bytes()]).transpose())
                    .collect()
            })
            .await
    }

    async fn user_by_name(&self, name: &Name) -> Result<Option<User>> {
        let key = name.key();
        self.engine.read(move |db| one(db, BY_NAME, [key])).await
    }

    async fn users_by_name(&self, names: &[Name]) -> Result<Vec<User>> {
        let keys: Vec<_> = names.iter().map(Name::key).collect();
        self.engine
            .read(move |db| {
                keys.iter()
                    .filter_map(|key| one(db, BY_NAME, [key]).transpose())
                    .collect()
            })
            .await
    }

    async fn find_users(
        &self,
        prefix: &str,
        filter: UserFilter,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<User>> {
        let prefix = prefix.to_ascii_lowercase();
        let after = after.map(Name::key).unwrap_or_default();
        self.engine
            .read(move |db| find(db, &prefix, filter, &after, limit))
            .await
    }

    async fn user_count(&self) -> Result<u64> {
        self.engine
            .read(|db| Ok(db.prepare_cached(COUNT)?.query_row([], |row| rows::unsigned(row, 0))?))
            .await
    }

    async fn password_hash(&self, user: UserId) -> Result<Option<String>> {
        self.engine
            .read(move |db| {
                let mut statement = db.prepare_cached(HASH)?;
                Ok(statement.query_row([user.as_bytes()], |row| row.get(0)).optional()?)
            })
            .await
    }

    async fn set_password_hash(&self, user: UserId, hash: String) -> Result<()> {
        self.engine.write(move |db| set(db, SET_HASH, user, hash)).await
    }

    async fn set_disabled(&self, user: UserId, disabled: bool) -> Result<()> {
        self.engine.write(move |db| set(db, SET_DISABLED, user, disabled)).await
    }

    async fn set_superuser(&self, user: UserId, superuser: bool) -> Result<()> {
        self.engine
            .write(move |db| set(db, SET_SUPERUSER, user, superuser))
            .await
    }

    async fn set_last_seen(&self, seen: Vec<(UserId, Timestamp)>) -> Result<()> {
        self.engine
            .write(move |db| {
                let mut statement = db.prepare_cached(SEEN)?;
                for (user, at) in seen {
                    statement.execute(params![user.as_bytes(), millis(at)])?;
                }
                Ok(())
            })
            .await
    }

    async fn create_invite(&self, invite: Invite) -> Result<()> {
        self.engine
            .write(move |db| {
                db.prepare_cached(ADD_INVITE)?.execute(params![
                    invite.code,
                    invite.by.as_bytes(),
                    invite.uses_left,
                    millis(invite.expires_at)
                ])?;
                Ok(())
            })
            .await
    }

    async fn invites(&self, now: Timestamp) -> Result<Vec<Invite>> {
        self.engine.read(move |db| invites(db, now)).await
    }

    async fn delete_invite(&self, code: &str) -> Result<bool> {
        let code = code.to_owned();
        self.engine
            .write(move |db| Ok(db.prepare_cached(DELETE_INVITE)?.execute([code])? == 1))
            .await
    }
}
