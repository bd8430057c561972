//! Throttles over all nodes, in Redis.
//!
//! Each key is one small value that lives until the key is as good as new, so nothing is ever swept. Each call is one
//! script: many tries at the same time, at whichever nodes, are counted one after the other. Time is Redis' own, so
//! nodes whose clocks differ agree; where it jumps back after a failover nobody waits longer than the policy says.

mod scripts;

use std::time::Duration;

use async_trait::async_trait;

use scripts::Scripts;

use super::{Error, Kind, Policy, Result, Throttle, Verdict, bounded_key};
use crate::redis_link::{self, RedisLink, Script};

/// Throttles in Redis.
pub struct RedisThrottles {
    link: RedisLink,
    scripts: Scripts,
    /// The time that tests own; Redis' own where there is none.
    clock: Option<super::local::Clock>,
}

impl From<redis_link::Error> for Error {
    fn from(error: redis_link::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl RedisThrottles {
    /// Throttles over this link. Asks nothing yet.
    #[must_use]
    pub fn new(link: RedisLink) -> Self {
        Self {
            link,
            scripts: Scripts::new(),
            clock: None,
        }
    }

    /// With another clock than Redis', for tests.
    #[must_use]
    pub fn with_clock(link: RedisLink, clock: super::local::Clock) -> Self {
        Self {
            clock: Some(clock),
            ..Self::new(link)
        }
    }

    fn key(&self, kind: Kind, key: &str) -> String {
        let kind = match kind {
            Kind::LoginAccount => "login-account",
            Kind::LoginAddress => "login-address",
            Kind::LoginSuccess => "login-success",
            Kind::Registration => "registration",
            Kind::HandshakeAddress => "handshake-address",
            Kind::HandshakeUser => "handshake-user",
            Kind::Revocation => "revocation",
            Kind::RoomCreation => "room-creation",
            Kind::Membership => "membership",
        };
        self.link.key(format_args!("throttle:{kind}:{}", bounded_key(key)))
    }

    /// Runs the script for the kind's policy; answers how long to wait.
    async fn run(&self, kind: Kind, key: &str, rate: &Script, growing: &Script) -> Result<Duration> {
        let now = self.clock.as_ref().map(|clock| clock());
        let now = now.map_or_else(|| "-1".into(), |now| now.as_micros().to_string());
        let micros = |span: Duration| span.as_micros().to_string();
        let (script, args) = match kind.policy() {
            Policy::Rate(policy) => (rate, vec![now, micros(policy.every), policy.burst.to_string()]),
            Policy::Growing(policy) => {
                let spans = [policy.first, policy.longest, policy.kept].map(micros);
                let mut args = vec![now, policy.free.to_string()];
                args.extend(spans);
                (growing, args)
            }
        };
        let args: Vec<_> = args.into_iter().map(String::into_bytes).collect();
        let wait: u64 = self.link.script(script, &[self.key(kind, key)], &args).await?;
        Ok(Duration::from_micros(wait))
    }
}

#[async_trait]
impl Throttle for RedisThrottles {
    async fn check(&self, kind: Kind, key: &str) -> Result<Verdict> {
        let wait = self.run(kind, key, &self.scripts.rate, &self.scripts.growing).await?;
        Ok(if wait.is_zero() {
            Verdict::Allowed
        } else {
            Verdict::RetryAfter(wait)
        })
    }

    async fn take_back(&self, kind: Kind, key: &str) -> Result<()> {
        let scripts = &self.scripts;
        self.run(kind, key, &scripts.rate_back, &scripts.growing_back)
            .await
            .map(drop)
    }

    async fn reset(&self, kind: Kind, key: &str) -> Result<()> {
        let mut forget = redis::cmd("UNLINK");
        forget.arg(self.key(kind, key));
        let _: i64 = self.link.repeatable(&forget).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
