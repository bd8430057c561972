//! People who talk in one room while something fails, and the verdict on what they were told.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::common::{User, within};
use crate::ground::{Ground, Phase, Standing};
use crate::judge::history::{Client, Connection, Event, Row, once_each};
use crate::judge::{Rules, assert_good};
use crate::parting::Parting;
use crate::person::Person;
use crate::world::Cluster;

/// How long everybody may take to have everything once all is healed. Repairs and timeouts of many seconds fit in.
const CONVERGE: Duration = Duration::from_secs(60);

/// How long until everybody is known to be here: a lease of 10 s, and looks that come every few seconds.
const PRESENCE: Duration = Duration::from_secs(20);

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
        // One for each: what one person does is seen by nobody else's session.
        Self::of(cluster, name, (size, size), 40..260, seed).await
    }

    /// Lets so many people talk, who share so many accounts, each at a pace of so many milliseconds.
    pub async fn of(
        cluster: &Cluster,
        name: &'static str,
        (size, accounts): (usize, usize),
        pace: Range<u64>,
        seed: u64,
    ) -> Self {
        Self::begin(cluster, addresses(cluster), name, (size, accounts), pace, seed).await
    }

    /// Lets so many people talk who know one address only, such as a balancer's.
    pub async fn talk_at(cluster: &Cluster, address: SocketAddr, name: &'static str, size: usize, seed: u64) -> Self {
        Self::begin(cluster, vec![address], name, (size, size), 40..260, seed).await
    }

    async fn begin(
        cluster: &Cluster,
        nodes: Vec<SocketAddr>,
        name: &'static str,
        (size, accounts): (usize, usize),
        pace: Range<u64>,
        seed: u64,
    ) -> Self {
        println!("{name}: seed {seed}");
        let room = cluster.name("hall");
        let reader = cluster.user(0, "reader").await;
        let ground = Arc::new(Ground::new(nodes, room.clone(), reader.clone(), pace, size == accounts));
        // The room is there before anybody talks, so that nobody has to wait for its making.
        drop(cluster.server(0).room(&room, &reader).await);
        let mut people = Vec::with_capacity(size);
        let mut users = Vec::with_capacity(accounts);
        for n in 0..accounts {
            users.push(cluster.user(n % cluster.nodes.len(), "person").await);
        }
        for n in 0..size {
            let user = users[n % accounts].clone();
            let number = ground.recorder.number();
            ground.names.lock().insert(user.username.clone(), number);
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

    /// How many entries were written down so far.
    pub fn entries(&self) -> usize {
        self.ground.recorder.look(|history| history.entries.len())
    }

    /// Counts entries that were written down since there were so many, and that concern connections to a node.
    fn count(&self, node: usize, since: usize, counts: impl Fn(&Event, &dyn Fn(Connection) -> bool) -> bool) -> usize {
        let node = node.to_string();
        self.ground.recorder.look(|history| {
            let there: HashSet<Connection> = history
                .events()
                .filter_map(|(_, event)| match event {
                    Event::Opened {
                        connection, node: at, ..
                    } if *at == node => Some(*connection),
                    _ => None,
                })
                .collect();
            let late = history.events().skip(since);
            late.filter(|(_, event)| counts(event, &|one| there.contains(&one)))
                .count()
        })
    }

    /// How many requests a node has acknowledged of those that were made since so many entries were written down.
    pub fn acknowledged(&self, node: usize, since: usize) -> usize {
        let asked = std::cell::RefCell::new(HashSet::new());
        self.count(node, since, |event, there| match event {
            Event::Invoked { op, connection, .. } => {
                if there(*connection) {
                    asked.borrow_mut().insert(*op);
                }
                false
            }
            Event::Acknowledged { op, .. } => asked.borrow().contains(op),
            _ => false,
        })
    }

    /// How many revocations of connections to a node were acknowledged since so many entries were written down.
    pub fn silenced(&self, node: usize, since: usize) -> usize {
        self.count(node, since, |event, there| match event {
            Event::Revoked { connections, .. } => connections.iter().any(|one| there(*one)),
            _ => false,
        })
    }

    /// The node that most people talk to now, or will once somebody is back.
    pub async fn busiest(&self) -> usize {
        within("somebody who talks", async {
            loop {
                if let Some(node) = self.busiest_now() {
                    return node;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    fn busiest_now(&self) -> Option<usize> {
        let nodes: HashMap<Connection, usize> = self.ground.recorder.look(|history| {
            let mut open = HashMap::new();
            let mut live = HashMap::new();
            for (_, event) in history.events() {
                match event {
                    Event::Opened { connection, node, .. } => {
                        open.insert(*connection, node.parse().expect("a node's number"));
                    }
                    Event::Live { connection, .. } => {
                        live.insert(*connection, open[connection]);
                    }
                    Event::Closed { connection } => {
                        live.remove(connection);
                    }
                    _ => {}
                }
            }
            live
        });
        let count = |node: &usize| nodes.values().filter(|one| *one == node).count();
        nodes.values().copied().max_by_key(count)
    }

    /// Lets people only be kicked from now on, and waits until nobody is being logged out.
    pub async fn no_log_outs(&self) {
        self.ground.allow_log_outs(false);
        within("the end of the last log-out", async {
            while !self.all(|standing| standing.parting != Some(Parting::LogOut)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
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

    /// Sends nobody to a node any more, as a balancer does that has seen it turn unready.
    pub fn avoid(&self, cluster: &Cluster, node: usize) {
        let address = cluster.server(node).address();
        self.ground.nodes.lock().retain(|other| *other != address);
    }

    /// Whether everybody is connected and has caught up.
    pub fn is_here(&self) -> bool {
        self.all(|standing| standing.live)
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
        for node in 0..cluster.nodes.len() {
            self.look_around(cluster, node).await;
        }
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
        let count = |is: fn(&Event) -> bool| history.events().filter(|(_, event)| is(event)).count();
        let acknowledged = count(|event| matches!(event, Event::Acknowledged { .. }));
        let resumed = count(|event| matches!(event, Event::Joining { since: Some(_), .. }));
        let revoked = count(|event| matches!(event, Event::Revoked { .. }));
        let marked = count(|event| matches!(event, Event::Marked { .. }));
        println!(
            "{}: {} entries, {acknowledged} requests acknowledged, {resumed} resumes, {revoked} revocations, {marked} \
             read markers",
            self.name,
            history.entries.len()
        );
        // Else most of the rules have nothing to judge.
        assert!(
            acknowledged > 50 && resumed > 0 && marked > 0 && (revoked > 0 || !self.ground.parts),
            "hardly anything happened"
        );
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

    /// Writes down who a node says is here: everybody, or what it still says after a while.
    async fn look_around(&self, cluster: &Cluster, node: usize) {
        if !self.ground.parts {
            // People who share accounts can't be told apart by name.
            return;
        }
        let names = self.ground.names.lock().clone();
        let mut everybody: Vec<Client> = names.values().copied().collect();
        everybody.sort_unstable();
        let server = cluster.server(node);
        let reader = server.log_in(&self.reader).await;
        let path = format!("/api/rooms/{}/members?limit=200", self.ground.room);
        let begun = Instant::now();
        let here = loop {
            let told = server.done(Method::GET, &path, &reader, None).await;
            let here = told["members"].as_array().expect("members").iter();
            let here = here.filter(|member| member["present"] == true);
            // Tests let others in for a moment.
            let mut here: Vec<Client> = here
                .filter_map(|member| names.get(member["username"].as_str().expect("a name")).copied())
                .collect();
            here.sort_unstable();
            if here == everybody || begun.elapsed() > PRESENCE {
                break here;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let room = self.ground.room.clone();
        self.ground.recorder.record(Event::Present {
            node: node.to_string(),
            room,
            clients: here,
        });
    }

    async fn history(&self, cluster: &Cluster, node: usize) -> Vec<Row> {
        let server = cluster.server(node);
        let reader = server.log_in(&self.reader).await;
        let messages = server.history(&reader, &self.ground.room).await;
        let row = |message: &serde_json::Value| Row {
            id: message["id"].as_str().and_then(|id| id.parse().ok()).expect("an id"),
            token: message["message"].as_str().expect("text").to_owned(),
            deleted: message["deleted"] == true,
        };
        once_each(messages.iter().map(row).collect())
    }
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.server.address()).collect()
}
