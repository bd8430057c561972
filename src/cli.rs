//! The command line. Each command's arguments stand with the command; the configuration's flags are made from its table.

use clap::{Parser, Subcommand};

use crate::commands::{archive, bench, createsuperuser, healthcheck, seed, smoke};
use crate::config::Flags;

/// A chat server: `natter` alone serves on 127.0.0.1:8080 and keeps its data in ./data
#[derive(Debug, Clone, Parser)]
#[command(name = "natter", version, max_term_width = 120)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    /// Be a process of a later version
    #[cfg(feature = "next-version")]
    #[arg(long, hide = true, global = true)]
    next_version: Option<crate::next_version::Next>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve the chat (the default)
    Serve(Flags),
    /// Show the whole configuration and try everything that the server will need
    Check(Flags),
    /// Bring the databases to this version's schema
    Migrate(Flags),
    /// Make a superuser, or make one of an existing user; works beside a running server
    Createsuperuser(With<createsuperuser::Arguments>),
    /// Ask a running server whether it is ready; for container runtimes and scripts
    Healthcheck(With<healthcheck::Arguments>),
    /// Walk through a running server as two clients would: log in, send, receive, read history
    Smoke(smoke::Arguments),
    /// Put a load on a running server and count what becomes of every message
    Bench(bench::Arguments),
    /// Fill the store with users, sessions, rooms and messages for load tests
    Seed(With<seed::Arguments>),
    /// Write the whole store to an archive; works beside a running server
    Export(With<archive::ExportArguments>),
    /// Read an archive into an empty store
    Import(With<archive::ImportArguments>),
}

/// A command's own arguments beside those of the configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct With<A: clap::Args> {
    /// The command's own.
    #[command(flatten)]
    pub own: A,
    /// The configuration's.
    #[command(flatten)]
    pub flags: Flags,
}

impl Cli {
    /// The command and the configuration's flags, wherever they stood.
    #[must_use]
    pub fn split(self) -> (Option<Command>, Flags) {
        #[cfg(feature = "next-version")]
        if let Some(next) = self.next_version {
            crate::next_version::begin(next);
        }
        let inner = match &self.command {
            None | Some(Command::Smoke(_) | Command::Bench(_)) => Flags::default(),
            Some(Command::Serve(flags) | Command::Check(flags) | Command::Migrate(flags)) => flags.clone(),
            Some(Command::Createsuperuser(with)) => with.flags.clone(),
            Some(Command::Healthcheck(with)) => with.flags.clone(),
            Some(Command::Seed(with)) => with.flags.clone(),
            Some(Command::Export(with)) => with.flags.clone(),
            Some(Command::Import(with)) => with.flags.clone(),
        };
        (self.command, self.flags.with(inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn flags(line: &[&str]) -> Vec<(&'static str, String)> {
        let mut values = Cli::try_parse_from(line).unwrap().split().1.values;
        values.sort_unstable();
        values
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_are_understood_before_and_behind_the_command() {
        let listen = || ("listen", "0.0.0.0:8080".to_owned());
        assert_eq!(flags(&["natter", "--listen", "0.0.0.0:8080"]), [listen()]);
        assert_eq!(flags(&["natter", "check", "--listen", "0.0.0.0:8080"]), [listen()]);
        assert_eq!(
            flags(&[
                "natter",
                "--listen",
                "x",
                "--name",
                "y",
                "check",
                "--listen",
                "0.0.0.0:8080"
            ]),
            [listen(), ("name", "y".to_owned())]
        );
    }

    #[test]
    fn every_command_has_a_help_text() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
