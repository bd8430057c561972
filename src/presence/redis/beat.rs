//! The beat: renews the lease, enters again what Redis lost, and clears away what dead nodes left.

use std::sync::Arc;

use redis::Value;
use tokio::time::MissedTickBehavior;

use super::book::Key;
use super::{Gone, Inner, Result};
use crate::limits;
use crate::model::{RoomId, UserId};

/// Beats until the task is ended.
pub(super) async fn keep(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(inner.timing.beat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        inner.beat().await;
    }
}

impl Inner {
    /// One beat; whatever fails is tried again at the next.
    pub(super) async fn beat(self: &Arc<Self>) {
        match self.renew().await {
            Ok(dead) => {
                self.clear_away(dead);
                // A lease is renewed although much has to be entered, so entering goes on beside the beat.
                let up = self.state.lock().up;
                if !up && let Err(error) = self.settle_for(self.timing.beat).await {
                    tracing::debug!(%error, "presence could not be entered again yet");
                }
            }
            Err(error) => {
                self.doubt(None);
                tracing::debug!(%error, "a presence lease was not renewed");
            }
        }
    }

    /// Renews the lease, or takes a new name if it has run out; answers which nodes are dead.
    async fn renew(&self) -> Result<Vec<String>> {
        let (generation, registered) = {
            let state = self.state.lock();
            (state.generation, state.registered)
        };
        let (held, dead) = self.lease(generation, !registered).await?;
        if held || !registered {
            self.state.lock().registered = true;
            return Ok(dead);
        }
        let next = generation + 1;
        {
            let all: Vec<_> = self.book.lock().keys().collect();
            let mut state = self.state.lock();
            state.up = false;
            (state.generation, state.registered, state.former) = (next, false, Some(generation));
            state.doubtful.extend(all);
        }
        tracing::warn!("this node's presence had run out; everybody here is entered again");
        let (_, dead) = self.lease(next, true).await?;
        self.state.lock().registered = true;
        Ok(dead)
    }

    async fn lease(&self, generation: u64, begin: bool) -> Result<(bool, Vec<String>)> {
        let lease = self.timing.lease.as_millis().to_string();
        let begin = String::from(if begin { "1" } else { "0" });
        let args = [self.name(generation), lease, begin];
        self.run(&self.scripts.beat, &[self.keys().nodes()], &args).await
    }

    /// Settles what is in doubt, for as long as one beat; the rest follows at the next.
    async fn settle_for(&self, span: std::time::Duration) -> Result<()> {
        tokio::time::timeout(span, self.settle_all()).await.unwrap_or(Ok(()))
    }

    async fn settle_all(&self) -> Result<()> {
        loop {
            let (batch, generation, former) = {
                let mut state = self.state.lock();
                if state.doubtful.is_empty() {
                    (state.up, state.former) = (true, None);
                    return Ok(());
                }
                let batch: Vec<Key> = state.doubtful.iter().take(limits::REDIS_AT_ONCE).copied().collect();
                (batch, state.generation, state.former)
            };
            let settled = batch.into_iter().map(|key| self.settle(key, generation, former));
            futures_util::future::try_join_all(settled).await?;
        }
    }

    async fn settle(&self, key: Key, generation: u64, former: Option<u64>) -> Result<()> {
        let _turn = self.turn(key).lock().await;
        if let Some(former) = former {
            self.take_out(key, &self.name(former)).await?;
        }
        self.apply(key, generation).await?;
        self.state.lock().doubtful.remove(&key);
        Ok(())
    }

    /// Clears dead nodes away beside the beat, one at a time.
    fn clear_away(self: &Arc<Self>, dead: Vec<String>) {
        if dead.is_empty() {
            return;
        }
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            // The beat names whoever is left again.
            let Ok(_permit) = inner.clearing.try_acquire() else {
                return;
            };
            for node in dead {
                if let Err(error) = inner.clear(&node).await {
                    tracing::debug!(%error, "a dead node's presence could not be cleared yet");
                    return;
                }
            }
        });
    }

    /// Takes everything out that stands under a name, then the name itself. Several nodes may do so at once.
    pub(super) async fn clear(&self, node: &str) -> Result<()> {
        let index = self.keys().index(node);
        loop {
            let mut some = redis::cmd("SRANDMEMBER");
            some.arg(&index).arg(limits::REDIS_AT_ONCE);
            let entries: Vec<String> = self.link.repeatable(&some).await?;
            if entries.is_empty() {
                break;
            }
            let cleared = entries.iter().map(|entry| self.clear_entry(node, entry));
            futures_util::future::try_join_all(cleared).await?;
            let mut done = redis::cmd("SREM");
            done.arg(&index).arg(&entries);
            let _: Value = self.link.repeatable(&done).await?;
        }
        let mut forget = redis::cmd("ZREM");
        forget.arg(self.keys().nodes()).arg(node);
        let _: Value = self.link.repeatable(&forget).await?;
        Ok(())
    }

    async fn clear_entry(&self, node: &str, entry: &str) -> Result<()> {
        match entry.split_once(' ') {
            Some(("user", user)) => {
                let Ok(user) = UserId::parse(user) else { return Ok(()) };
                let keys = [self.keys().online(user)];
                let last: bool = self.run(&self.scripts.disconnect, &keys, &[node]).await?;
                if last {
                    self.tell(Gone::Offline(user));
                }
            }
            Some(("room", room)) => {
                let Ok(room) = RoomId::parse(room) else { return Ok(()) };
                self.clear_room(node, room).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn clear_room(&self, node: &str, room: RoomId) -> Result<()> {
        let keys = self.keys().room(room, node);
        let at_once = limits::REDIS_AT_ONCE;
        loop {
            let mut gone: Vec<String> = self.run(&self.scripts.clear, &keys, &[at_once.to_string()]).await?;
            let taken: usize = gone.first().and_then(|count| count.parse().ok()).unwrap_or_default();
            let users: Vec<_> = gone
                .drain(..)
                .skip(1)
                .filter_map(|user| UserId::parse(&user).ok())
                .collect();
            if !users.is_empty() {
                self.tell(Gone::Left(room, users));
            }
            if taken < at_once {
                return Ok(());
            }
        }
    }

    fn tell(&self, gone: Gone) {
        // Ephemeral: who can't listen now learns the count with the room's next change.
        if let Some(listener) = &self.gone
            && listener.try_send(gone).is_err()
        {
            tracing::debug!("nobody took the news of who went with a dead node");
        }
    }
}
