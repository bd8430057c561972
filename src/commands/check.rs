//! `natter check`: shows the whole configuration and tries everything that the server will need. It changes nothing:
//! databases are looked at, not made or brought up to date.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use rusqlite::{Connection, OpenFlags};

use crate::app;
use crate::config::{ChannelLayerAt, Config};
use crate::limits;

/// What a try came to.
enum Finding {
    Fine(String),
    Wrong(String),
}

/// Prints settings and findings. The exit code is 1 if something is wrong.
///
/// # Errors
/// None so far: what is wrong is a finding.
pub async fn run(config: &Config) -> anyhow::Result<ExitCode> {
    println!("configuration");
    for setting in config.settings() {
        println!("  {setting}");
    }
    println!("findings");
    let own = config.clone();
    let mut findings = tokio::task::spawn_blocking(move || findings(&own)).await?;
    findings.extend(servers(config).await);
    let mut wrong = 0;
    for (what, finding) in findings {
        match finding {
            Finding::Fine(text) => println!("  ok    {what:<14} {text}"),
            Finding::Wrong(text) => {
                wrong += 1;
                println!("  WRONG {what:<14} {text}");
            }
        }
    }
    if wrong == 0 {
        println!("everything is fine");
        return Ok(ExitCode::SUCCESS);
    }
    println!("{wrong} of these must be put right");
    Ok(ExitCode::FAILURE)
}

/// What can be found out on this machine.
fn findings(config: &Config) -> Vec<(&'static str, Finding)> {
    let mut findings = vec![
        ("listen", address(config.listen)),
        ("admin-listen", address(config.admin_listen)),
        ("open files", open_files()),
        ("public-url", public_url(config)),
    ];
    let (store, sessions) = (config.store_path(), config.sessions_path());
    if store.is_some() || sessions.is_some() {
        findings.push(("data-dir", directory(&config.data_dir)));
    }
    if let Some(path) = store {
        findings.push(("store", database(&path, &["users", "rooms", "messages"])));
    }
    if config.channel_layer == ChannelLayerAt::Local {
        findings.push(("channel-layer", Finding::Fine("in this process".to_owned())));
    }
    if let Some(path) = sessions {
        findings.push(("sessions", database(&path, &["sessions"])));
    }
    findings
}

/// What servers say.
async fn servers(config: &Config) -> Vec<(&'static str, Finding)> {
    let finding = |outcome: anyhow::Result<String>| match outcome {
        Ok(text) => Finding::Fine(text),
        Err(error) => Finding::Wrong(format!("{error:#}")),
    };
    let probes = app::probe(config).await;
    probes
        .into_iter()
        .map(|(key, outcome)| (key, finding(outcome)))
        .collect()
}

fn address(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::Fine(format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Finding::Fine(format!(
            "{address} is in use: by a running server, or else this one will not start"
        )),
        Err(error) => Finding::Wrong(format!("{address} can't be taken: {error}")),
    }
}

fn directory(path: &Path) -> Finding {
    let Some(there) = path
        .ancestors()
        .map(|path| {
            if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            }
        })
        .find(|path| path.exists())
    else {
        return Finding::Wrong(format!("{} has no folder above it", path.display()));
    };
    if !there.is_dir() {
        return Finding::Wrong(format!("{} is not a folder", there.display()));
    }
    // Permissions don't tell the whole truth (read-only mounts, other users), so a file is made.
    let probe = there.join(format!(".natter-check-{}", std::process::id()));
    match std::fs::OpenOptions::new().write(true).create_new(true).open(&probe) {
        Err(error) => Finding::Wrong(format!("{} can't be written to: {error}", there.display())),
        Ok(_) => {
            let removed = std::fs::remove_file(&probe);
            match removed {
                Err(error) => Finding::Wrong(format!("{} can't be removed: {error}", probe.display())),
                Ok(()) if there == path => Finding::Fine(format!("{} can be written to", path.display())),
                Ok(()) => Finding::Fine(format!("{} will be made at the first start", path.display())),
            }
        }
    }
}

fn database(path: &Path, tables: &[&str]) -> Finding {
    if !path.exists() {
        return Finding::Fine(format!("{} will be made at the first start", path.display()));
    }
    match counts(path, tables) {
        Ok(text) => Finding::Fine(format!("{}: {text}", path.display())),
        Err(error) => Finding::Wrong(format!("{} can't be read: {error}", path.display())),
    }
}

fn counts(path: &Path, tables: &[&str]) -> rusqlite::Result<String> {
    // A read-only connection could not see the log that a killed server left, so this one only promises not to write.
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    db.pragma_update(None, "query_only", true)?;
    let version: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut parts = vec![format!("schema {version}")];
    for table in tables {
        let count: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
        parts.push(format!("{count} {table}"));
    }
    Ok(parts.join(", "))
}

fn open_files() -> Finding {
    match rlimit::Resource::NOFILE.get() {
        Err(error) => Finding::Wrong(format!("the limit can't be read: {error}")),
        Ok((_, hard)) => {
            let connections = usize::try_from(hard)
                .unwrap_or(usize::MAX)
                .saturating_sub(limits::FILES_RESERVED);
            let connections = connections.min(limits::CONNECTIONS_MAX);
            let text = format!("{hard} at most: room for {connections} connections");
            if connections < 100 {
                Finding::Wrong(text + "; raise it (ulimit -n)")
            } else {
                Finding::Fine(text)
            }
        }
    }
}

fn public_url(config: &Config) -> Finding {
    let outside = config.public_url.as_ref();
    if outside.is_some_and(crate::config::PublicUrl::is_https) && config.trusted_proxies.is_empty() {
        let text = "https ends at a proxy, but trusted-proxies is empty: everybody will seem to come from the proxy, and \
                    throttles will count them as one";
        return Finding::Wrong(text.to_owned());
    }
    match outside {
        Some(url) => Finding::Fine(url.origin().to_owned()),
        None => Finding::Fine("not set: browsers reach the server at the address that they asked for".to_owned()),
    }
}
