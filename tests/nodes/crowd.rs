//! People who talk in one room while something fails, and the verdict on what they were told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::common::{User, within};
use crate::judge::history::{Event, Row};
use crate::judge::{Rules, assert_good};
use crate::person::{Ground, Person, Phase, Standing};
use crate::recorder::Recorder;
use crate::world::Cluster;

/// How long everybody may take to have everything once all is healed. Repairs and timeouts of many seconds fit in.
const CONVERGE: Duration = Duration::from_secs(60);

/// A crowd in a room of a cluster.
pub struct Crowd {
    /// What they share.
    pub ground: Arc<Ground>,
    people: Vec<(Arc<Mutex<Standing>>, JoinHandle<()>)>,
    reader: User,
    name: &'static str,
}

impl Crowd {
    /// Lets so many people talk; what they do follows from the seed, which is printed.
    pub async fn talk(cluster: &Cluster, name: &'static str, size: usize, seed: u64) -> Self {
        println!("{name}: seed {seed}");
        let room = cluster.name("hall");
        let ground = Arc::new(Ground {
            recorder: Arc::new(Recorder::new()),
            nodes: Mutex::new(addresses(cluster)),
            room: room.clone(),
            phase: watch::Sender::new(Phase::Settle),
        });
        let reader = cluster.user(0, "reader").await;
        // The room is there before anybody talks, so that nobody has to wait for its making.
        drop(cluster.server(0).room(&room, &reader).await);
        let mut people = Vec::with_capacity(size);
        for n in 0..size {
            let user = cluster.user(n % cluster.nodes.len(), "person").await;
            let number = ground.recorder.number();
            let person = Person::new(number, user, Arc::clone(&ground), seed.wrapping_mul(1_000) + n as u64);
            people.push((person.standing(), tokio::spawn(person.live())));
        }
        let crowd = Self {
            ground,
            people,
            reader,
            name,
        };
        // Everybody is there from the first message on, so everybody is expected to have all of them.
        within("everybody in the room", async {
            while !crowd.all(|standing| standing.live) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        crowd.ground.phase.send_replace(Phase::Talk);
        crowd
    }

    fn all(&self, is: impl Fn(&Standing) -> bool) -> bool {
        self.people.iter().all(|(standing, _)| is(&standing.lock()))
    }

    /// Writes down that a fault begins or ends.
    pub fn fault(&self, name: &str, begins: bool) {
        self.ground.recorder.record(Event::Fault {
            name: name.to_owned(),
            begins,
        });
    }

    /// Tells everybody where the nodes listen now.
    pub fn moved(&self, cluster: &Cluster) {
        *self.ground.nodes.lock() = addresses(cluster);
    }

    /// Ends the talk, waits until everybody has everything, and judges the whole.
    pub async fn judged(self, cluster: &Cluster, rules: &Rules) {
        cluster.all_ready().await;
        self.ground.phase.send_replace(Phase::Settle);
        let calm = async {
            loop {
                if self.all(|standing| standing.open == 0 && standing.live) {
                    let rows = self.history(cluster, 0).await;
                    let stored: HashMap<u64, (String, bool)> = rows
                        .into_iter()
                        .map(|row| (row.id.attempt_hash(), (row.token, row.deleted)))
                        .collect();
                    if self.all(|standing| standing.rows == stored) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let calm = tokio::time::timeout(CONVERGE, calm).await;
        self.ground.phase.send_replace(Phase::Over);
        for node in 0..cluster.nodes.len() {
            let rows = self.history(cluster, node).await;
            let room = self.ground.room.clone();
            self.ground.recorder.record(Event::History {
                node: node.to_string(),
                room,
                rows,
            });
        }
        let history = self.ground.recorder.history();
        let acknowledged = history
            .events()
            .filter(|(_, event)| matches!(event, Event::Acknowledged { .. }))
            .count();
        println!(
            "{}: {} entries, {acknowledged} requests acknowledged",
            self.name,
            history.entries.len()
        );
        assert!(acknowledged > 50, "hardly anything happened");
        assert_good(&history, rules, self.name);
        assert!(
            calm.is_ok(),
            "{}: not everybody has what is stored {CONVERGE:?} after the heal",
            self.name
        );
        for (_, task) in self.people {
            task.await.expect("a person");
        }
    }

    async fn history(&self, cluster: &Cluster, node: usize) -> Vec<Row> {
        let server = cluster.server(node);
        let reader = server
            .target()
            .log_in(&self.reader.username, crate::common::PASSWORD)
            .await
            .expect("logged in");
        let messages = server.history(&reader, &self.ground.room).await;
        let row = |message: &serde_json::Value| Row {
            id: message["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
            token: message["message"].as_str().expect("text").to_owned(),
            deleted: message["deleted"] == true,
        };
        once_each(messages.iter().map(row).collect())
    }
}

/// A page shows one row of each attempt; of those that lie on different pages a client hides the later one, as it does
/// with what it is told live. Deleted if either is.
fn once_each(rows: Vec<Row>) -> Vec<Row> {
    let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
    let mut attempts: HashMap<u64, usize> = HashMap::new();
    for row in rows {
        match attempts.entry(row.id.attempt_hash()) {
            Entry::Occupied(first) if kept[*first.get()].token == row.token || row.deleted => {
                kept[*first.get()].deleted |= row.deleted;
            }
            Entry::Occupied(_) => kept.push(row),
            Entry::Vacant(first) => {
                first.insert(kept.len());
                kept.push(row);
            }
        }
    }
    kept
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.server.address()).collect()
}
