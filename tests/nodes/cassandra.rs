//! Cassandra servers of one test, which `scripts/services` starts, such as one that speaks TLS; all other tests share the
//! one that the environment names.

use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::servers::{Environment, skip};

/// Servers that end when this is dropped.
pub struct Cassandra {
    script: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    /// Where clients connect to each.
    pub addresses: Vec<SocketAddr>,
}

impl Cassandra {
    /// Starts a set of servers by its name; `None` where the machine lacks what tests need, which is said.
    pub async fn start(set: &str, tls: Option<&Path>) -> Option<Self> {
        Environment::get()?;
        let (set, tls) = (set.to_owned(), tls.map(PathBuf::from));
        tokio::task::spawn_blocking(move || Self::run(&set, tls.as_deref()))
            .await
            .expect("a task")
    }

    fn run(set: &str, tls: Option<&Path>) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args([concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"), "run", set]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(folder) = tls {
            command.env("NATTER_TEST_TLS", folder);
        }
        let mut script = command.spawn().expect("python3");
        let mut servers = Self {
            input: script.stdin.take(),
            output: BufReader::new(script.stdout.take().expect("its output")).lines(),
            script,
            addresses: Vec::new(),
        };
        while let Some(line) = servers.output.next() {
            let line = line.expect("text");
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                // Its name and process, for tests that let it fail.
                ["node", ..] => {}
                ["ready", addresses] => {
                    let addresses = addresses.split(',').map(|address| address.parse().expect("an address"));
                    servers.addresses = addresses.collect();
                    return Some(servers);
                }
                ["missing", ..] => {
                    skip(&line);
                    return None;
                }
                _ => panic!("scripts/services says {line}"),
            }
        }
        panic!("`scripts/services run {set}` starts nothing; its output says why");
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        // The end of its input is the end of the servers.
        drop(self.input.take());
        let _ = self.script.wait();
    }
}
