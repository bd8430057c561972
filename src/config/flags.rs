//! The flags of the command line that set keys: made from the table, so that no key is without its flag.

use std::fmt;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::keys::KEYS;
use super::redacted;

/// What the command line says about the configuration. Flatten it into a command.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    /// Keys and their texts, as given.
    pub values: Vec<(&'static str, String)>,
}

impl Flags {
    /// These flags, with those of `inner` (given behind the command's name) winning over them.
    #[must_use]
    pub fn with(mut self, inner: Self) -> Self {
        self.file = inner.file.or(self.file);
        for (key, text) in inner.values {
            self.values.retain(|(other, _)| *other != key);
            self.values.push((key, text));
        }
        self
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(|(key, text)| (key, redacted(text)));
        f.debug_map().entry(&"config", &self.file).entries(values).finish()
    }
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading("Configuration")
            .help("Reads keys from a TOML file [env: NATTER_CONFIG]");
        KEYS.iter().fold(command.arg(config), |command, key| {
            let default = if key.default.is_empty() { "none" } else { key.default };
            command.arg(
                Arg::new(key.name)
                    .long(key.name)
                    .value_name(key.value)
                    .help_heading("Configuration")
                    .help(format!("{} [env: {}] [default: {default}]", key.help, key.variable())),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = KEYS
            .iter()
            .filter_map(|key| Some((key.name, matches.get_one::<String>(key.name)?.clone())));
        Ok(Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            values: values.collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = std::mem::take(self).with(Self::from_arg_matches(matches)?);
        Ok(())
    }
}
