//! The driver's session: how statements are run and counted, and what their errors mean.
//!
//! A write that failed is `Refused` only if no replica can have it. The driver may try a write on several nodes and
//! reports the last failure alone, so a retry policy of our own keeps in mind whether an earlier attempt may have
//! landed (`IN_DOUBT`): after that, nothing but success is certain. A statement that has had no answer for a while is
//! given to a second server beside the first, so that one that is stopped costs people a moment and not their request;
//! what was given to two is certain only if it succeeded.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::retry::{DefaultRetryPolicy, RequestInfo, RetryDecision, RetryPolicy, RetrySession};
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};

use super::second::Second;
use super::statements::Statements;
use crate::store::{Error, Result};
use crate::telemetry::traces::{self, Span};

tokio::task_local! {
    /// Whether an attempt of the statement that this task runs may have been applied although it failed.
    static IN_DOUBT: Cell<bool>;
}

/// What the store has done since it was opened: for metrics, and for tests that assert how much a thing costs.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads of a range of messages or events, one for each partition looked at.
    pub range_reads: AtomicU64,
    /// All other reads.
    pub other_reads: AtomicU64,
    /// Plain writes.
    pub writes: AtomicU64,
    /// Lightweight transactions.
    pub lwts: AtomicU64,
    /// Statements that failed, whatever they were.
    pub failures: AtomicU64,
    /// Messages and changes that were written late.
    pub late: AtomicU64,
    /// Buckets that reads of messages have looked into.
    pub walked: AtomicU64,
    /// Buckets that this process began.
    pub rolls: AtomicU64,
}

/// What a statement is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// A range of messages or events in one partition.
    Range,
    /// Any other read.
    Read,
    /// A plain write.
    Write,
    /// A lightweight transaction.
    Lwt,
}

/// Hears how long each statement took, failed ones included.
pub type LatencyHook = Arc<dyn Fn(StatementKind, Duration) + Send + Sync>;

/// A statement that was prepared, and what it counts as.
pub(super) struct Prepared {
    pub(super) statement: PreparedStatement,
    pub(super) kind: StatementKind,
    name: &'static str,
    runs: AtomicU64,
    micros: AtomicU64,
}

impl Prepared {
    pub(super) const fn new(statement: PreparedStatement, name: &'static str, kind: StatementKind) -> Self {
        Self {
            statement,
            kind,
            name,
            runs: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        }
    }

    /// Its name, how often it was run, and how long that took in all.
    pub(super) fn ran(&self) -> (&'static str, u64, Duration) {
        let took = Duration::from_micros(self.micros.load(Ordering::Relaxed));
        (self.name, self.runs.load(Ordering::Relaxed), took)
    }
}

/// The session, with the statements prepared on it.
pub(super) struct Cql {
    session: Session,
    second: Second,
    pub(super) statements: Statements,
    pub(super) counters: Counters,
    closed: AtomicBool,
    under_way: AtomicUsize,
    latency: parking_lot::RwLock<Option<LatencyHook>>,
}

/// Counts a write as under way for as long as it lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

impl Cql {
    pub(super) fn new(session: Session, statements: Statements, second: Second) -> Self {
        Self {
            session,
            second,
            statements,
            counters: Counters::default(),
            closed: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            latency: parking_lot::RwLock::new(None),
        }
    }

