//! Every kind of log-in, TLS with both certificates, and what a start says when one is wrong.

use std::path::{Path, PathBuf};

use nkeys::KeyPair;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair as CertificateKey};

use super::super::{ClientCertificate, Login, NatsError};
use super::server;
use super::*;

/// Shows that two nodes with these options hear each other.
async fn carries(options: NatsOptions) {
    let nodes = layers(&options, 2).await;
    let room = RoomId::random();
    nodes[1].join(room).await.expect("it joins");
    let payload = Bytes::from_static(b"hello");
    nodes[0]
        .publish(room, Class::Durable, payload.clone())
        .await
        .expect("it publishes");
    assert_eq!(next_payload(&nodes[1]).await, payload);
}

async fn refused(options: NatsOptions) -> NatsError {
    match NatsLayer::connect(options).await {
        Ok(_) => panic!("it was let in"),
        Err(error) => error,
    }
}

fn with(server: &Server, login: Login) -> NatsOptions {
    NatsOptions {
        login,
        ..server::options(&server.address())
    }
}

fn user(password: &str) -> Login {
    Login::User {
        user: "natter".into(),
        password: password.into(),
    }
}

#[tokio::test]
async fn a_user_and_password() {
    let Some(server) = Server::start(|_| "authorization { user: natter, password: \"a:b@s3cret\" }".into()) else {
        return;
    };
    carries(with(&server, user("a:b@s3cret"))).await;
    let error = refused(with(&server, user("an0ther"))).await.to_string();
    assert!(error.contains("refused the log-in (user and password)"), "{error}");
    assert!(
        error.contains(&format!("127.0.0.1:{}", server.port)) && !error.contains("an0ther"),
        "{error}"
    );
    let error = refused(server::options(&server.address())).await.to_string();
    assert!(error.contains("refused the log-in (without any)"), "{error}");
}

#[tokio::test]
async fn a_token() {
    let Some(server) = Server::start(|_| "authorization { token: s3cret }".into()) else {
        return;
    };
    carries(with(&server, Login::Token("s3cret".into()))).await;
    let error = refused(with(&server, Login::Token("wrong".into()))).await;
    assert!(matches!(error, NatsError::Refused { login: "token", .. }), "{error}");
}

#[tokio::test]
async fn an_nkey() {
    let (key, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let users = format!("authorization {{ users: [ {{ nkey: {} }} ] }}", key.public_key());
    let Some(server) = Server::start(|_| users) else {
        return;
    };
    let with = |seed: String| with(&server, Login::Nkey(seed));
    carries(with(key.seed().expect("a pair with its seed"))).await;
    for wrong in [stranger.seed().expect("a pair with its seed"), "SUnothing".into()] {
        let error = refused(with(wrong.clone())).await;
        assert!(matches!(error, NatsError::Refused { login: "nkey", .. }), "{error}");
        assert!(!error.to_string().contains(&wrong));
    }
}

/// Base64 for addresses, without padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, place| {
            bits << 8 | u32::from(three.get(place).copied().unwrap_or(0))
        });
        for place in 0..=three.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
        }
    }
    text
}

/// A signed token of NATS's own kind.
fn token(issuer: &KeyPair, subject: &KeyPair, claims: &serde_json::Value) -> String {
    let body = serde_json::json!({
        "jti": "natter-test", "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "natter-test",
        "sub": subject.public_key(), "nats": claims,
    });
    let head = base64(br#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", base64(body.to_string().as_bytes()));
    let signature = base64(&issuer.sign(signed.as_bytes()).expect("a pair with its seed"));
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn a_credentials_file() {
    let (operator, account, key) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
    let unlimited = serde_json::json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1, "wildcards": true,
    });
    let operator_claims = serde_json::json!({ "type": "operator", "version": 2 });
    let account_claims = serde_json::json!({ "type": "account", "version": 2, "limits": unlimited });
    let user_claims = serde_json::json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let configuration = format!(
        "operator: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {} }}\n",
        token(&operator, &operator, &operator_claims),
        account.public_key(),
        token(&operator, &account, &account_claims),
    );
    let Some(server) = Server::start(|_| configuration) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("natter.creds");
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        token(&account, &key, &user_claims),
        key.seed().expect("a pair with its seed"),
    );
    std::fs::write(&path, text).expect("a writable folder");
    let with = |path: PathBuf| with(&server, Login::Credentials(path));
    carries(with(path)).await;
    let error = refused(with(folder.path().join("none.creds"))).await.to_string();
    assert!(error.contains("none.creds"), "{error}");
}

