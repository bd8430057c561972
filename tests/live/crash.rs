//! Killed at any moment: what was acknowledged is there afterwards, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use natter::client::{Opcode, mask_frame};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Server, Sock, within};

/// Acknowledgements after which the server is killed, one round each: at the first, early, and in the thick of it.
const MOMENTS: [usize; 5] = [1, 17, 120, 333, 801];
const SENDERS: usize = 4;

/// Sends until the socket ends; gives the acknowledged nonces and their ids.
async fn send_on(socket: Sock, name: String, acks: Arc<AtomicUsize>) -> Vec<(String, String)> {
    let (mut hearing, mut write) = socket.split();
    let says = async {
        for n in 0.. {
            let nonce = format!("{name}-{n}");
            let frame = json!({ "message": nonce, "nonce": nonce }).to_string();
            if write
                .write_all(&mask_frame(Opcode::Text, frame.as_bytes(), [1, 2, 3, 4]))
                .await
                .is_err()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let hears = async {
        let mut acknowledged = Vec::new();
        while let Some(frame) = hearing.next().await {
            if frame["type"] == "ack" {
                let text = |key: &str| frame[key].as_str().expect("text").to_owned();
                acknowledged.push((text("nonce"), text("id")));
                acks.fetch_add(1, Ordering::SeqCst);
            }
        }
        acknowledged
    };
    tokio::join!(says, hears).1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_once() {
    let mut server = Server::start();
    let mut users = Vec::new();
    for n in 0..SENDERS {
        users.push(server.user(&format!("user{n}-")).await);
    }
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        let acks = Arc::new(AtomicUsize::new(0));
        let mut senders = Vec::new();
        for (n, user) in users.iter().enumerate() {
            let socket = server.room("hall", user).await;
            senders.push(tokio::spawn(send_on(
                socket,
                format!("r{round}-s{n}"),
                Arc::clone(&acks),
            )));
        }
        within("acknowledgements", async {
            while acks.load(Ordering::SeqCst) < moment {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        })
        .await;
        server.kill();
        for sender in senders {
            acknowledged.extend(sender.await.expect("a sender"));
        }
        server.start_again();
        let history = server.history(&users[0], "hall").await;
        let mut rows: HashMap<&str, Vec<&str>> = HashMap::new();
        for message in &history {
            let text = message["message"].as_str().expect("text");
            rows.entry(text)
                .or_default()
                .push(message["id"].as_str().expect("an id"));
        }
        assert!(rows.values().all(|ids| ids.len() == 1), "a message is there twice");
        for (nonce, id) in &acknowledged {
            assert_eq!(
                rows.get(nonce.as_str()),
                Some(&vec![id.as_str()]),
                "round {round}: {nonce}"
            );
        }
        assert!(acknowledged.len() >= moment);
    }
}
