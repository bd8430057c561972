//! What happens when the process has no files left: accepting pauses, nothing spins or ends, and it goes on by itself.
//! Alone in its binary, because it lowers a limit of the whole process.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use natter::listen::Listener;
use natter::metrics::Metrics;
use natter::shutdown::{Tasks, Token};
use socket2::{Domain, Socket, Type};

/// Enough for the runtime and more than the accept loop keeps for other uses.
const FILES: u64 = 400;
const CLIENTS: usize = 8;

#[test]
fn accepting_goes_on_once_files_are_free_again() {
    let (_, hard) = rlimit::Resource::NOFILE.get().unwrap();
    rlimit::Resource::NOFILE.set(FILES.min(hard), hard).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let metrics = Arc::new(Metrics::new());
    let address = runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.address();
        let router = Router::new().route("/", get(|| async { "served" }));
        let tasks = Tasks::new("test");
        tokio::spawn(listener.serve(router, Arc::clone(&metrics), Token::new(), tasks));
        address
    });
    // The clients have their files already when the last ones go; the server's ends of the connections need more.
    let sockets = (0..CLIENTS).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
    let sockets: Vec<Socket> = sockets.collect();
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    let connect = |socket: Socket| {
        socket.connect(&address.into()).unwrap();
        TcpStream::from(socket)
    };
    let clients: Vec<TcpStream> = sockets.into_iter().map(connect).collect();
    while metrics.accept_errors.get() < 3 {
        std::thread::yield_now();
    }
    drop(held);
    for mut client in clients {
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("served"), "{answer}");
    }
    assert_eq!(metrics.sockets_accepted.get(), CLIENTS as u64);
}
