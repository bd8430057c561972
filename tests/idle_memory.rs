//! What an idle connection costs in memory, counted by the allocator of a whole server that runs in this process: the
//! clients beside it are bare sockets, which allocate nothing.
//!
//! A process's resident memory is more: the kernel gives whole pages, and an allocator keeps some of what was freed.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use natter::app;
use natter::commands::seed;
use natter::config::{Config, Flags};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Connections before the first count: what the server makes once is made by then.
const FIRST: usize = 100;
/// Connections that are counted.
const COUNTED: usize = 800;
/// What one of them may hold, with its user in the caches and its place in the room, in bytes. Tables double, so the
/// figure depends on how full they happen to be; this is the state after so many connections.
const BYTES_MAX: usize = 850;
/// How long the server may take until what a handshake needed is given back.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are allocated now, by everything in this process.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn config(data: &std::path::Path, listen: SocketAddr) -> Config {
    let flags = Flags {
        file: None,
        values: vec![
            ("data-dir", data.display().to_string()),
            ("listen", listen.to_string()),
            ("admin-listen", "127.0.0.1:0".to_owned()),
            ("limits", "off".to_owned()),
        ],
    };
    Config::load(&flags, []).expect("a good configuration")
}

/// Opens a socket in a room and reads until the room is live; answers the bare socket.
fn open(server: SocketAddr, cookie: &str) -> TcpStream {
    let mut stream = connect(server);
    let head = format!(
        "GET /ws/chat/bench-r0/ HTTP/1.1\r\nHost: natter\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {cookie}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a server that reads");
    let (mut buffer, mut length) = ([0; 16 * 1024], 0);
    while !buffer[..length].windows(13).any(|part| part == br#""type":"live""#) {
        let count = stream.read(&mut buffer[length..]).expect("an answer");
        assert!(count > 0, "{}", String::from_utf8_lossy(&buffer[..length]));
        length += count;
    }
    stream
}

fn connect(server: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(server) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "the server does not listen: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_idle_connection_holds_little() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let data = folder.path().join("data");
    let users = folder.path().join("users.jsonl");
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = free.local_addr().expect("its address");
    drop(free);
    let config = config(&data, server);
    let seeding = seed::Arguments {
        users: u32::try_from(FIRST + COUNTED).expect("a small number"),
        rooms: 1,
        members: None,
        messages: 0,
        size: 1,
        prefix: "bench".to_owned(),
        seed: 1,
        out: users.clone(),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(seed::run(&config, &seeding)).expect("seeded users");
    runtime.spawn(async move { app::serve(&config).await });
    let cookies: Vec<String> = seed::read_users(&users, FIRST + COUNTED)
        .expect("the users")
        .into_iter()
        .map(|user| user.cookie)
        .collect();
    let mut sockets = Vec::with_capacity(FIRST + COUNTED);
    sockets.extend(cookies[..FIRST].iter().map(|cookie| open(server, cookie)));
    let before = held();
    sockets.extend(cookies[FIRST..].iter().map(|cookie| open(server, cookie)));
    // What the last handshakes needed is given back when their tasks have ended.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let each = held().saturating_sub(before) / COUNTED;
        if each <= BYTES_MAX {
            println!("{each} bytes per idle connection");
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{each} bytes per idle connection, more than {BYTES_MAX}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
