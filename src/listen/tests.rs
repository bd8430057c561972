//! The accept loop against real sockets on the loopback.

use std::time::Duration;

use axum::Extension;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::*;

struct Server {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    token: Token,
    tasks: Tasks,
    served: tokio::task::JoinHandle<()>,
}

fn start(router: Router) -> Server {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (metrics, token, tasks) = (Arc::new(Metrics::new()), Token::new(), Tasks::new("test"));
    Server {
        address: listener.address(),
        metrics: Arc::clone(&metrics),
        token: token.clone(),
        tasks: tasks.clone(),
        served: tokio::spawn(listener.serve(router, metrics, token, tasks)),
    }
}

async fn ask(address: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn requests_carry_their_peer() {
    let router = Router::new().route(
        "/",
        get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
    );
    let server = start(router);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let own = stream.local_addr().unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&own.to_string()), "{answer}");
    assert_eq!(server.metrics.sockets_accepted.get(), 1);
}

#[tokio::test]
async fn a_place_counts_until_its_last_clone_is_gone() {
    let kept = Arc::new(parking_lot::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let router = Router::new().route(
        "/",
        get(move |Extension(place): Extension<Place>| async move {
            *keep.lock() = Some(place);
            "kept"
        }),
    );
    let server = start(router);
    ask(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    server.tasks.idle().await;
    assert_eq!(server.metrics.sockets_open.get(), 1);
    drop(kept.lock().take());
    assert_eq!(server.metrics.sockets_open.get(), 0);
}

#[tokio::test]
async fn closing_finishes_what_is_under_way_and_frees_the_address() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun2, go_on2) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = get(move || async move {
        begun2.notify_one();
        go_on2.notified().await;
        "finished"
    });
    let server = start(Router::new().route("/", slow));
    let request = tokio::spawn(ask(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    begun.notified().await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    server.token.advance(Phase::Closing);
    server.served.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    go_on.notify_one();
    let answer = request.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("finished"),
        "{answer}"
    );
    server.tasks.idle().await;
    drop(idle);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = start(Router::new().route("/", get(|| async { "" })));
    let head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n",
        "x".repeat(limits::HEAD_BYTES_MAX)
    );
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may answer and close before it has read all of it.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(
        String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 431"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Listener::bind(first.address()).unwrap_err().to_string();
    assert!(
        error.contains(&first.address().to_string()) && error.contains("listen"),
        "{error}"
    );
}

#[test]
fn the_file_limit_is_raised_to_the_hard_one() {
    let limit = raise_file_limit().unwrap();
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    assert_eq!((soft, hard), (limit, limit));
    assert!((1..=limits::CONNECTIONS_MAX).contains(&connections_max()));
}

#[tokio::test]
async fn a_silent_connection_ends_by_itself() {
    let server = start(Router::new());
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTT").await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(
        limits::HEAD_TIMEOUT + Duration::from_secs(60),
        stream.read_to_end(&mut answer),
    );
    read.await.expect("the head's time limit was not kept").unwrap();
}

#[tokio::test]
async fn requests_are_counted_by_their_route_and_never_by_what_clients_invent() {
    let metrics = Arc::new(Metrics::new());
    let router = Router::new().route("/rooms/{room}", get(|| async { "" }));
    let server = start(measured(router, Arc::clone(&metrics)));
    for path in ["/rooms/a", "/rooms/b", "/invented/1", "/invented/2"] {
        ask(
            server.address,
            &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        )
        .await;
    }
    let text = metrics.text().unwrap();
    assert!(
        text.contains("natter_http_requests_total{route=\"/rooms/{room}\",status=\"200\"} 2\n"),
        "{text}"
    );
    assert!(
        text.contains("natter_http_requests_total{route=\"unmatched\",status=\"404\"} 2\n"),
        "{text}"
    );
    assert!(!text.contains("invented"), "{text}");
}

#[tokio::test]
async fn log_ins_and_refused_handshakes_are_counted_by_outcome() {
    let metrics = Arc::new(Metrics::new());
    let router = Router::new()
        .route("/api/session", post(|| async { http::StatusCode::UNAUTHORIZED }))
        .route("/api/users", post(|| async { http::StatusCode::CREATED }))
        .route("/ws", get(|| async { http::StatusCode::TOO_MANY_REQUESTS }));
    let server = start(measured(router, Arc::clone(&metrics)));
    for head in ["POST /api/session", "POST /api/users", "GET /ws"] {
        let rest = "HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        ask(server.address, &format!("{head} {rest}")).await;
    }
    assert_eq!(metrics.logins.of("bad_credentials").get(), 1);
    assert_eq!(metrics.registrations.get(), 1);
    assert_eq!(metrics.handshakes_refused.of("429").get(), 1);
}
