//! Answers wait for the disk: shown on the system calls of a traced process, since a kill alone can't tell.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::SqliteStore;
use crate::model::message::Author;
use crate::model::{Name, NewMessage, RoomId, SystemTime, UserId};
use crate::store::{Error, MessageStore, Range, Store};

/// Set in the process that is traced: where its data goes.
const CHILD: &str = "NATTER_TEST_SYNC_CHILD";
const APPENDS: usize = 20;

/// The part of the traced process: appends one after the other, and says what became of each before the next.
#[tokio::main(flavor = "current_thread")]
async fn append_and_tell(directory: &Path) {
    let store = SqliteStore::open(&directory.join("natter.db"), Arc::new(SystemTime)).unwrap();
    let room = RoomId::random();
    let mut stored = Vec::new();
    for nth in 0..APPENDS {
        let message = NewMessage {
            room,
            author: Author {
                id: UserId::random(),
                name: Name::parse("ann").unwrap(),
            },
            body: format!("message {nth}"),
            nonce: None,
            retry: false,
            reply_to: None,
            mentions: Vec::new(),
        };
        match store.append(vec![message]).await.remove(0) {
            Ok(appended) if appended.fresh => {
                stored.push(appended.message);
                println!("answer {nth}: stored");
            }
            Err(Error::UnknownOutcome(why)) => println!("answer {nth}: unknown: {why}"),
            other => println!("answer {nth}: {other:?}"),
        }
    }
    let page = store.page(room, Range::Latest, APPENDS).await.unwrap();
    assert!(
        stored.iter().all(|message| page.messages.contains(message)),
        "an acknowledged message is lost"
    );
    println!("all acknowledged are there");
}

/// Runs this test again, alone, under strace. `None`, loudly, where that is not possible.
fn traced(test: &str, directory: &Path, inject: Option<&str>) -> Option<(String, String)> {
    let trace = directory.join("trace");
    // Made before, so that the traced process writes and syncs on its writer thread alone.
    let store = SqliteStore::open(&directory.join("natter.db"), Arc::new(SystemTime)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.close());
    let Ok(probe) = Command::new("strace").args(["-o", "/dev/null", "true"]).output() else {
        println!("SKIP store-sync: strace is missing");
        return None;
    };
    if !probe.status.success() {
        println!("SKIP store-sync: strace may not trace here");
        return None;
    }
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "-s",
            "40",
            "-e",
            "trace=fsync,fdatasync,write,pwrite64",
            "-o",
        ])
        .arg(&trace);
    if let Some(inject) = inject {
        command.args(["-e", inject]);
    }
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD, directory)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("all acknowledged are there"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some((told, std::fs::read_to_string(trace).unwrap()))
}

/// One finished system call: its line, both halves joined where strace had to break it.
fn calls(trace: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(first) = rest.strip_suffix(" <unfinished ...>") {
            // What is written to the standard output counts from its beginning, everything else from its end.
            if first.starts_with("write(1<") {
                calls.push(first.to_owned());
            } else {
                begun.insert(thread, first);
            }
        } else if let Some((_, second)) = rest.split_once("resumed>") {
            if let Some(first) = begun.remove(thread) {
                calls.push(format!("{first}{second}"));
            }
        } else {
            calls.push(rest.to_owned());
        }
    }
    calls
}

#[test]
fn an_answer_comes_after_its_frames_were_written_and_synced() {
    if let Ok(directory) = std::env::var(CHILD) {
        return append_and_tell(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "store::sqlite::sync_tests::an_answer_comes_after_its_frames_were_written_and_synced";
    let Some((_, trace)) = traced(test, directory.path(), None) else {
        return;
    };
    let (mut written, mut synced, mut answers) = (false, false, 0);
    for call in calls(&trace) {
        let of_log = call.contains("natter.db-wal>");
        if call.starts_with("write(1<") && call.contains(&format!("answer {answers}: stored")) {
            assert!(
                written,
                "answer {answers} came before anything was written to the log:\n{trace}"
            );
            assert!(synced, "answer {answers} came before the log was synced:\n{trace}");
            (written, synced) = (false, false);
            answers += 1;
        } else if of_log && call.starts_with("pwrite64(") {
            (written, synced) = (true, false);
        } else if of_log && (call.starts_with("fdatasync(") || call.starts_with("fsync(")) {
            synced = call.trim_end().ends_with("= 0");
        }
    }
    assert_eq!(answers, APPENDS, "{trace}");
}

#[test]
fn a_sync_that_fails_leaves_the_outcome_unknown_and_the_store_usable() {
    if let Ok(directory) = std::env::var(CHILD) {
        return append_and_tell(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "store::sqlite::sync_tests::a_sync_that_fails_leaves_the_outcome_unknown_and_the_store_usable";
    // Counted per thread: opening syncs next to nothing, the writer once for each append.
    let inject = Some("inject=fsync,fdatasync:error=EIO:when=10");
    let Some((told, _)) = traced(test, directory.path(), inject) else {
        return;
    };
    let count = |word: &str| told.lines().filter(|line| line.contains(word)).count();
    assert_eq!((count(": unknown"), count(": stored")), (1, APPENDS - 1), "{told}");
}

#[test]
fn a_log_that_can_not_grow_refuses_and_the_store_stays_usable() {
    if let Ok(directory) = std::env::var(CHILD) {
        return append_and_tell(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let test = "store::sqlite::sync_tests::a_log_that_can_not_grow_refuses_and_the_store_stays_usable";
    // Counted per thread: opening writes next to nothing, the writer several times for each append.
    let inject = Some("inject=pwrite64:error=ENOSPC:when=40");
    let Some((told, _)) = traced(test, directory.path(), inject) else {
        return;
    };
    let count = |word: &str| told.lines().filter(|line| line.contains(word)).count();
    assert_eq!((count("Err(Refused"), count(": stored")), (1, APPENDS - 1), "{told}");
}
