//! The program: reads the command line and the configuration, starts logging, and hands over to the command.
#![forbid(unsafe_code)]

use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use natter::app;
use natter::cli::{Cli, Command};
use natter::commands::{archive, bench, check, createsuperuser, healthcheck, migrate, seed, smoke};
use natter::config::{Config, Flags};
use natter::limits;
use natter::telemetry;

fn main() -> ExitCode {
    // Once for the process, before any client of a server could choose another.
    natter::channel_layer::nats::install_tls_provider();
    match run() {
        Ok(code) => code,
        Err(error) => {
            // Causes that repeat what stands before them say nothing new.
            let mut text = String::new();
            for cause in error.chain().map(ToString::to_string) {
                if !text.contains(&cause) {
                    let colon = if text.is_empty() { "" } else { ": " };
                    text = format!("{text}{colon}{cause}");
                }
            }
            eprintln!("natter: {text}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let (command, flags) = Cli::parse().split();
    let Some(command) = command else {
        return serve(&flags);
    };
    match command {
        Command::Serve(_) => serve(&flags),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Smoke(arguments) => runtime(None)?.block_on(smoke::run(&arguments)),
        Command::Check(_) => configured(&flags, async |config| check::run(config).await),
        Command::Migrate(_) => configured(&flags, async |config| migrate::run(config).await),
        Command::Createsuperuser(with) => {
            configured(&flags, async |config| createsuperuser::run(config, &with.own).await)
        }
        Command::Healthcheck(with) => configured(&flags, async |config| healthcheck::run(config, &with.own).await),
        Command::Seed(with) => configured(&flags, async |config| seed::run(config, &with.own).await),
        Command::Export(with) => configured(&flags, async |config| archive::export(config, &with.own).await),
        Command::Import(with) => configured(&flags, async |config| archive::import(config, &with.own).await),
    }
}

fn serve(flags: &Flags) -> anyhow::Result<ExitCode> {
    configured(flags, async |config| {
        app::serve(config).await.map(|()| ExitCode::SUCCESS)
    })
}

/// Runs a command that needs the configuration, with logging as it says.
fn configured(
    flags: &Flags,
    command: impl AsyncFnOnce(&Config) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let config = Config::load(flags, std::env::vars_os()).context("the configuration is wrong")?;
    telemetry::start(config.log_format, &config.log_filter)?;
    runtime(config.threads)?.block_on(command(&config))
}

fn runtime(threads: Option<NonZeroUsize>) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder
        .max_blocking_threads(limits::BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
}
