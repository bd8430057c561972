//! `natter smoke`: walks the shortest way through a running server as two clients of one user would.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::client::{Session, Target};

/// The password, where everybody on the machine would see it among the arguments.
const PASSWORD_VARIABLE: &str = "NATTER_PASSWORD";

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The server, as http://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Log in as this user instead of registering a new one
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// The user's password; better given as the variable NATTER_PASSWORD, which others do not see
    #[arg(long, value_name = "PASSWORD", requires = "username")]
    pub password: Option<String>,
    /// The room to talk in; without it a new one is made, and stays
    #[arg(long, value_name = "ROOM")]
    pub room: Option<String>,
}

/// Walks, and prints each step as it succeeds. Exit code 0 means that all did.
///
/// # Errors
/// The first step that fails, with what the server answered.
pub async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let run = format!("{:08x}", rand::random::<u32>());
    let target = Target::resolve(&arguments.url).await?;
    let session = step("log in", log_in(&target, arguments, &run)).await?;
    let room = arguments.room.clone().unwrap_or_else(|| format!("smoke-{run}"));
    let path = format!("/ws/chat/{room}/");
    let mut first = step("connect", target.socket(&path, &session.cookie)).await?;
    step("join", first.expect("live")).await?;
    let mut second = step("connect a second time", target.socket(&path, &session.cookie)).await?;
    step("join a second time", second.expect("live")).await?;

    let text = format!("smoke test {run}");
    first
        .send(&json!({ "type": "send", "message": text, "nonce": run }))
        .await?;
    let ack = step("send", first.expect("ack")).await?;
    let id = ack["id"].as_str().context("the ack has no id")?.to_owned();
    step("receive on the second connection", async {
        let message = second.expect("message").await?;
        ensure!(
            message["message"] == text.as_str() && message["id"] == id.as_str(),
            "another message came: {message}"
        );
        Ok(())
    })
    .await?;
    first
        .send(&json!({ "type": "send", "message": text, "nonce": run, "retry": true }))
        .await?;
    step("repeat the send and get the same id", async {
        let ack = first.expect("ack").await?;
        ensure!(ack["id"] == id.as_str(), "the repeated send got another id: {ack}");
        Ok(())
    })
    .await?;
    step(
        "read it in the history",
        in_history(&target, &session, &room, &id, &text),
    )
    .await?;
    first.close().await;
    second.close().await;
    if arguments.username.is_none() {
        let log_out = target.request(Method::DELETE, "/api/session", Some(&session.cookie), None);
        step("log out", async {
            ensure_success(&log_out.await?, "DELETE /api/session")
        })
        .await?;
        step("be refused afterwards", async {
            let answer = target
                .request(Method::GET, "/api/session", Some(&session.cookie), None)
                .await?;
            ensure!(answer.status == 401, "the ended session was answered {}", answer.status);
            Ok(())
        })
        .await?;
    }
    println!("all is well");
    Ok(ExitCode::SUCCESS)
}

async fn step<T, E>(what: &str, work: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    E: Into<anyhow::Error>,
{
    print!("{what} ... ");
    // A line without its end is not shown by itself, and the step may take a while.
    let _ = std::io::stdout().flush();
    let begun = std::time::Instant::now();
    match work.await {
        Ok(value) => {
            println!("ok ({:.1} ms)", begun.elapsed().as_secs_f64() * 1e3);
            Ok(value)
        }
        Err(error) => {
            println!("failed");
            Err(error.into().context(format!("could not {what}")))
        }
    }
}

async fn log_in(target: &Target, arguments: &Arguments, run: &str) -> anyhow::Result<Session> {
    match &arguments.username {
        Some(username) => {
            let given = arguments.password.clone();
            let given = given.or_else(|| std::env::var(PASSWORD_VARIABLE).ok());
            let password = given.with_context(|| format!("--username needs --password or {PASSWORD_VARIABLE}"))?;
            Ok(target.log_in(username, &password).await?)
        }
        None => {
            let password = format!("{:032x}", rand::random::<u128>());
            Ok(target.register(&format!("smoke-{run}"), &password).await?)
        }
    }
}

async fn in_history(target: &Target, session: &Session, room: &str, id: &str, text: &str) -> anyhow::Result<()> {
    let path = format!("/api/rooms/{room}/messages?limit=10");
    let answer = target.request(Method::GET, &path, Some(&session.cookie), None).await?;
    let page = answer.json(&path)?;
    let messages = page["messages"].as_array().context("the page has no messages")?;
    let found: Vec<&Value> = messages.iter().filter(|message| message["message"] == text).collect();
    ensure!(found.len() == 1, "the message is there {} times", found.len());
    ensure!(
        found[0]["id"] == id,
        "the history has another id for the message: {}",
        found[0]
    );
    Ok(())
}

fn ensure_success(answer: &crate::client::Answer, what: &str) -> anyhow::Result<()> {
    ensure!(
        answer.status.is_success(),
        "{what}: the server answered {}",
        answer.status
    );
    Ok(())
}
