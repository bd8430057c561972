//! Hands spans to a collector, as OTLP over HTTP in its JSON form, in batches. Nothing is tried twice: what a collector
//! does not take at once is dropped and counted.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::traces::{Counts, Finished, Kind, turn_on};
use crate::config::OtlpEndpoint;
use crate::limits;

/// The task that exports.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Exporter {
    /// Turns tracing on, and exports on the present runtime. Of a million spans, `ratio` are recorded. `None` if this
    /// process traces already.
    #[must_use]
    pub fn start(endpoint: &OtlpEndpoint, ratio: u32, instance: &str) -> Option<Self> {
        let (waiting, counts) = turn_on(ratio)?;
        let (stop, stopped) = oneshot::channel();
        let collector = Collector {
            endpoint: endpoint.clone(),
            resource: resource(instance),
        };
        let task = tokio::spawn(run(collector, waiting, counts, stopped));
        Some(Self { stop, task })
    }

    /// Hands over what waits, within the time that one batch may take.
    pub async fn finish(self) {
        let _ = self.stop.send(());
        let _ = timeout(limits::TRACES_PATIENCE, self.task).await;
    }
}

struct Collector {
    endpoint: OtlpEndpoint,
    resource: Value,
}

async fn run(
    collector: Collector,
    mut waiting: mpsc::Receiver<Finished>,
    counts: &'static Counts,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut away = false;
    let mut over = false;
    while !over {
        tokio::select! {
            () = tokio::time::sleep(limits::TRACES_INTERVAL) => {}
            _ = &mut stopped => over = true,
        }
        let mut batch = Vec::new();
        // A pass takes what waits now; what comes meanwhile is for the next.
        for _ in 0..waiting.len() {
            let Ok(span) = waiting.try_recv() else { break };
            batch.push(span);
        }
        for some in batch.chunks(limits::TRACES_BATCH_MAX) {
            let handed = timeout(limits::TRACES_PATIENCE, collector.hand_over(some)).await;
            let result = handed.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            let count = match &result {
                Ok(()) => &counts.exported,
                Err(_) => &counts.dropped,
            };
            count.fetch_add(some.len() as u64, Ordering::Relaxed);
            // Said once for each time that it goes away.
            match &result {
                Ok(()) if std::mem::take(&mut away) => tracing::info!("the collector of traces takes them again"),
                Err(error) if !std::mem::replace(&mut away, true) => {
                    tracing::warn!(error, collector = %collector.endpoint, "traces are dropped: the collector does not take them");
                }
                _ => {}
            }
        }
    }
}

impl Collector {
    async fn hand_over(&self, spans: &[Finished]) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let OtlpEndpoint { host, port } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| said(&e))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| said(&e))?;
        let request = Request::post("/v1/traces")
            .header(header::HOST, self.endpoint.to_string())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(self.body(spans).to_string())))
            .map_err(|e| said(&e))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|e| said(&e))?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("it answers {status}")),
            }
        };
        tokio::pin!(answer, connection);
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            // A collector may close the connection right behind its answer, which has come then.
            _ = &mut connection => answer.await,
        }
    }

    fn body(&self, spans: &[Finished]) -> Value {
        let spans: Vec<Value> = spans.iter().map(span).collect();
        json!({ "resourceSpans": [{
            "resource": self.resource,
            "scopeSpans": [{ "scope": { "name": "natter" }, "spans": spans }],
        }] })
    }
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn resource(instance: &str) -> Value {
    json!({ "attributes": [
        text("service.name", "natter"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", instance),
    ] })
}

fn span(span: &Finished) -> Value {
    let mut told = json!({
        "traceId": format!("{:032x}", span.context.trace),
        "spanId": format!("{:016x}", span.context.span),
        "name": span.name,
        "kind": match span.kind { Kind::Server => 2, Kind::Client => 3 },
        "startTimeUnixNano": span.begun.to_string(),
        "endTimeUnixNano": span.ended.to_string(),
    });
    if let Some(parent) = span.parent {
        told["parentSpanId"] = json!(format!("{parent:016x}"));
    }
    if let Some(code) = &span.code {
        told["attributes"] = json!([text("natter.outcome", code)]);
    }
    if span.failed {
        told["status"] = json!({ "code": 2 });
    }
    told
}
