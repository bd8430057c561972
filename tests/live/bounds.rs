//! What happens at the bounds: of rooms on one connection, of a store's patience, of what a slow reader is told.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Got, Open, Server, within};

/// Rooms that one connection may read.
const ROOMS: usize = 500;

#[tokio::test]
async fn one_room_too_many_is_refused_and_the_others_go_on() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let mut socket = server.socket("/ws", &ann).await;
    for n in 0..ROOMS {
        let joined = socket.ask(json!({ "type": "join", "room": format!("room-{n}") })).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        socket.until("live").await;
    }
    let refused = socket.ask(json!({ "type": "join", "room": "one-more" })).await;
    assert_eq!(refused["code"], "room_limit", "{refused}");
    let ack = socket
        .ask(json!({ "type": "send", "room": "room-499", "message": "still here" }))
        .await;
    assert_eq!(ack["type"], "ack", "{ack}");
    // A place that becomes free can be taken.
    let left = socket.ask(json!({ "type": "unsubscribe", "room": "room-0" })).await;
    assert_eq!(left["type"], "left", "{left}");
    let joined = socket.ask(json!({ "type": "join", "room": "one-more" })).await;
    assert_eq!(joined["type"], "joined", "{joined}");
}

/// Lets each sync of a process wait; ends with the value.
struct SlowDisk(Child);

impl SlowDisk {
    /// `None`, loudly, where that is not possible.
    async fn of(process: u32, delay: Duration) -> Option<Self> {
        let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            println!("SKIP live-slow-disk: strace is missing, or may not trace here");
            return None;
        }
        let delay = delay.as_micros();
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"])
            .args(["-e", &format!("inject=fsync,fdatasync:delay_enter={delay}")])
            .args(["-p", &process.to_string()])
            .stdin(Stdio::null())
            .spawn()
            .expect("strace");
        let slow = Self(strace);
        within("strace to take hold", async {
            // Each thread of a traced process names its tracer.
            loop {
                let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
                let traced = |task: std::io::Result<std::fs::DirEntry>| {
                    let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
                    Some(tracer.trim() != "0")
                };
                if tasks.filter_map(traced).all(|traced| traced) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Some(slow)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // strace lets go of what it traces when it is asked to end.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_send_that_is_not_decided_in_time_is_unknown_and_its_retry_is_the_same_message() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut reader = server.room("hall", &bob).await;
    let mut sender = server.room("hall", &ann).await;
    sender.say("before").await;
    reader.hears("before").await;
    let Some(disk) = SlowDisk::of(server.id(), Duration::from_secs(8)).await else {
        return;
    };
    let frame = json!({ "type": "send", "room": "hall", "message": "slow", "nonce": "n-1" });
    let first = sender.ask(frame.clone()).await;
    assert_eq!(
        (&first["type"], &first["code"], &first["nonce"]),
        (&json!("error"), &json!("unknown_outcome"), &json!("n-1")),
        "{first}"
    );
    assert!(first["retry_after"].as_f64().is_some_and(|seconds| seconds > 0.0));
    drop(disk);
    let mut frame = frame;
    frame["retry"] = json!(true);
    let ack = loop {
        // The first attempt may still be under way for a while.
        let answer = sender.ask(frame.clone()).await;
        if answer["code"] != "unknown_outcome" {
            break answer;
        }
    };
    assert_eq!(ack["type"], "ack", "{ack}");
    sender.say("after").await;
    assert_eq!(reader.hears("slow").await["id"], ack["id"]);
    reader.hears("after").await;
    let history = server.history(&bob, "hall").await;
    let texts: Vec<&Value> = history.iter().map(|message| &message["message"]).collect();
    assert_eq!(texts, ["before", "slow", "after"]);
}

#[tokio::test]
async fn typing_never_takes_the_place_of_a_message() {
    const MESSAGES: usize = 300;
    let server = Server::start();
    let (ann, bob, cid) = (
        server.user("ann").await,
        server.user("bob").await,
        server.user("cid").await,
    );
    let open = Open::new(server.address(), "/ws/chat/hall/").cookie(&bob.cookie);
    let mut slow = open.receive_buffer(4_096).open().await.expect("an upgrade");
    slow.until("live").await;
    let mut sender = server.room("hall", &ann).await;
    let mut typist = server.room("hall", &cid).await;
    let body = "x".repeat(3_500);
    for n in 0..MESSAGES {
        let ack = sender.ask(json!({ "message": format!("{n} {body}") })).await;
        assert_eq!(ack["type"], "ack", "{ack}");
        if n % 10 == 0 {
            typist.send(json!({ "type": "typing" })).await;
        }
    }
    sender.ask(json!({ "message": "the end" })).await;
    let mut numbers = Vec::new();
    let mut typing = 0;
    loop {
        match slow.next().await {
            Got::Frame(frame, _) if frame["type"] == "message" => {
                let text = frame["message"].as_str().expect("a text");
                if text == "the end" {
                    break;
                }
                numbers.push(
                    text.split(' ')
                        .next()
                        .and_then(|n| n.parse::<usize>().ok())
                        .expect("a number"),
                );
            }
            Got::Frame(frame, _) if frame["type"] == "typing" => typing += 1,
            Got::Frame(..) => {}
            other => panic!("{other:?} came"),
        }
    }
    assert_eq!(numbers, (0..MESSAGES).collect::<Vec<_>>(), "every message, in order");
    // What was typed while messages waited was dropped, not queued.
    assert!(typing <= 2, "{typing} typing frames came to a reader that was behind");
}
