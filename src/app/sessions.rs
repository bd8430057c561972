//! The sessions that the configuration names, opened: one thing for the session layer and for whoever asks whose they
//! are.

use std::sync::Arc;

use anyhow::bail;
use async_trait::async_trait;
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store;

use crate::config::{Config, SessionsAt};
use crate::model::SystemTime;
use crate::redis_link::RedisLink;
use crate::sessions::UserSessions;
use crate::sessions::redis::RedisSessions;
use crate::sessions::sqlite::SqliteSessions;

use super::{place, servers};

/// Sessions that are open, of whichever kind. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct OpenSessions {
    store: Arc<dyn SessionStore>,
    users: Arc<dyn UserSessions>,
    file: Option<SqliteSessions>,
    link: Option<RedisLink>,
}

impl std::fmt::Debug for OpenSessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl OpenSessions {
    /// Opens them. A file is made and brought up to date.
    ///
    /// # Errors
    /// What is wrong with the file or the server, with the key that names it and what to do.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        match &config.sessions {
            SessionsAt::Sqlite(_) => {
                let Some(path) = config.sessions_path() else {
                    bail!("{} names no file", place(config, "sessions"));
                };
                let opened = tokio::task::spawn_blocking(move || SqliteSessions::open(&path, Arc::new(SystemTime)));
                let sessions = opened.await??;
                Ok(Self {
                    store: Arc::new(sessions.clone()),
                    users: Arc::new(sessions.clone()),
                    file: Some(sessions),
                    link: None,
                })
            }
            SessionsAt::Redis(_) => {
                let Some(link) = servers::redis(config).await? else {
                    bail!("{} names no server", place(config, "sessions"));
                };
                let sessions = RedisSessions::new(link.clone(), Arc::new(SystemTime));
                Ok(Self {
                    store: Arc::new(sessions.clone()),
                    users: Arc::new(sessions),
                    file: None,
                    link: Some(link),
                })
            }
        }
    }

    /// Whose sessions are whose.
    #[must_use]
    pub fn users(&self) -> Arc<dyn UserSessions> {
        Arc::clone(&self.users)
    }

    /// The Redis that they are on, for what else is kept there; `None` for a file.
    #[must_use]
    pub const fn redis(&self) -> Option<&RedisLink> {
        self.link.as_ref()
    }

    /// Writes out what is under way, then closes.
    pub async fn close(&self) {
        if let Some(file) = &self.file {
            file.close().await;
        }
    }
}

#[async_trait]
impl SessionStore for OpenSessions {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        self.store.create(record).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.store.save(record).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.store.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.store.delete(id).await
    }
}