    pub(super) fn on_latency(&self, hook: LatencyHook) {
        *self.latency.write() = Some(hook);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses what comes from now on, and waits for the writes that are under way: none takes longer than its
    /// timeout.
    pub(super) async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        while self.under_way.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn begin(&self, kind: StatementKind) -> Result<UnderWay<'_>> {
        self.under_way.fetch_add(1, Ordering::Acquire);
        let under_way = UnderWay(&self.under_way);
        if self.is_closed() {
            return Err(Error::Refused("the store is closed".into()));
        }
        let counter = match kind {
            StatementKind::Range => &self.counters.range_reads,
            StatementKind::Read => &self.counters.other_reads,
            StatementKind::Write => &self.counters.writes,
            StatementKind::Lwt => &self.counters.lwts,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(under_way)
    }

    fn done<T>(&self, prepared: &Prepared, since: Instant, span: Option<Span>, result: &Result<T>) {
        if let Some(mut span) = span {
            span.failed_if(result.is_err());
        }
        if result.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        let took = since.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        prepared.runs.fetch_add(1, Ordering::Relaxed);
        prepared.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(hook) = &*self.latency.read() {
            hook(prepared.kind, took);
        }
    }

    /// Everything a read finds. Every statement bounds its rows, or reads a partition that is bounded.
    pub(super) async fn rows<R>(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let _under_way = self.begin(prepared.kind)?;
        let since = Instant::now();
        let span = traces::child(prepared.name);
        let found = self.read(prepared, values).await;
        self.done(prepared, since, span, &found);
        found
    }

    async fn read<R>(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let mut found = Vec::new();
        let mut from = PagingState::start();
        loop {
            let page = self.session.execute_single_page(&prepared.statement, &values, from);
            let (page, _) = self.second.watch(page).await;
            let (result, next) = page.map_err(|error| read_error(&error))?;
            let rows = result
                .into_rows_result()
                .map_err(|error| Error::Damaged(error.to_string()))?;
            for row in rows.rows::<R>().map_err(|error| Error::Damaged(error.to_string()))? {
                found.push(row.map_err(|error| Error::Damaged(error.to_string()))?);
            }
            match next {
                PagingStateResponse::HasMorePages { state } => from = state,
                PagingStateResponse::NoMorePages => return Ok(found),
            }
        }
    }

    /// The first row a read finds.
    pub(super) async fn first<R>(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<Option<R>>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        Ok(self.rows(prepared, values).await?.into_iter().next())
    }

    /// A plain write: durable on a quorum when it returns.
    pub(super) async fn write(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<()> {
        self.apply(prepared, values).await.map(drop)
    }

    /// A lightweight transaction: whether it was applied. Of its answer nothing else may be read, since ScyllaDB and
    /// Cassandra answer different columns.
    pub(super) async fn lwt(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<bool> {
        let result = self.apply(prepared, values).await?;
        applied(result)
    }

    /// Rows of one partition in one write, which no read sees a part of: durable on a quorum when it returns.
    pub(super) async fn write_together(&self, prepared: &Prepared, rows: Vec<impl SerializeRow>) -> Result<()> {
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        for _ in &rows {
            batch.append_statement(prepared.statement.clone());
        }
        self.run(prepared, self.session.batch(&batch, rows)).await.map(drop)
    }

    async fn apply(&self, prepared: &Prepared, values: impl SerializeRow) -> Result<QueryResult> {
        self.run(prepared, self.session.execute_unpaged(&prepared.statement, values))
            .await
    }

    async fn run(
        &self,
        prepared: &Prepared,
        request: impl Future<Output = Result<QueryResult, ExecutionError>>,
    ) -> Result<QueryResult> {
        let _under_way = self.begin(prepared.kind)?;
        let since = Instant::now();
        let span = traces::child(prepared.name);
        let run = async {
            let (result, two) = self.second.watch(request).await;
            result.map_err(|error| write_error(&error, two || IN_DOUBT.with(Cell::get)))
        };
        let result = IN_DOUBT.scope(Cell::new(false), run).await;
        self.done(prepared, since, span, &result);
        result
    }
}

/// Whether a lightweight transaction was applied.
pub(super) fn applied(result: QueryResult) -> Result<bool> {
    let damaged = |error: String| Error::Damaged(error);
    let rows = result.into_rows_result().map_err(|error| damaged(error.to_string()))?;
    let place = rows
        .column_specs()
        .iter()
        .position(|column| column.name() == "[applied]");
    let row: Row = rows.first_row().map_err(|error| damaged(error.to_string()))?;
    match place.and_then(|place| row.columns.get(place).cloned().flatten()) {
        Some(CqlValue::Boolean(applied)) => Ok(applied),
        other => Err(damaged(format!("a transaction answered {other:?} for [applied]"))),
    }
}

/// What a failed read means: nothing was written, so all are refusals.
pub(super) fn read_error(error: &ExecutionError) -> Error {
    Error::Refused(error.to_string())
}

/// What a failed write means.
pub(super) fn write_error(error: &ExecutionError, in_doubt: bool) -> Error {
    let certain = match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(attempt) => was_not_applied(attempt),
        _ => false,
    };
    if certain && !in_doubt {
        Error::Refused(error.to_string())
    } else {
        Error::UnknownOutcome(error.to_string())
    }
}

/// Whether an attempt failed before any replica can have got it.
fn was_not_applied(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::SerializationError(_)
        | RequestAttemptError::CqlRequestSerialization(_)
        | RequestAttemptError::UnableToAllocStreamId => true,
        RequestAttemptError::DbError(error, _) => matches!(
            error,
            DbError::SyntaxError
                | DbError::Invalid
                | DbError::Unauthorized
                | DbError::ConfigError
                | DbError::AuthenticationError
                | DbError::Unavailable { .. }
                | DbError::IsBootstrapping
                | DbError::Unprepared { .. }
                | DbError::RateLimitReached { .. }
        ),
        _ => false,
    }
}

/// The driver's default policy, which also notes doubts.
#[derive(Debug)]
pub(super) struct Doubting;

struct DoubtingSession(Box<dyn RetrySession>);

impl RetryPolicy for Doubting {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(DoubtingSession(DefaultRetryPolicy::new().new_session()))
    }
}

impl RetrySession for DoubtingSession {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        if !was_not_applied(request.error) {
            // Reads set no such scope, and have nothing to doubt.
            let _ = IN_DOUBT.try_with(|doubt| doubt.set(true));
        }
        self.0.decide_should_retry(request)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

/// The error of a step that followed a write which landed: it can't say that nothing was stored.
pub(super) fn after_a_write(error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::UnknownOutcome(why),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use scylla::errors::WriteType;
    use scylla::statement::Consistency;

    fn failed(error: DbError) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    fn unavailable() -> ExecutionError {
        failed(DbError::Unavailable {
            consistency: Consistency::LocalQuorum,
            required: 2,
            alive: 1,
        })
    }

    #[test]
    fn only_what_reached_no_replica_is_refused() {
        assert!(matches!(write_error(&unavailable(), false), Error::Refused(_)));
        assert!(matches!(
            write_error(&failed(DbError::Invalid), false),
            Error::Refused(_)
        ));
        let timeout = failed(DbError::WriteTimeout {
            consistency: Consistency::LocalQuorum,
            received: 1,
            required: 2,
            write_type: WriteType::Simple,
        });
        for error in [
            timeout,
            failed(DbError::Overloaded),
            failed(DbError::ServerError),
            ExecutionError::RequestTimeout(limits::CQL_TIMEOUT),
        ] {
            assert!(
                matches!(write_error(&error, false), Error::UnknownOutcome(_)),
                "{error}"
            );
        }
    }

    #[test]
    fn after_an_attempt_that_may_have_landed_nothing_is_refused() {
        assert!(matches!(write_error(&unavailable(), true), Error::UnknownOutcome(_)));
    }
}
