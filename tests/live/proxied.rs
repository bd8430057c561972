//! Whose request it is behind a proxy: throttles and the list of sessions go by what a trusted proxy wrote, and by
//! nothing that a client invents.

use std::net::SocketAddr;

use natter::limits;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{Open, Server, User, within};

const CLIENT: &[u8] = b"198.51.100.1";

/// A request as a proxy passes it on; the status and the body.
async fn ask(address: SocketAddr, head: &str, forwarded: &[u8], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut request = format!("{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n").into_bytes();
    request.extend(format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()).bytes());
    request.extend(b"X-Forwarded-For: ");
    request.extend(forwarded);
    request.extend(b"\r\n\r\n");
    request.extend(body.bytes());
    stream.write_all(&request).await.expect("sent");
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer))
        .await
        .expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), answer)
}

/// Tries to register a name that is taken, which counts and costs nothing else.
async fn register(server: &Server, user: &User, forwarded: &[u8]) -> u16 {
    let form = json!({ "username": user.username.to_uppercase(), "password": "correct horse" });
    ask(server.address(), "POST /api/users", forwarded, &form.to_string())
        .await
        .0
}

#[tokio::test]
async fn what_a_trusted_proxy_says_reaches_the_throttles() {
    let server = Server::with(&["--trusted-proxies", "127.0.0.0/8"]);
    let ann = server.user("ann").await;
    for _ in 0..limits::REGISTRATION.burst {
        assert_eq!(register(&server, &ann, CLIENT).await, 409);
    }
    assert_eq!(register(&server, &ann, CLIENT).await, 429);
    // Whatever the client put in front of it, the proxy's word counts.
    for invented in [
        &b"203.0.113.9, 198.51.100.1"[..],
        b"\xff\xfe, 198.51.100.1",
        b"\xc3( ,198.51.100.1",
    ] {
        assert_eq!(
            register(&server, &ann, invented).await,
            429,
            "{}",
            String::from_utf8_lossy(invented)
        );
    }
    assert_eq!(register(&server, &ann, b"198.51.100.2").await, 409);
    // A log-in is shown with the client's address, and a handshake is served.
    let form = json!({ "username": ann.username, "password": crate::common::PASSWORD }).to_string();
    let (status, _) = ask(server.address(), "POST /api/session", b"198.51.100.7", &form).await;
    assert_eq!(status, 200);
    let listed: Value = server.done(http::Method::GET, "/api/sessions", &ann, None).await;
    assert!(listed.to_string().contains("198.51.100.7"), "{listed}");
    let open = Open::new(server.address(), "/ws").cookie(&ann.cookie);
    open.header("X-Forwarded-For: 198.51.100.7")
        .open()
        .await
        .expect("an upgrade");
}

#[tokio::test]
async fn what_anybody_else_says_is_not_believed() {
    let server = Server::with(&["--trusted-proxies", "10.0.0.0/8"]);
    let ann = server.user("ann").await;
    // Registering ann was the first of this address.
    for n in 1..limits::REGISTRATION.burst {
        assert_eq!(register(&server, &ann, format!("198.51.100.{n}").as_bytes()).await, 409);
    }
    assert_eq!(register(&server, &ann, b"198.51.100.99").await, 429);
    let listed: Value = server.done(http::Method::GET, "/api/sessions", &ann, None).await;
    assert!(listed.to_string().contains("127.0.0.1"), "{listed}");
}
