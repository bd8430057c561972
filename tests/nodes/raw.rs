//! Requests as they stand on the wire, for tests that look at heads or come from other addresses.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::common::within;

/// Sends a request with these header lines from an address of this machine; the whole answer as text.
pub async fn exchange(to: SocketAddr, from: Option<IpAddr>, asked: &str, headers: &[&str], body: &str) -> String {
    let socket = TcpSocket::new_v4().expect("a socket");
    if let Some(from) = from {
        socket
            .bind(SocketAddr::new(from, 0))
            .expect("an address of the loopback");
    }
    let mut stream = socket.connect(to).await.expect("a connection");
    let length = format!("Content-Length: {}", body.len());
    let host = format!("Host: {to}");
    let fixed = [&*host, "Connection: close", "Content-Type: application/json", &*length];
    let lines: Vec<&str> = fixed.iter().chain(headers).copied().collect();
    let request = format!("{asked} HTTP/1.1\r\n{}\r\n\r\n{body}", lines.join("\r\n"));
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .expect("text");
    answer
}
