//! TLS to the servers below a node: with the right authority it works, and what is wrong is told in words.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use crate::cassandra::Cassandra;
use crate::common::Server;
use crate::servers::{Environment, Own, skip};
use crate::world::{migrate, without_settings};

/// A folder of certificates: `server.pem` for 127.0.0.1 (and apart, for those who want that, `server.key` and
/// `server.crt`), `ca.pem` that issued it, `own.pem` and `own.key` of a client, and `other.pem`, an authority that
/// issued nothing of these.
fn certificates(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
    };
    let (ca, other) = (authority("ours"), authority("theirs"));
    write("ca.pem", &ca.pem());
    write("other.pem", &other.pem());
    for (file, alternatives) in [("server", names), ("own", &["client"][..])] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = alternatives
            .iter()
            .map(|name| match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().expect("a name")),
            })
            .collect();
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        write(&format!("{file}.crt"), &certificate.pem());
        write(&format!("{file}.key"), &key.serialize_pem());
        write(&format!("{file}.pem"), &(key.serialize_pem() + &certificate.pem()));
    }
    folder
}

/// Runs a command that must fail; gives what it says.
fn refused(command: &str, flags: &[(&str, String)]) -> String {
    let mut natter = Command::new(env!("CARGO_BIN_EXE_natter"));
    without_settings(&mut natter);
    natter.arg(command);
    for (flag, value) in flags {
        natter.args([flag, value.as_str()]);
    }
    let output = natter.output().expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{flags:?} is not refused: {text}");
    println!("{text}");
    text
}

/// A node with these flags, on which somebody writes and reads.
async fn chats(flags: &[(&str, String)]) {
    let flags: Vec<String> = flags
        .iter()
        .flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()])
        .collect();
    let launch = move || {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        Server::with(&flags)
    };
    let server = tokio::task::spawn_blocking(launch).await.expect("a node");
    let (ann, ben) = (server.user("ann").await, server.user("ben").await);
    let mut one = server.room("hall", &ann).await;
    let mut two = server.room("hall", &ben).await;
    one.say("behind seven seals").await;
    two.hears("behind seven seals").await;
    let history = server.history(&ben, "hall").await;
    assert_eq!(history[0]["message"], "behind seven seals");
}

fn path(folder: &Path, file: &str) -> String {
    folder.join(file).display().to_string()
}

fn store(address: SocketAddr) -> (&'static str, String) {
    ("--store", format!("scylla://{address}/natter"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cql_server_with_tls_is_used_if_its_authority_is_believed_and_only_then() {
    let files = certificates(&["127.0.0.1"]);
    let Some(cassandra) = Cassandra::start("cassandra-tls", Some(files.path())).await else {
        return;
    };
    let server = store(cassandra.addresses[0]);
    let ca = |file| ("--cql-ca", path(files.path(), file));
    migrate(&[server.clone(), ca("ca.pem")]).await;
    chats(&[server.clone(), ca("ca.pem")]).await;

    let other = refused("migrate", &[server.clone(), ca("other.pem")]);
    assert!(other.contains("was not issued by an authority of cql-ca"), "{other}");
    let plain = refused("migrate", std::slice::from_ref(&server));
    assert!(plain.contains("if this port wants TLS, give cql-ca"), "{plain}");
    let missing = refused("migrate", &[server.clone(), ca("nowhere.pem")]);
    assert!(missing.contains("nowhere.pem"), "{missing}");
    let name = ("--cql-server-name", "db.example.org".to_owned());
    let named = refused("migrate", &[server, ca("ca.pem"), name]);
    assert!(named.contains("cql-server-name"), "{named}");

    // The other way round: TLS where the server speaks none.
    let environment = Environment::get().expect("it was there a moment ago");
    let clear = refused("migrate", &[store(environment.cql), ca("ca.pem")]);
    assert!(clear.contains("this port does not speak TLS"), "{clear}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cql_server_that_asks_for_a_certificate_gets_it_and_may_have_a_name_in_its_own() {
    let files = certificates(&["db.example.org"]);
    std::fs::write(files.path().join("ask"), "").expect("a file");
    let Some(cassandra) = Cassandra::start("cassandra-tls", Some(files.path())).await else {
        return;
    };
    let flags = [
        store(cassandra.addresses[0]),
        ("--cql-ca", path(files.path(), "ca.pem")),
        ("--cql-server-name", "db.example.org".to_owned()),
        ("--cql-cert", path(files.path(), "own.crt")),
        ("--cql-key", path(files.path(), "own.key")),
    ];
    migrate(&flags).await;
    chats(&flags).await;
    let nobody = refused("migrate", &flags[..3]);
    assert!(nobody.contains("give cql-cert and cql-key"), "{nobody}");
    let address = refused("migrate", &[&flags[..2], &flags[3..]].concat());
    assert!(address.contains("give cql-server-name"), "{address}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_connections_and_says_nothing_is_not_waited_for_for_ever() {
    let files = certificates(&["127.0.0.1"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = store(silent.local_addr().expect("its address"));
    let ca = ("--cql-ca", path(files.path(), "ca.pem"));
    for flags in [vec![server.clone()], vec![server, ca]] {
        let said = tokio::task::spawn_blocking(move || refused("migrate", &flags)).await;
        let said = said.expect("a task");
        assert!(said.contains("no connection to"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_with_tls_is_used_if_its_authority_is_believed_and_only_then() {
    let Some(environment) = Environment::get() else {
        return;
    };
    let files = certificates(&["127.0.0.1"]);
    let Some(redis) = Own::redis_with_tls(&environment, files.path()) else {
        return skip("this redis-server is built without TLS");
    };
    let sessions = |scheme| ("--sessions", format!("{scheme}://{}", redis.address()));
    let ca = |file| ("--redis-ca", path(files.path(), file));
    chats(&[sessions("rediss"), ca("ca.pem")]).await;
    let other = refused("serve", &[sessions("rediss"), ca("other.pem")]);
    assert!(other.contains("was not issued by an authority of redis-ca"), "{other}");
    let plain = refused("serve", &[sessions("redis")]);
    assert!(plain.contains("if this port wants TLS, write rediss://"), "{plain}");
    let missing = refused("serve", &[sessions("rediss"), ca("nowhere.pem")]);
    assert!(missing.contains("nowhere.pem"), "{missing}");
    let environments = Own::redis(&environment);
    let clear = ("--sessions", format!("rediss://{}", environments.address()));
    let clear = refused("serve", &[clear, ca("ca.pem")]);
    assert!(
        clear.contains("if this port does not speak TLS, write redis://"),
        "{clear}"
    );
}
