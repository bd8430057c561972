//! The whole HTTP side in one process, over the real embedded store, asked without a network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, SET_COOKIE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::config::{Network, PublicUrl, Registration};
use crate::http::{Admission, Gauges, Http, Settings, Stats, router};
use crate::limits;
use crate::model::{BootId, SystemTime};
use crate::presence::redis::{RedisPresence, Timing};
use crate::redis_link::RedisLink;
use crate::rooms::directory::tests::world::World;
use crate::sessions::UserSessions;
use crate::sessions::password::Passwords;
use crate::sessions::redis::RedisSessions;
use crate::throttle::local::LocalThrottles;
use crate::throttle::redis::RedisThrottles;
use crate::throttle::{Off, Throttle};

pub(super) const PASSWORD: &str = "correct horse";

struct NoGauges;

impl Gauges for NoGauges {
    fn connections(&self) -> u64 {
        0
    }
    fn people(&self) -> u64 {
        0
    }
    fn messages(&self) -> u64 {
        0
    }
}

/// How a test wants its server.
pub(super) struct Wish {
    pub(super) registration: Registration,
    pub(super) public_url: Option<&'static str>,
    pub(super) throttled: bool,
    pub(super) trusted_proxies: &'static [&'static str],
    pub(super) admission: Admission,
    pub(super) sockets: Router,
    /// Sessions, presence and throttles stand there.
    pub(super) redis: Option<RedisLink>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            registration: Registration::Open,
            public_url: None,
            throttled: false,
            trusted_proxies: &[],
            admission: Admission::default(),
            sockets: Router::new(),
            redis: None,
        }
    }
}

pub(super) struct TestApp {
    pub(super) world: World,
    pub(super) http: Arc<Http>,
    redis: Option<RedisSessions>,
    router: Router,
}

fn routes(http: &Arc<Http>, world: &World, redis: Option<&RedisSessions>, sockets: Router) -> Router {
    match redis {
        Some(sessions) => router(http.clone(), sessions.clone(), sockets),
        None => router(http.clone(), world.sessions.clone(), sockets),
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.bytes);
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.bytes));
        if self.bytes.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// Checks that it is a problem document with this status and code, and gives it.
    #[track_caller]
    pub(super) fn problem(self, status: u16, code: &str) -> Value {
        let text = String::from_utf8_lossy(&self.bytes).into_owned();
        assert_eq!(self.status.as_u16(), status, "{text}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{text}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{text}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:natter:{code}"));
        assert!(!problem["title"].as_str().unwrap().is_empty());
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }

    pub(super) fn cookie(&self) -> Option<String> {
        let cookie = self.headers.get(SET_COOKIE)?.to_str().unwrap();
        Some(cookie.split(';').next().unwrap().to_owned())
    }
}

impl TestApp {
    pub(super) async fn start() -> Self {
        Self::with(Wish::default()).await
    }

