//! Cassandra servers of one test, which `scripts/services` starts, such as one that speaks TLS, or three that are one
//! cluster and can be killed; all other tests share the one that the environment names.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
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
    /// The name and the process of each, in the same order.
    processes: Vec<(String, u32)>,
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
            processes: Vec::new(),
        };
        while let Some(line) = servers.output.next() {
            let line = line.expect("text");
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["node", name, process] => {
                    let process = process.parse().expect("a process");
                    servers.processes.push((name.to_owned(), process));
                }
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

    /// Sends a signal to one of them, such as `STOP`, `CONT` and `KILL`.
    pub fn signal(&self, server: usize, name: &str) {
        let id = self.processes[server].1.to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status();
        assert!(sent.expect("the command kill").success());
    }

    /// Starts one of them again that was killed, on its data, and waits until it answers; blocks meanwhile.
    pub fn start_again(&mut self, server: usize) {
        let (name, process) = &mut self.processes[server];
        let input = self.input.as_mut().expect("its input");
        writeln!(input, "{name}").expect("it reads");
        let line = self.output.next().expect("scripts/services goes on").expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words[..2] == ["node", name.as_str()], "scripts/services says {line}");
        *process = words[2].parse().expect("a process");
    }
}

impl Drop for Cassandra {
    fn drop(&mut self) {
        // The end of its input is the end of the servers.
        drop(self.input.take());
        let _ = self.script.wait();
    }
}
