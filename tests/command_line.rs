//! The program as people start it: what it prints, and the codes it ends with.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn natter(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_natter"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NATTER_") {
            command.env_remove(name);
        }
    }
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    natter(folder, arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_slip_in_a_flag_a_variable_or_the_file_is_answered_with_the_right_one() {
    let folder = tempfile::tempdir().unwrap();
    let flag = run(folder.path(), &["check", "--lisen", "127.0.0.1:0"]);
    assert!(
        !flag.status.success() && err(&flag).contains("--listen"),
        "{}",
        err(&flag)
    );

    let variable = natter(folder.path(), &["check"])
        .env("NATTER_DATADIR", "x")
        .output()
        .unwrap();
    assert!(
        !variable.status.success() && err(&variable).contains("NATTER_DATA_DIR"),
        "{}",
        err(&variable)
    );

    std::fs::write(folder.path().join("natter.toml"), "\nregistration = \"opne\"\n").unwrap();
    let file = run(folder.path(), &["check", "--config", "natter.toml"]);
    assert!(!file.status.success(), "{}", out(&file));
    assert!(
        err(&file).contains("natter.toml:2: registration can't be \"opne\""),
        "{}",
        err(&file)
    );
}

#[test]
fn check_shows_where_each_value_came_from_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["check", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let checked = natter(folder.path(), &arguments)
        .env("NATTER_NAME", "Corner")
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", out(&checked));
    let line = out(&checked)
        .lines()
        .find(|line| line.contains(" name "))
        .unwrap()
        .to_owned();
    assert!(
        line.contains("Corner") && line.contains("variable NATTER_NAME"),
        "{line}"
    );
    assert!(!folder.path().join("data").exists());

    let refused = run(folder.path(), &["check", "--store", "scylla://me:geheim@db"]);
    assert!(
        !refused.status.success() && err(&refused).contains("did you mean \"scylla://me:***@db/natter\"?"),
        "{}",
        err(&refused)
    );
    assert!(!err(&refused).contains("geheim"), "{}", err(&refused));
}

#[test]
fn createsuperuser_takes_the_password_from_the_variable_or_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let ann = ["createsuperuser", "--username", "ann"];
    let short = natter(folder.path(), &ann)
        .env("NATTER_SUPERUSER_PASSWORD", "short")
        .output()
        .unwrap();
    assert!(
        !short.status.success() && err(&short).contains("8 to 256"),
        "{}",
        err(&short)
    );
    let made = natter(folder.path(), &ann)
        .env("NATTER_SUPERUSER_PASSWORD", "long enough")
        .output()
        .unwrap();
    assert!(
        made.status.success() && out(&made).contains("the superuser ann was made"),
        "{}",
        err(&made)
    );
    let again = run(folder.path(), &ann);
    assert!(
        again.status.success() && out(&again).contains("already"),
        "{}",
        err(&again)
    );

    let mut bob = natter(folder.path(), &["createsuperuser", "--username", "bob"]);
    let mut bob = bob.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    bob.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let bob = bob.wait_with_output().unwrap();
    assert!(
        bob.status.success() && out(&bob).contains("the superuser bob was made"),
        "{}",
        err(&bob)
    );

    let nobody = run(folder.path(), &["createsuperuser"]);
    assert!(
        !nobody.status.success() && err(&nobody).contains("--username"),
        "{}",
        err(&nobody)
    );
}

#[test]
fn an_archive_goes_through_pipes() {
    let folder = tempfile::tempdir().unwrap();
    let seeded = run(
        folder.path(),
        &["seed", "--users", "5", "--rooms", "1", "--messages", "3"],
    );
    assert!(seeded.status.success(), "{}", err(&seeded));
    let archive = run(folder.path(), &["export", "-"]);
    assert!(archive.status.success(), "{}", err(&archive));
    let mut import = natter(folder.path(), &["import", "-", "--data-dir", "other"]);
    let mut import = import.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    let import = import.wait_with_output().unwrap();
    assert!(import.status.success(), "{}", err(&import));
    let again = run(folder.path(), &["export", "-", "--data-dir", "other"]);
    let body = |output: &Output| out(output).split_once('\n').unwrap().1.to_owned();
    assert_eq!(body(&again), body(&archive));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was just free: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    for arguments in [
        ["smoke", "--url", &url],
        ["bench", "--url", &url],
        ["healthcheck", "--url", &url],
    ] {
        let output = run(folder.path(), &arguments);
        assert!(
            !output.status.success() && err(&output).contains(&free.to_string()),
            "{}",
            err(&output)
        );
    }
}
