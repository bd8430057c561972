//! Into a keyspace: records are written side by side.

use std::collections::HashMap;
use std::io::BufRead;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _, TryStreamExt as _};
use scylla::value::MaybeUnset;
use uuid::Uuid;

use crate::limits;
use crate::model::{Author, Message, Name, Nonce, Room, User, UserId};
use crate::store::archive::{Error, Reader, Record};
use crate::store::scylla::ScyllaStore;
use crate::store::scylla::fill::{Filling, WRITES_AT_ONCE};
use crate::store::scylla::rows::{cql, mentions_blob, start, time};
use crate::store::scylla::stamp;
use crate::store::{AccountStore as _, AuditEntry, Invite};

impl ScyllaStore {
    /// Reads an archive into the keyspace, which has to be empty. What was stored before an error stays: drop the
    /// keyspace, then begin again.
    ///
    /// # Errors
    /// [`Error`] if the archive is not whole, the keyspace is not empty, or the store fails.
    pub async fn import<R: BufRead + Send>(&self, from: R) -> Result<u64, Error> {
        let mut reader = Reader::begin(from)?;
        let held: Vec<(Uuid,)> = self.cql.rows(&self.cql.statements.any_user, ()).await?;
        if !held.is_empty() {
            let why = "the keyspace already holds users; an archive is read into an empty store only";
            return Err(Error::Store(why.into()));
        }
        let mut importing = Importing {
            store: self,
            names: HashMap::new(),
            filling: Filling::default(),
            under_way: FuturesUnordered::new(),
        };
        let mut records = 0;
        while let Some(record) = reader.read()? {
            let line = reader.line();
            importing.take(record).await.map_err(|error| Error::Line {
                line,
                why: error.to_string(),
            })?;
            records += 1;
        }
        importing.under_way.try_collect::<()>().await?;
        self.note_totals().await?;
        Ok(records)
    }
}

/// An import on its way: records are written side by side.
struct Importing<'a> {
    store: &'a ScyllaStore,
    names: HashMap<UserId, Name>,
    filling: Filling,
    under_way: FuturesUnordered<BoxFuture<'a, crate::store::Result<()>>>,
}

impl<'a> Importing<'a> {
    async fn take(&mut self, record: Record) -> Result<(), Error> {
        let store = self.store;
        let write: BoxFuture<'a, crate::store::Result<()>> = match record {
            Record::Member {
                room,
                user,
                role,
                joined_at,
            } => {
                let name = self.names.get(&user).cloned();
                let name = name.ok_or_else(|| Error::Store(format!("the member {user} is no user")))?;
                Box::pin(async move { store.enrol(room, (user, &name), role, joined_at, None).await })
            }
            Record::Message { .. } => {
                let Some((message, nonce)) = message_of(record) else {
                    return Ok(());
                };
                let place = store.place(&mut self.filling, message.room, message.id).await?;
                Box::pin(async move { store.restore(&message, nonce.as_ref(), &place).await })
            }
            Record::Event { room, id, .. } => {
                let bucket = self.filling.bucket_of(room, id);
                Box::pin(async move { store.put_event(record, bucket).await })
            }
            record => {
                if let Record::User { id, name, .. } = &record {
                    self.names.insert(*id, name.clone());
                }
                Box::pin(async move { store.put_record(record).await })
            }
        };
        self.under_way.push(write);
        while self.under_way.len() >= WRITES_AT_ONCE {
            self.under_way.next().await.unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

fn message_of(record: Record) -> Option<(Message, Option<Nonce>)> {
    let Record::Message {
        room,
        id,
        author,
        author_name,
        body,
        reply_to,
        nonce,
        mentions,
        edited_at,
        deleted_at,
        last_event,
    } = record
    else {
        return None;
    };
    let message = Message {
        room,
        id,
        author: Author {
            id: author,
            name: author_name,
        },
        body,
        reply_to,
        mentions,
        edited_at,
        deleted_at,
        last_event,
    };
    Some((message, nonce.as_deref().and_then(Nonce::parse)))
}

impl ScyllaStore {
    /// Writes a record that stands by itself.
    async fn put_record(&self, record: Record) -> crate::store::Result<()> {
        match record {
            Record::User {
                id,
                name,
                password_hash,
                superuser,
                disabled,
                created_at,
                last_seen,
            } => {
                let user = User {
                    id,
                    name,
                    superuser,
                    disabled,
                    created_at,
                    last_seen,
                };
                self.insert_user(&user, &password_hash).await
            }
            Record::Invite {
                code,
                by,
                uses_left,
                expires_at,
            } => {
                self.create_invite(Invite {
                    code,
                    by,
                    uses_left,
                    expires_at,
                })
                .await
            }
            Record::Room {
                id,
                name,
                title,
                kind,
                pair,
                created_at,
                archived,
                deleted,
            } => {
                let room = Room {
                    id,
                    name,
                    title,
                    kind,
                    pair,
                    created_at,
                    archived,
                    deleted,
                };
                self.insert_room(&room, stamp::above(None, self.clock.now())).await?;
                if !deleted {
                    self.totals.room(1);
                    self.claim_imported(&room).await?;
                }
                Ok(())
            }
            Record::Ban { room, user, by, at } => {
                let now = stamp::above(None, self.clock.now());
                let values = (
                    cql(room.as_bytes()),
                    cql(user.as_bytes()),
                    true,
                    cql(by.as_bytes()),
                    time(at),
                    now,
                );
                self.cql.write(&self.cql.statements.ban_put, values).await
            }
            Record::Marker { room, user, id } => self.put_marker(room, user, id).await,
            Record::Audit {
                id,
                actor,
                actor_name,
                action,
                target,
                detail,
            } => {
                self.clock.observe(id);
                let entry = AuditEntry {
                    id,
                    actor,
                    actor_name,
                    action,
                    target,
                    detail,
                };
                self.insert_audit(&entry).await
            }
            _ => Ok(()),
        }
    }

    async fn put_event(&self, record: Record, bucket: u64) -> crate::store::Result<()> {
        let Record::Event {
            room,
            id,
            kind,
            message,
            by,
            mentions,
            body,
        } = record
        else {
            return Ok(());
        };
        self.clock.observe(id);
        let kept = std::time::Duration::from_secs(limits::EVENT_DAYS_MAX * 24 * 60 * 60);
        if self.clock.now().since(id.timestamp()) >= kept {
            return Ok(());
        }
        let named = (!mentions.is_empty()).then(|| mentions_blob(&mentions));
        let values = (
            cql(room.as_bytes()),
            start(bucket),
            cql(id.as_bytes()),
            kind,
            cql(message.as_bytes()),
            MaybeUnset::from_option(by.map(|by| cql(by.as_bytes()))),
            MaybeUnset::from_option(named),
            MaybeUnset::from_option(body),
            stamp::micros(id),
        );
        self.cql.write(&self.cql.statements.event_insert, values).await
    }
}
