//! What a node does at its edges while a part of it is slow or away: nobody else's revocation or expiry waits for it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{Method, StatusCode};
use natter::model::{Timestamp, UserId};
use natter::sessions::sqlite::SqliteSessions;
use natter::sessions::{NewSession, Result, SessionHandle, SessionInfo, UserSessions};
use natter::store::{AccountStore as _, Store as _};
use natter::throttle::{self, Kind, Throttle, Verdict};
use parking_lot::Mutex;
use serde_json::json;

use crate::common::{Got, Sock, within};
use crate::world::World;

/// Sessions that answer nothing while they are held, but for those that are spared.
pub struct Held {
    pub inner: SqliteSessions,
    pub held: AtomicBool,
    pub spared: Mutex<HashSet<SessionHandle>>,
    /// How many questions wait, without end.
    pub waiting: AtomicUsize,
}

impl Held {
    pub fn new(inner: SqliteSessions) -> Self {
        Self {
            inner,
            held: AtomicBool::new(false),
            spared: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl UserSessions for Held {
    async fn list(&self, user: UserId) -> Result<Vec<SessionInfo>> {
        self.inner.list(user).await
    }
    async fn live(&self, handle: &SessionHandle) -> Result<Option<SessionInfo>> {
        if self.held.load(Ordering::SeqCst) && !self.spared.lock().contains(handle) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.inner.live(handle).await
    }
    async fn end(&self, user: UserId, handle: &SessionHandle) -> Result<bool> {
        self.inner.end(user, handle).await
    }
    async fn end_all(&self, user: UserId, except: Option<&SessionHandle>) -> Result<u64> {
        self.inner.end_all(user, except).await
    }
    async fn create_many(&self, sessions: Vec<NewSession>) -> Result<()> {
        self.inner.create_many(sessions).await
    }
    async fn sweep(&self) -> Result<u64> {
        self.inner.sweep().await
    }
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}

/// Throttles that let everything pass; with a defect that shows when somebody makes a room.
#[derive(Default)]
pub struct Defective {
    pub panics: AtomicBool,
}

#[async_trait]
impl Throttle for Defective {
    async fn check(&self, kind: Kind, _key: &str) -> throttle::Result<Verdict> {
        let panics = kind == Kind::RoomCreation && self.panics.load(Ordering::SeqCst);
        assert!(!panics, "the defect of a test");
        Ok(Verdict::Allowed)
    }
    async fn take_back(&self, _kind: Kind, _key: &str) -> throttle::Result<()> {
        Ok(())
    }
    async fn reset(&self, _kind: Kind, _key: &str) -> throttle::Result<()> {
        Ok(())
    }
}

/// The code with which a socket ends.
async fn ends(mut socket: Sock) -> Option<u16> {
    within("the end of a socket", socket.closed()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_has_run_out_waits_for_no_other_to_be_checked() {
    let world = World::new();
    let [one] = world.nodes().await;
    let (ann, bob, eve) = (one.user("ann").await, one.user("bob").await, one.user("eve").await);
    let mut crowd = Vec::new();
    for _ in 0..600 {
        crowd.push(one.socket("/ws", &ann).await);
    }
    let (b, mut e) = (one.room("lobby", &bob).await, one.room("lobby", &eve).await);
    let session = one.done(Method::GET, "/api/session", &eve, None).await;
    let handle = session["session"]["handle"].as_str().and_then(SessionHandle::parse);
    one.sessions.spared.lock().extend(handle);
    one.sessions.held.store(true, Ordering::SeqCst);
    // Each minute's share of the crowd: many are asked for at the same time, though none is answered.
    within("checks that hang", async {
        while one.sessions.waiting.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    for user in [&bob, &eve] {
        for link in one.hub.registry().of_user(UserId::parse(&user.id).expect("an id")) {
            link.set_expires_at(Timestamp::from_millis(1));
        }
    }
    // Of one nothing is told, so it has expired. The other was used elsewhere, which is found out and keeps it.
    assert_eq!(ends(b).await, Some(4201));
    within("a session that goes on", async {
        let user = UserId::parse(&eve.id).expect("an id");
        let links = one.hub.registry().of_user(user);
        while links.iter().any(|link| link.expires_at() == Timestamp::from_millis(1)) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    e.say("still here").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_that_cannot_be_looked_at_holds_up_no_later_revocation() {
    let world = World::new();
    let own = world.another_store();
    let one = world.node().await;
    let two = world.node_over(own.clone()).await;
    let (ann, bob, eve) = (one.user("ann").await, two.user("bob").await, two.user("eve").await);
    let mut a = one.room("lobby", &ann).await;
    let mut b = two.room("lobby", &bob).await;
    let mut c = two.room("lobby", &eve).await;
    a.say("hello").await;
    b.hears("hello").await;
    c.hears("hello").await;
    // The second node's store is away for good; the room changes, then somebody is thrown out.
    own.close().await;
    one.done(Method::PATCH, "/api/rooms/lobby", &ann, Some(json!({ "title": "new" })))
        .await;
    one.done(Method::DELETE, "/api/rooms/lobby/members/bob", &ann, None)
        .await;
    assert_eq!(ends(b).await, Some(4203));
    a.say("after").await;
    c.hears("after").await;
    assert!(two.lease.may_write());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_disabled_is_cut_on_every_node_and_let_in_by_none() {
    let world = World::new();
    let [one, two, three] = world.nodes().await;
    let (root, bob, eve) = (one.user("root").await, two.user("bob").await, two.user("eve").await);
    let id = UserId::parse(&root.id).expect("an id");
    world.store.set_superuser(id, true).await.expect("a superuser");
    let mut a = one.room("lobby", &root).await;
    let mut sockets = Vec::new();
    for node in [&one, &two, &three] {
        sockets.push(node.room("lobby", &bob).await);
        sockets.push(node.socket("/ws", &bob).await);
    }
    let mut c = three.room("lobby", &eve).await;
    let change = Some(json!({ "disabled": true }));
    one.done(Method::PATCH, "/api/admin/users/bob", &root, change).await;
    // The answer has come: nothing that is said from here on reaches a socket of bob's, wherever it is.
    a.say("after").await;
    c.hears("after").await;
    for mut socket in sockets {
        loop {
            match within("the end", socket.next()).await {
                Got::Frame(frame, _) => assert_ne!(frame["message"], "after"),
                Got::Close(code) => assert_eq!(code, 4202),
                Got::End => break,
            }
        }
    }
    for node in [&one, &two, &three] {
        let answer = node.ask(Method::GET, "/api/session", &bob, None).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
        assert_eq!(node.log_in("bob").await, StatusCode::UNAUTHORIZED);
    }
    one.done(
        Method::PATCH,
        "/api/admin/users/bob",
        &root,
        Some(json!({ "disabled": false })),
    )
    .await;
    assert_eq!(three.log_in("bob").await, StatusCode::OK);
}

/// A connection rests until its client asks for something; what it then runs into ends it, and leaves nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_defect_ends_the_connection_that_meets_it_and_no_other() {
    let world = World::new();
    let [one] = world.nodes().await;
    let (ann, bob) = (one.user("ann").await, one.user("bob").await);
    let (mut a, mut b) = (one.room("lobby", &ann).await, one.room("lobby", &bob).await);
    a.say("hello").await;
    b.hears("hello").await;
    let mut doomed = one.socket("/ws", &ann).await;
    doomed.send(json!({ "type": "join", "room": "lobby" })).await;
    doomed.until("live").await;
    one.throttles.panics.store(true, Ordering::SeqCst);
    doomed.send(json!({ "type": "join", "room": "attic" })).await;
    assert_eq!(ends(doomed).await, Some(1011));
    let registry = one.hub.registry();
    let counted = || -> u64 { registry.traffic().closed().map(|(_, count)| count).sum() };
    within("the end of the connection", async {
        while registry.len() > 2 || counted() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let ended: Vec<_> = registry.traffic().closed().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ended, [("internal", 1)], "it is counted once");
    // The room has let go of it, and the others go on.
    b.say("still here").await;
    a.hears("still here").await;
    let readers = one.hub.readers().await;
    let lobby = readers.iter().map(|(_, users)| users.len()).collect::<Vec<_>>();
    assert_eq!(lobby, [2], "two people read one room");
}
