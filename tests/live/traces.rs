//! Traces: a collector of our own takes what a server records, and one that is away harms nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Open, Server, within};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector of OTLP over HTTP in its JSON form.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken = take(stream).await;
                kept.lock().extend(taken);
            }
        });
        Self { address, spans }
    }

    /// Waits for a span that is so.
    async fn span(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                if let Some(found) = self.spans.lock().iter().find(|span| is(span)) {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

/// Takes one request and answers it; its spans.
async fn take(stream: TcpStream) -> Vec<Value> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    let mut first = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a line");
        if line.trim().is_empty() {
            break;
        }
        if first.is_empty() {
            first = line.trim().to_owned();
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().expect("a length");
        }
    }
    assert_eq!(first, "POST /v1/traces HTTP/1.1");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the body");
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    stream.write_all(answer.as_bytes()).await.expect("answered");
    let told: Value = serde_json::from_slice(&body).expect("JSON");
    let resource = &told["resourceSpans"][0];
    let named = json!({ "key": "service.name", "value": { "stringValue": "natter" } });
    assert!(
        resource["resource"]["attributes"]
            .as_array()
            .expect("attributes")
            .contains(&named)
    );
    resource["scopeSpans"][0]["spans"].as_array().expect("spans").clone()
}

fn nanos(span: &Value, key: &str) -> u128 {
    span[key].as_str().expect("a number as text").parse().expect("a number")
}

#[tokio::test]
async fn requests_handshakes_sends_and_the_store_are_traced_under_whoever_asked() {
    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address);
    let server = Server::with(&["--limits", "off", "--otlp-endpoint", &endpoint, "--trace-ratio", "1"]);
    let ann = server.user("ann").await;
    let parent = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    let open = Open::new(server.address(), "/ws/chat/hall/").cookie(&ann.cookie);
    let mut socket = open.header(&parent).open().await.expect("an upgrade");
    socket.until("live").await;
    socket.say("secret words").await;

    let handshake = collector
        .span("the handshake", |span| span["parentSpanId"] == PARENT)
        .await;
    assert_eq!(handshake["name"], "GET /ws/chat/{room}/");
    assert_eq!((&handshake["traceId"], &handshake["kind"]), (&json!(TRACE), &json!(2)));
    let outcome = json!([{ "key": "natter.outcome", "value": { "stringValue": "101" } }]);
    assert_eq!(handshake["attributes"], outcome);
    assert!(nanos(&handshake, "endTimeUnixNano") >= nanos(&handshake, "startTimeUnixNano"));
    let of_handshake = |span: &Value| span["parentSpanId"] == handshake["spanId"];
    let read = collector.span("a read of the handshake", of_handshake).await;
    assert_eq!((&read["traceId"], &read["kind"]), (&json!(TRACE), &json!(3)));

    let send = collector.span("the send", |span| span["name"] == "send").await;
    assert!(send["parentSpanId"].is_null() && send["traceId"] != TRACE);
    let write = collector
        .span("its write", |span| span["parentSpanId"] == send["spanId"])
        .await;
    assert_eq!(
        (&write["name"], &write["traceId"]),
        (&json!("sqlite write"), &send["traceId"])
    );
    collector
        .span("a request", |span| span["name"] == "POST /api/users")
        .await;
    within("its count", async {
        while server.metric("natter_traces_exported_total").await < 5.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let all = format!("{:?}", collector.spans.lock());
    for private in ["secret words", &ann.username, "hall", &ann.cookie] {
        assert!(!all.contains(private), "{private} is in a trace");
    }
}

#[tokio::test]
async fn who_asks_decides_and_a_ratio_of_nothing_traces_nothing_else() {
    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address);
    let server = Server::with(&["--limits", "off", "--otlp-endpoint", &endpoint, "--trace-ratio", "0"]);
    let ann = server.user("ann").await;
    let asked = async |flags: &str| {
        let parent = format!("traceparent: 00-{TRACE}-{PARENT}-{flags}");
        let open = Open::plain(server.address(), "/ws").cookie(&ann.cookie).header(&parent);
        assert!(matches!(open.open().await, Err((426, _))));
    };
    asked("00").await;
    asked("01").await;
    asked("01").await;
    let both = |spans: &[Value]| spans.iter().filter(|span| span["parentSpanId"] == PARENT).count() == 2;
    within("both requests", async {
        while !both(&collector.spans.lock()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(collector.spans.lock().iter().all(|span| span["traceId"] == TRACE));
}

#[tokio::test]
async fn a_collector_that_is_away_harms_nothing_and_what_it_lacks_is_counted() {
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", gone.local_addr().expect("its address"));
    drop(gone);
    let mut server = Server::with(&["--limits", "off", "--otlp-endpoint", &endpoint, "--trace-ratio", "1"]);
    let ann = server.user("ann").await;
    let mut socket = server.room("hall", &ann).await;
    for n in 0..20 {
        socket.say(&n.to_string()).await;
    }
    within("the drops", async {
        while server.metric("natter_traces_dropped_total").await < 20.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(server.ready().await);
    assert!(server.metric("natter_traces_exported_total").await == 0.0);
    server.terminate();
    assert_eq!(server.ended().await.code(), Some(0));
}