    pub(super) async fn with(wish: Wish) -> Self {
        let clock = Arc::new(SystemTime);
        let redis = wish.redis.as_ref();
        let redis_sessions = redis.map(|link| RedisSessions::new(link.clone(), clock.clone()));
        let elsewhere = match redis.zip(redis_sessions.clone()) {
            Some((link, sessions)) => {
                let presence = RedisPresence::start(link.clone(), BootId::random(), Timing::default(), None).await;
                Some((Arc::new(sessions) as _, Arc::new(presence) as _))
            }
            None => None,
        };
        let throttles: Arc<dyn Throttle> = if let Some(link) = redis {
            Arc::new(RedisThrottles::new(link.clone()))
        } else if wish.throttled {
            // Time stands still, so that nothing recovers during a test.
            Arc::new(LocalThrottles::with(
                limits::THROTTLE_KEYS_MAX,
                Arc::new(|| Duration::ZERO),
            ))
        } else {
            Arc::new(Off)
        };
        let world = World::over(elsewhere, throttles.clone());
        let user_sessions: Arc<dyn UserSessions> = match &redis_sessions {
            Some(sessions) => Arc::new(sessions.clone()),
            None => Arc::new(world.sessions.clone()),
        };
        let http = Arc::new(Http {
            directory: world.directory.clone(),
            store: world.store.clone(),
            sessions: user_sessions,
            presence: world.presence.clone(),
            clock: clock.clone(),
            passwords: Passwords::with_cost(8, 1).unwrap(),
            throttles,
            admission: wish.admission,
            changes: crate::http::Changes::default(),
            stats: Arc::new(Stats::new(Arc::new(NoGauges), clock)),
            settings: Settings {
                name: "Test".into(),
                public_url: wish.public_url.map(|url| PublicUrl::parse(url).unwrap()),
                trusted_proxies: wish
                    .trusted_proxies
                    .iter()
                    .map(|text| Network::parse(text).unwrap())
                    .collect(),
                registration: wish.registration,
                session_life: limits::SESSION_LIFE,
            },
        });
        let router = routes(&http, &world, redis_sessions.as_ref(), wish.sockets);
        Self {
            world,
            http,
            redis: redis_sessions,
            router,
        }
    }

    /// The same server with these upgrade routes.
    pub(super) fn and_sockets(self, sockets: Router) -> Self {
        let router = routes(&self.http, &self.world, self.redis.as_ref(), sockets);
        Self { router, ..self }
    }

    pub(super) async fn send(&self, mut request: Request<Body>) -> Answer {
        let peer: SocketAddr = ([192, 0, 2, 1], 4711).into();
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            bytes: to_bytes(body, usize::MAX).await.unwrap().to_vec(),
        }
    }

    /// A request with these headers and perhaps a JSON body.
    pub(super) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path);
        request = request.header(HOST, "chat.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(json) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    /// Somebody who is not logged in.
    pub(super) fn nobody(&self) -> Somebody<'_> {
        Somebody {
            app: self,
            name: String::new(),
            id: String::new(),
            cookie: String::new(),
        }
    }

    /// Registers somebody.
    pub(super) async fn with_user(&self, name: &str) -> Somebody<'_> {
        let form = json!({"username": name, "password": PASSWORD});
        let answer = self.ask("POST", "/api/users", &[], Some(form)).await;
        let cookie = answer.cookie();
        let me = answer.expect(201);
        Somebody {
            app: self,
            name: name.to_owned(),
            id: me["id"].as_str().unwrap().to_owned(),
            cookie: cookie.unwrap(),
        }
    }

    /// Registers a superuser.
    pub(super) async fn with_superuser(&self, name: &str) -> Somebody<'_> {
        let user = self.with_user(name).await;
        let id = user.id.parse().unwrap();
        self.world.directory.set_superuser(id, true).await.unwrap();
        user
    }

    /// Logs in; gives the same user with another session.
    pub(super) async fn log_in(&self, name: &str, password: &str) -> Answer {
        let form = json!({"username": name, "password": password});
        self.ask("POST", "/api/session", &[], Some(form)).await
    }
}

/// A browser with a cookie.
#[derive(Clone)]
pub(super) struct Somebody<'a> {
    app: &'a TestApp,
    pub(super) name: String,
    pub(super) id: String,
    pub(super) cookie: String,
}

impl Somebody<'_> {
    pub(super) fn with_cookie(&self, cookie: String) -> Self {
        Self { cookie, ..self.clone() }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let cookie = [(COOKIE.as_str(), self.cookie.as_str())];
        let headers = if self.cookie.is_empty() { &[][..] } else { &cookie[..] };
        self.app.ask(method, path, headers, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }
    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }
    pub(super) async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, Some(body)).await
    }
    pub(super) async fn put_nothing(&self, path: &str) -> Answer {
        self.ask("PUT", path, None).await
    }
    pub(super) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask("PATCH", path, Some(body)).await
    }
    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }
}
