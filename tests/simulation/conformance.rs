//! The suites of the seams, over what the simulation has in their place: so that what it shows of nodes is shown over
//! seams that do what the real ones do. What a simulated one has not is listed, with the reason; the suite then finds
//! exactly that. Sessions have no suite here: nodes ask the simulated ones only whether one lives, and end it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use natter::channel_layer::{self, ChannelLayer};
use natter::control_log::conformance::Ends;
use natter::control_log::lease::DeliveryLease;
use natter::control_log::{self, ControlLog};
use natter::model::clock::SharedClock;
use natter::model::{BootId, Timestamp, WallClock};
use natter::store::{self, Store, conformance::Subject};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ground::{EPOCH, Ground, Switches};
use crate::log::SimLog;
use crate::net::SimLayer;
use crate::store::SimStore;

/// Ground on which time passes as it does for the runtime, whose time the test's waiting moves.
fn ground() -> Arc<Ground> {
    let ground = Arc::new(Ground::new(1, Switches::default()));
    let ticking = Arc::clone(&ground);
    let begun = Instant::now();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = u64::try_from(begun.elapsed().as_millis()).expect("a short run");
            ticking.set_now(now);
            ticking.data.lock().land(now, |_| true);
            ticking.net.lock().deliver(now);
        }
    });
    ground
}

#[derive(Default)]
struct Layers {
    last: Mutex<Option<(Arc<Ground>, usize)>>,
}

#[async_trait]
impl channel_layer::conformance::World for Layers {
    async fn nodes(&self, count: usize) -> Vec<Arc<dyn ChannelLayer>> {
        let ground = ground();
        *self.last.lock() = Some((Arc::clone(&ground), count));
        let node = |node| Arc::new(SimLayer::new(Arc::clone(&ground), node)) as Arc<dyn ChannelLayer>;
        (0..count).map(node).collect()
    }

    async fn cut(&self) {
        let (ground, count) = self.last.lock().clone().expect("nodes");
        ground.weather.lock().cut.extend(0..count);
    }

    async fn restore(&self) {
        let (ground, count) = self.last.lock().clone().expect("nodes");
        ground.weather.lock().cut.clear();
        (0..count).for_each(|node| ground.net.lock().tell_lost(node));
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(50)
    }
}

#[tokio::test(start_paused = true)]
async fn the_channel_layer() {
    let failed = channel_layer::conformance::failures(&Layers::default()).await;
    assert_eq!(failed, []);
}

struct Logs;

#[async_trait]
impl control_log::conformance::World for Logs {
    async fn ends(&self, count: usize) -> Ends {
        let ground = ground();
        let end = |node| {
            let lease = DeliveryLease::of(BootId::random());
            Arc::new(SimLog::new(Arc::clone(&ground), node, lease)) as Arc<dyn ControlLog>
        };
        let nodes = (0..count).map(end).collect();
        let lose = move || {
            let ground = Arc::clone(&ground);
            let lost = async move { ground.log.lock().empty(ground.now()) };
            Box::pin(lost) as _
        };
        Ends {
            nodes,
            lose: Box::new(lose),
        }
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(300)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(8)
    }
}

#[tokio::test(start_paused = true)]
async fn the_control_log() {
    let failed = control_log::conformance::failures(&Logs).await;
    let failed: Vec<&str> = failed.into_iter().map(|(clause, _)| clause).collect();
    // It keeps every entry, so nobody falls behind it; that entries are gone is shown by emptying it.
    assert_eq!(failed, ["behind"]);
}

/// A clock that shows the ground's time.
struct Hands(Arc<Ground>);

impl WallClock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH + self.0.now())
    }
}

struct Stores(Arc<Ground>);

impl Stores {
    fn on(&self, node: usize) -> Arc<dyn Store> {
        let clock = Arc::new(SharedClock::new(Arc::new(Hands(Arc::clone(&self.0)))));
        Arc::new(SimStore::new(Arc::clone(&self.0), node, clock))
    }
}

#[async_trait]
impl Subject for Stores {
    fn store(&self) -> Arc<dyn Store> {
        self.on(0)
    }

    /// What a node keeps is lost with it, what it has written is not.
    async fn reborn(&self) -> anyhow::Result<Arc<dyn Store>> {
        Ok(self.on(1))
    }

    async fn fill(&self, _full: bool) -> bool {
        false
    }
}

/// Clauses that the simulated store has not: of rooms and accounts it holds what people who talk need, it counts nothing
/// as unread and keeps no markers, and it has no room to run out of.
const LACKS: &[&str] = &[
    "names",
    "marker",
    "refused",
    "unread",
    "direct",
    "succession",
    "bans",
    "members",
    "listed",
    "accounts",
    "invites",
    "audit",
];

#[tokio::test(start_paused = true)]
async fn the_store() {
    let clauses = store::conformance::CLAUSES;
    assert!(LACKS.iter().all(|clause| clauses.contains(clause)));
    for clause in clauses.iter().filter(|clause| !LACKS.contains(clause)) {
        let checked = store::conformance::check(clause, &Stores(ground())).await;
        assert!(checked.is_ok(), "{clause}: {checked:?}");
    }
}
