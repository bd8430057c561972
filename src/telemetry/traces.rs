//! Traces of what happens at the edges: requests, handshakes, sends, statements of the store. Off unless a collector is
//! named; then a part of them is recorded, chosen at the edge, and handed to a bounded queue that a task of its own
//! empties ([`super::export`]). What does not fit is dropped and counted: a collector that is slow or away costs nobody
//! anything. While it is off, asking for a span is one load.
//!
//! Spans name routes, statements and outcomes, never people, rooms or texts.

use std::borrow::Cow;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use tokio::sync::mpsc;

use crate::limits;

/// The header of the W3C's trace context.
const PARENT: &str = "traceparent";

static TRACER: OnceLock<Tracer> = OnceLock::new();

tokio::task_local! {
    /// The span under which this task works.
    static CURRENT: Context;
}

/// Where spans go.
struct Tracer {
    /// Of a million, so many are recorded.
    ratio: u32,
    queue: mpsc::Sender<Finished>,
    counts: Counts,
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    /// Spans that the collector has taken.
    pub exported: AtomicU64,
    /// Spans that were dropped.
    pub dropped: AtomicU64,
}

/// A span that is recorded, as its children know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: u128,
    /// The span.
    pub span: u64,
}

/// What the collector is told of a span's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers somebody.
    Server,
    /// It asks another server.
    Client,
}

/// What the collector is told of one span.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Which.
    pub context: Context,
    /// Under which.
    pub parent: Option<u64>,
    /// What it is.
    pub name: Cow<'static, str>,
    /// Its role.
    pub kind: Kind,
    /// When it began, in nanoseconds since 1970.
    pub begun: u128,
    /// When it ended.
    pub ended: u128,
    /// The HTTP status or the code of an error, where there is one.
    pub code: Option<Cow<'static, str>>,
    /// Whether it failed.
    pub failed: bool,
}

/// A span that has begun. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    started: Instant,
    /// What will be told; `None` once it was.
    told: Option<Finished>,
}

/// Turns tracing on, for the rest of the process: of a million, `ratio` are recorded. The other end is for the task that
/// exports; `None` if it is on already.
pub(super) fn turn_on(ratio: u32) -> Option<(mpsc::Receiver<Finished>, &'static Counts)> {
    let (queue, waiting) = mpsc::channel(limits::TRACES_QUEUE_MAX);
    let tracer = Tracer {
        ratio,
        queue,
        counts: Counts::default(),
    };
    TRACER.set(tracer).ok()?;
    Some((waiting, &TRACER.get()?.counts))
}

/// What became of spans; `None` while tracing is off.
#[must_use]
pub fn counts() -> Option<&'static Counts> {
    TRACER.get().map(|tracer| &tracer.counts)
}

/// Reads `traceparent`: the span above, and whether it is recorded. What is malformed counts as absent.
fn parent(headers: &HeaderMap) -> Option<(Context, bool)> {
    let text = headers.get(PARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len()) == (2, 32, 16, 2);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let lower = [version, trace, span, flags].into_iter().all(digits);
    if !lengths || !lower || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let context = Context {
        trace: u128::from_str_radix(trace, 16).ok()?,
        span: u64::from_str_radix(span, 16).ok()?,
    };
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
    (context.trace != 0 && context.span != 0).then_some((context, sampled))
}

/// The span of a request, under the one that its headers name. Whoever began a trace has decided whether it is recorded.
#[must_use]
pub fn request(headers: &HeaderMap, name: impl FnOnce() -> String) -> Option<Span> {
    let tracer = TRACER.get()?;
    let parent = parent(headers);
    let recorded = parent.map_or_else(|| tracer.chooses(), |(_, sampled)| sampled);
    recorded.then(|| Span::begin(name().into(), Kind::Server, parent.map(|(context, _)| context)))
}

/// A span that begins a trace, if this one is chosen.
#[must_use]
pub fn root(name: &'static str) -> Option<Box<Span>> {
    let tracer = TRACER.get()?;
    tracer
        .chooses()
        .then(|| Box::new(Span::begin(name.into(), Kind::Server, None)))
}

/// A span under the one that this task works for, if that is recorded.
#[must_use]
pub fn child(name: &'static str) -> Option<Span> {
    TRACER.get()?;
    let parent = CURRENT.try_with(|context| *context).ok()?;
    Some(Span::begin(name.into(), Kind::Client, Some(parent)))
}

/// Works for a span, if there is one.
pub async fn under<T>(context: Option<Context>, work: impl Future<Output = T>) -> T {
    match context {
        Some(context) => CURRENT.scope(context, work).await,
        None => work.await,
    }
}

impl Tracer {
    fn chooses(&self) -> bool {
        rand::random_range(0..1_000_000) < self.ratio
    }
}

impl Span {
    fn begin(name: Cow<'static, str>, kind: Kind, parent: Option<Context>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let context = Context {
            trace: parent.map_or_else(|| rand::random_range(1..=u128::MAX), |parent| parent.trace),
            span: rand::random_range(1..=u64::MAX),
        };
        Self {
            started: Instant::now(),
            told: Some(Finished {
                context,
                parent: parent.map(|parent| parent.span),
                name,
                kind,
                begun: now.as_nanos(),
                ended: 0,
                code: None,
                failed: false,
            }),
        }
    }

    /// As its children know it.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.told.as_ref().map(|told| told.context)
    }

    /// Notes what came of it, and whether that is a failure.
    pub fn came_to(&mut self, code: impl Into<Cow<'static, str>>, failed: bool) {
        if let Some(told) = &mut self.told {
            (told.code, told.failed) = (Some(code.into()), failed);
        }
    }

    /// Notes that it failed, if it did.
    pub fn failed_if(&mut self, failed: bool) {
        if let Some(told) = &mut self.told {
            told.failed |= failed;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let (Some(mut told), Some(tracer)) = (self.told.take(), TRACER.get()) else {
            return;
        };
        told.ended = told.begun + self.started.elapsed().as_nanos();
        if tracer.queue.try_send(told).is_err() {
            tracer.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(Context, bool)> {
        let mut headers = HeaderMap::new();
        headers.insert(PARENT, text.parse().unwrap());
        parent(&headers)
    }

    #[test]
    fn a_parent_is_read_as_the_standard_has_it() {
        let context = Context {
            trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span: 0xb7ad_6b71_6920_3331,
        };
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        assert_eq!(read(&format!("{text}-01")), Some((context, true)));
        assert_eq!(read(&format!("{text}-00")), Some((context, false)));
        // A later version may say more.
        assert_eq!(read(&format!("cc{}-01-what", &text[2..])), Some((context, true)));
        for wrong in [
            "",
            text,
            &format!("{text}-01-more"),
            &format!("ff{}-01", &text[2..]),
            &format!("{}-01", text.to_uppercase()),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn while_it_is_off_there_are_no_spans() {
        assert!(request(&HeaderMap::new(), || unreachable!("nobody asks for a name")).is_none());
        assert!(root("send").is_none() && child("read").is_none() && counts().is_none());
    }
}
