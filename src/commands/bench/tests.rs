//! The bench proves itself: between it and a small server of this test's own stands a proxy that drops, repeats and
//! swaps deliveries, and the bench has to report exactly those.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use fastwebsockets::{OpCode, Role, WebSocket};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Arguments, Dialect, Mode, Report, measure};
use crate::client::{FrameReader, Opcode};
use crate::listen::Listener;
use crate::metrics::Metrics;
use crate::shutdown::{Tasks, Token};

/// A room server without history, accounts or storage: just enough protocol for a load.
#[derive(Clone, Default)]
struct Rooms {
    members: Arc<Mutex<HashMap<String, Vec<Member>>>>,
    ids: Arc<AtomicU64>,
}

/// Frames that may wait for one connection: all that any of these loads sends.
const QUEUE: usize = 10_000;

#[derive(Clone)]
struct Member {
    connection: u64,
    to: mpsc::Sender<String>,
}

async fn start_server() -> SocketAddr {
    let rooms = Rooms::default();
    let register = post(|Json(body): Json<Value>| async move {
        let me = json!({ "id": "u", "username": body["username"] });
        ([("set-cookie", "natter_session=secret; HttpOnly")], Json(me))
    });
    let router = axum::Router::new()
        .route("/api/users", register)
        .route("/ws/chat/{room}/", get(upgrade))
        .with_state(rooms);
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address();
    tokio::spawn(listener.serve(router, Arc::new(Metrics::new()), Token::new(), Tasks::new("test")));
    address
}

async fn upgrade(State(rooms): State<Rooms>, Path(room): Path<String>, mut request: Request) -> Response {
    assert_eq!(request.headers()["cookie"], "natter_session=secret");
    let (response, upgraded) = fastwebsockets::upgrade::upgrade(&mut request).unwrap();
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(upgraded.await.unwrap().into_inner());
        let mut socket = WebSocket::after_handshake(tokio::io::join(read, tokio::io::sink()), Role::Server);
        let (to, mut from) = mpsc::channel::<String>(QUEUE);
        let connection = rooms.ids.fetch_add(1, Ordering::Relaxed);
        let member = Member {
            connection,
            to: to.clone(),
        };
        rooms.members.lock().entry(room.clone()).or_default().push(member);
        to.try_send(json!({ "type": "joined", "room": room }).to_string())
            .unwrap();
        to.try_send(json!({ "type": "live", "room": room }).to_string())
            .unwrap();
        tokio::spawn(async move {
            while let Some(text) = from.recv().await {
                if write
                    .write_all(&server_frame(Opcode::Text, text.as_bytes()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        while let Ok(frame) = socket.read_frame().await {
            if frame.opcode == OpCode::Text {
                say(
                    &rooms,
                    &room,
                    connection,
                    &serde_json::from_slice(&frame.payload).unwrap(),
                    &to,
                );
            }
        }
    });
    response.into_response()
}

fn say(rooms: &Rooms, room: &str, author: u64, send: &Value, ack: &mpsc::Sender<String>) {
    // Id and fan-out under one lock: this server keeps the order of its ids.
    let members = rooms.members.lock();
    let id = format!(
        "0190163d-8694-739b-aea5-{:012x}",
        rooms.ids.fetch_add(1, Ordering::Relaxed)
    );
    let message = json!({ "type": "message", "room": room, "id": id, "author_id": "a", "message": send["message"] });
    for member in &members[room] {
        if member.connection != author {
            member.to.try_send(message.to_string()).unwrap();
        }
    }
    ack.try_send(json!({ "type": "ack", "ref": send["ref"], "id": id }).to_string())
        .unwrap();
}

#[derive(Default)]
struct Faults {
    drops: AtomicU64,
    repeats: AtomicU64,
    swaps: AtomicU64,
}

/// Passes everything on, but spoils some deliveries of each connection, and counts how.
async fn start_proxy(server: SocketAddr, faults: Arc<Faults>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(pass(client, server, Arc::clone(&faults)));
        }
    });
    address
}

async fn pass(client: TcpStream, server: TcpStream, faults: Arc<Faults>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if from_server.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let end = head.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut bytes = head.split_off(end);
    let upgraded = head.starts_with(b"HTTP/1.1 101");
    to_client.write_all(&head).await.unwrap();
    let (mut reader, mut spoiler) = (
        FrameReader::default(),
        Spoiler {
            faults,
            number: 0,
            held: None,
        },
    );
    loop {
        let mut out = Vec::new();
        if upgraded {
            reader
                .feed(&bytes, |opcode, payload| spoiler.take(opcode, payload, &mut out))
                .unwrap();
        } else {
            out.append(&mut bytes);
        }
        if to_client.write_all(&out).await.is_err() {
            return;
        }
        bytes.clear();
        if from_server.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
}

struct Spoiler {
    faults: Arc<Faults>,
    number: u64,
    held: Option<Vec<u8>>,
}

impl Spoiler {
    fn take(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
        let is_delivery = opcode == Opcode::Text && payload.windows(16).any(|part| part == b"\"type\":\"message\"");
        let frame = server_frame(opcode, payload);
        if !is_delivery {
            out.extend_from_slice(&frame);
            return;
        }
        self.number += 1;
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        match self.number % 20 {
            5 => {
                count(&self.faults.drops);
            }
            11 => {
                count(&self.faults.repeats);
                out.extend_from_slice(&frame);
                out.extend_from_slice(&frame);
            }
            17 => {
                // Until the next one comes it is as good as dropped.
                count(&self.faults.drops);
                self.held = Some(frame);
            }
            _ => {
                out.extend_from_slice(&frame);
                if let Some(held) = self.held.take() {
                    self.faults.drops.fetch_sub(1, Ordering::Relaxed);
                    count(&self.faults.swaps);
                    out.extend_from_slice(&held);
                }
            }
        }
    }
}

fn server_frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let first = match opcode {
        Opcode::Text => 0x81,
        Opcode::Close => 0x88,
        Opcode::Ping => 0x89,
        Opcode::Pong => 0x8a,
    };
    let mut frame = vec![first];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..126) => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn arguments(server: SocketAddr, mode: Mode) -> Arguments {
    Arguments {
        url: format!("http://{server}"),
        senders_url: None,
        dialect: Dialect::Natter,
        users_file: None,
        mode,
        connections: 12,
        rooms: 2,
        room_prefix: "r".to_owned(),
        senders: Some(6),
        rate: 300.0,
        window: 8,
        never_read: 0,
        rehearse: 0,
        duration: 1.0,
        warmup: 0.5,
        size: 150,
        nonces: true,
        server_pid: Some(std::process::id()),
        threads: 1,
        patience: 5.0,
        json: false,
    }
}

