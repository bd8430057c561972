//! The program: reads the command line and the configuration, starts logging, and hands over to the command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use natter::cli::{Cli, Command};
use natter::commands::{archive, check, createsuperuser, healthcheck, migrate, seed, smoke};
use natter::config::Config;
use natter::telemetry;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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
        Cli::command().print_help()?;
        return Ok(ExitCode::from(2));
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all();
    if let Command::Smoke(arguments) = &command {
        return runtime.build()?.block_on(smoke::run(arguments));
    }
    let config = Config::load(&flags, std::env::vars_os()).context("the configuration is wrong")?;
    if let Some(threads) = config.threads {
        runtime.worker_threads(threads.get());
    }
    telemetry::start(config.log_format, &config.log_filter)?;
    runtime.build()?.block_on(dispatch(&command, &config))
}

async fn dispatch(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(_) => check::run(config).await,
        Command::Migrate(_) => migrate::run(config).await,
        Command::Createsuperuser(with) => createsuperuser::run(config, &with.own).await,
        Command::Healthcheck(with) => healthcheck::run(config, &with.own).await,
        Command::Smoke(arguments) => smoke::run(arguments).await,
        Command::Seed(with) => seed::run(config, &with.own).await,
        Command::Export(with) => archive::export(config, &with.own).await,
        Command::Import(with) => archive::import(config, &with.own).await,
    }
}
