//! `natter createsuperuser`: makes a superuser, or makes one of an existing user. Works beside running servers: each looks up in the
//! store, at every request, what somebody may.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::app::OpenStore;
use crate::config::Config;
use crate::model::Name;
use crate::model::user::PASSWORD_CHARS;
use crate::sessions::password::Passwords;
use crate::store::{Error, NewAuditEntry, NewUser, Store};

use super::storage;

/// The variable that gives the password.
pub const PASSWORD_VARIABLE: &str = "NATTER_SUPERUSER_PASSWORD";

/// Whom to make a superuser.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The user's name; without it, it is asked for. The password of a new user comes from NATTER_SUPERUSER_PASSWORD,
    /// else it is asked for on a terminal, else it is the first line of standard input
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
}

/// Asks for what is missing and makes the superuser.
///
/// # Errors
/// A name or password that breaks the rules, or a store that can't be opened.
pub async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let store = OpenStore::open(config).await?.shared();
    let outcome = make(&*store, arguments).await;
    store.close().await;
    println!("{}", outcome?);
    Ok(ExitCode::SUCCESS)
}

async fn make(store: &dyn Store, arguments: &Arguments) -> anyhow::Result<String> {
    let name = match &arguments.username {
        Some(name) => name.clone(),
        None => ask("Username: ")?,
    };
    let name = Name::parse(name.trim()).with_context(|| format!("{name:?} can't be a user's name"))?;
    if let Some(user) = store.user_by_name(&name).await? {
        if user.superuser {
            return Ok(format!("{} is a superuser already; nothing was changed", user.name));
        }
        store.set_superuser(user.id, true).await?;
        note(store, "user.superuser", &user.name).await?;
        let disabled = if user.disabled {
            "; the account is disabled, an administrator can enable it"
        } else {
            ""
        };
        return Ok(format!(
            "{} is a superuser now, with the same password as before{disabled}",
            user.name
        ));
    }
    let password = password()?;
    let chars = password.chars().count();
    ensure!(
        PASSWORD_CHARS.contains(&chars),
        "a password holds {} to {} characters, and this one has {chars}",
        PASSWORD_CHARS.start(),
        PASSWORD_CHARS.end()
    );
    let user = NewUser {
        name: name.clone(),
        password_hash: Passwords::new()?.hash(&password).await?,
        superuser: true,
        at: storage::now(),
    };
    match store.create_user(user, None).await {
        Err(Error::NameTaken) => {
            bail!("somebody has just taken the name {name}: run this again to make them superuser")
        }
        user => user?,
    };
    note(store, "user.create_superuser", &name).await?;
    Ok(format!("the superuser {name} was made"))
}

async fn note(store: &dyn Store, action: &str, name: &Name) -> anyhow::Result<()> {
    let entry = NewAuditEntry {
        actor: None,
        actor_name: "command line".to_owned(),
        action: action.to_owned(),
        target: format!("user {name}"),
        detail: String::new(),
    };
    store.append_audit(entry).await?;
    Ok(())
}

fn ask(question: &str) -> anyhow::Result<String> {
    ensure!(
        std::io::stdin().is_terminal(),
        "there is no terminal to ask on: give --username NAME, and the password in {PASSWORD_VARIABLE} or on standard \
         input"
    );
    print!("{question}");
    std::io::stdout().flush()?;
    first_line()
}

fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("standard input can't be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn password() -> anyhow::Result<String> {
    if let Some(password) = std::env::var_os(PASSWORD_VARIABLE) {
        return password
            .into_string()
            .ok()
            .with_context(|| format!("{PASSWORD_VARIABLE} is not UTF-8"));
    }
    if !std::io::stdin().is_terminal() {
        return first_line();
    }
    let password = rpassword::prompt_password("Password: ")?;
    ensure!(
        password == rpassword::prompt_password("Password again: ")?,
        "the two passwords differ"
    );
    Ok(password)
}