#[tokio::test]
async fn a_user_without_the_permissions_is_told_so_at_the_start() {
    for denied in ["publish: { deny: \"*.room.>\" }", "subscribe: { deny: \"*.*.*.*\" }"] {
        let user = format!("user: natter, password: s3cret, permissions: {{ {denied} }}");
        let Some(server) = Server::start(|_| format!("authorization {{ users: [ {{ {user} }} ] }}")) else {
            return;
        };
        let options = with(&server, self::user("s3cret"));
        let error = refused(options.clone()).await;
        assert!(matches!(error, NatsError::Mute { .. }), "{denied}: {error}");
        let error = error.to_string();
        assert!(error.contains(&format!("{}.>", options.prefix)), "{error}");
        assert!(error.to_lowercase().contains("permissions violation"), "{error}");
    }
}

#[tokio::test]
async fn nobody_there() {
    let Some(mut server) = Server::start(|_| String::new()) else {
        return;
    };
    server.kill();
    let mut options = server::options(&server.address());
    options.connect_wait = Duration::from_millis(300);
    let error = refused(options).await;
    assert!(matches!(error, NatsError::Unreachable { .. }), "{error}");
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{}", server.port)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_late_is_waited_for() {
    let Some(mut server) = Server::start(|_| String::new()) else {
        return;
    };
    server.kill();
    let options = server::options(&server.address());
    let connecting = tokio::spawn(NatsLayer::connect(options));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!connecting.is_finished());
    assert!(server.run());
    let layer = connecting.await.expect("no panic").expect("it connects");
    layer.ping().await.expect("it answers");
}

/// An authority of the test's own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, CertificateKey>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = CertificateKey::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// Writes `NAME.pem` and `NAME.key` into the folder.
    fn issue(&self, folder: &Path, name: &str, names: &[&str], purpose: ExtendedKeyUsagePurpose) -> ClientCertificate {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages.push(purpose);
        let key = CertificateKey::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let paths = ClientCertificate {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&paths.certificate, certificate.pem()).expect("a writable folder");
        std::fs::write(&paths.key, key.serialize_pem()).expect("a writable folder");
        paths
    }
}

/// A server with TLS, and the options that fit it but for the certificates.
fn tls_server(authority: &Authority, more: &str) -> Option<(Server, NatsOptions, PathBuf)> {
    let mut ca = PathBuf::new();
    let server = Server::start(|folder| {
        ca = folder.join("ca.pem");
        std::fs::write(&ca, &authority.pem).expect("a writable folder");
        let own = authority.issue(folder, "server", &["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {ca:?}{more} }}",
            own.certificate, own.key
        )
    })?;
    let mut options = server::options(&server.address());
    options.tls = true;
    options.connect_wait = Duration::from_millis(500);
    Some((server, options, ca))
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    let Some((_server, options, ca)) = tls_server(&Authority::new(), "") else {
        return;
    };
    let error = refused(options.clone()).await.to_string();
    assert!(
        error.contains("certificate"),
        "the system's authorities do not know it: {error}"
    );
    let trusting = |ca| NatsOptions {
        ca: Some(ca),
        connect_wait: Duration::from_secs(30),
        ..options.clone()
    };
    carries(trusting(ca.clone())).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let other = folder.path().join("other.pem");
    std::fs::write(&other, Authority::new().pem).expect("a writable folder");
    let error = refused(NatsOptions {
        connect_wait: Duration::from_millis(500),
        ..trusting(other.clone())
    });
    let error = error.await.to_string();
    assert!(error.contains("certificate"), "{error}");
    std::fs::write(&other, "nothing").expect("a writable folder");
    let error = refused(trusting(other)).await.to_string();
    assert!(
        error.contains("other.pem") && error.contains("not a PEM file"),
        "{error}"
    );
}

#[tokio::test]
async fn tls_with_a_client_certificate() {
    let authority = Authority::new();
    let Some((_server, mut options, ca)) = tls_server(&authority, ", verify: true") else {
        return;
    };
    options.ca = Some(ca);
    let error = refused(options.clone()).await;
    assert!(matches!(error, NatsError::Unreachable { .. }), "{error}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let own = authority.issue(
        folder.path(),
        "natter",
        &["natter"],
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    options.client_certificate = Some(own);
    options.connect_wait = Duration::from_secs(30);
    carries(options).await;
}

#[tokio::test]
async fn tls_is_not_left_out_by_a_server_without_it() {
    let Some(server) = Server::start(|_| String::new()) else {
        return;
    };
    let mut options = server::options(&server.address());
    options.tls = true;
    options.connect_wait = Duration::from_millis(500);
    let error = refused(options).await;
    assert!(matches!(error, NatsError::Unreachable { .. }), "{error}");
}
