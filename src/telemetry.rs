//! Logs: lines for people or JSON for machines, on standard error. Started once, by `main`.
//!
//! Nothing else configures logging, and nothing logs per delivery. Traces are beside it ([`traces`], [`export`]).

pub mod export;
pub mod traces;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::LogFormat;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not one.
    #[error("the log filter can't be read: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Logging was started before.
    #[error("logging was already started: {0}")]
    Started(#[from] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging, and logs panics from then on, so that one in a task is seen wherever its outcome goes.
///
/// # Errors
/// [`Error`] if the filter is malformed or logging was started before.
pub fn start(format: LogFormat, filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::builder().parse(with_quiet(filter))?;
    let terminal = std::io::stderr().is_terminal();
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    if human {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.with_ansi(colours).with_target(false).try_init()?;
    } else {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()?;
    }
    log_panics();
    Ok(())
}

/// What logs a line for whatever a client sends, such as a malformed cookie: only its errors are logged unless asked for.
const QUIET: [&str; 3] = ["async_nats", "tower_sessions", "tower_sessions_core"];

/// The filter with the noisy targets turned down, each unless the filter names it itself.
fn with_quiet(filter: &str) -> String {
    let named = |target: &str| {
        let directives = filter
            .split(',')
            .map(|directive| directive.trim().split(['=', '[']).next());
        directives.flatten().any(|name| name == target)
    };
    if filter.trim().eq_ignore_ascii_case("off") {
        return filter.to_owned();
    }
    let quiet = QUIET.iter().filter(|target| !named(target));
    quiet.fold(filter.to_owned(), |filter, target| format!("{filter},{target}=error"))
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("a panic without a text");
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed").to_owned();
        let trace = std::backtrace::Backtrace::capture();
        let trace = match trace.status() {
            std::backtrace::BacktraceStatus::Captured => trace.to_string(),
            _ => String::new(),
        };
        tracing::error!(place, thread, trace, "panic: {what}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_can_flood_is_quiet_unless_asked_for() {
        assert_eq!(
            with_quiet("info"),
            "info,async_nats=error,tower_sessions=error,tower_sessions_core=error"
        );
        assert_eq!(with_quiet("off"), "off");
        let asked = "warn,tower_sessions_core=debug";
        assert_eq!(
            with_quiet(asked),
            format!("{asked},async_nats=error,tower_sessions=error")
        );
        assert!(
            EnvFilter::builder()
                .parse(with_quiet("info,natter::store=debug"))
                .is_ok()
        );
    }
}