/// Without faults of the test's own.
async fn clean(mode: Mode) -> Report {
    let server = start_server().await;
    measure(&arguments(server, mode)).await.unwrap()
}

#[tokio::test]
async fn a_steady_load_on_a_good_server_is_clean() {
    let report = clean(Mode::Steady).await;
    assert!(report.counts.is_clean(), "{report}");
    assert_eq!((report.counts.sent, report.counts.acked), (450, 450));
    assert_eq!((report.counts.expected, report.counts.delivered), (450 * 5, 450 * 5));
    // Of 300 sends a second, those of the half second of warm-up are not measured.
    assert_eq!(report.measured_deliveries, 300 * 5);
    let (delivery, acks) = (report.delivery_ms.unwrap(), report.ack_ms.unwrap());
    assert_eq!((delivery.count, acks.count), (300 * 5, 300));
    assert!(
        delivery.p50 > 0.0 && delivery.p50 <= delivery.p99 && delivery.p99 <= delivery.max,
        "{report}"
    );
    assert!(report.server.is_some() || !cfg!(target_os = "linux"));
    let text = report.to_string();
    assert!(
        text.contains("lost         0\n") && text.contains("deliveries/s"),
        "{text}"
    );
}

#[tokio::test]
async fn a_burst_is_clean_too_and_an_idle_load_sends_nothing() {
    let report = clean(Mode::Burst).await;
    assert!(report.counts.is_clean() && report.counts.sent == 450, "{report}");
    let report = clean(Mode::Idle).await;
    assert!(report.counts.is_clean() && report.counts.sent == 0, "{report}");
    assert!(report.delivery_ms.is_none());
}

#[tokio::test]
async fn a_load_that_answers_pace_is_clean_and_keeps_its_windows_full() {
    let report = clean(Mode::Saturate).await;
    assert!(report.counts.is_clean(), "{report}");
    // Six senders filled their windows of eight, and went on.
    assert!(report.counts.sent > 6 * 8, "{report}");
    assert_eq!(report.counts.expected, report.counts.sent * 5);
    assert!(report.delivery_ms.is_some() && report.ack_ms.is_some());
}

#[tokio::test]
async fn connections_that_never_read_are_not_counted() {
    let server = start_server().await;
    let mut arguments = arguments(server, Mode::Steady);
    arguments.never_read = 2;
    let report = measure(&arguments).await.unwrap();
    assert!(report.counts.is_clean(), "{report}");
    assert_eq!(report.counts.expected, 450 * 4);
}

#[tokio::test]
async fn exactly_the_faults_of_a_proxy_are_reported() {
    let server = start_server().await;
    let faults = Arc::new(Faults::default());
    let proxy = start_proxy(server, Arc::clone(&faults)).await;
    let report = measure(&arguments(proxy, Mode::Steady)).await.unwrap();
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let made = (of(&faults.drops), of(&faults.repeats), of(&faults.swaps));
    assert!(
        made.0 > 50 && made.1 > 50 && made.2 > 50,
        "the proxy made too few faults: {made:?}"
    );
    let counts = &report.counts;
    assert_eq!((counts.lost, counts.duplicates, counts.wrong_order), made, "{report}");
    assert_eq!(counts.delivered + counts.lost, counts.expected, "{report}");
    assert_eq!(
        (counts.sent, counts.acked, counts.unanswered),
        (450, 450, 0),
        "{report}"
    );
    assert!(!counts.is_clean());
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let server = start_server().await;
    let good = arguments(server, Mode::Steady);
    for (wrong, part) in [
        (
            Arguments {
                connections: 0,
                ..good.clone()
            },
            "--connections",
        ),
        (
            Arguments {
                rooms: 13,
                ..good.clone()
            },
            "--rooms",
        ),
        (
            Arguments {
                senders: Some(13),
                ..good.clone()
            },
            "--senders",
        ),
        (
            Arguments {
                rate: 0.0,
                ..good.clone()
            },
            "--rate",
        ),
        (
            Arguments {
                size: 0,
                ..good.clone()
            },
            "--size",
        ),
        (
            Arguments {
                connections: 200_000,
                rate: 1e5,
                duration: 8e4,
                rooms: 1,
                ..good.clone()
            },
            "--duration",
        ),
        (
            Arguments {
                never_read: 7,
                ..good.clone()
            },
            "--never-read",
        ),
        (
            Arguments {
                window: 0,
                mode: Mode::Saturate,
                ..good.clone()
            },
            "--window",
        ),
        (
            Arguments {
                server_pid: Some(u32::MAX),
                ..good.clone()
            },
            "--server-pid",
        ),
    ] {
        let error = measure(&wrong).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
