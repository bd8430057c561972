//! The commands on embedded storage, each on a folder of its own.

use std::process::ExitCode;
use std::sync::Arc;

use tempfile::TempDir;
use tower_sessions::SessionStore as _;

use super::{archive, check, createsuperuser, healthcheck, migrate, seed, storage};
use crate::admin::{Checks, Health, Heartbeat, Operators};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::model::message::Author;
use crate::model::{Change, ChangeKind, Name, NewMessage, Nonce, Role, RoomKind, SystemTime};
use crate::sessions::USER_KEY;
use crate::sessions::sqlite::SqliteSessions;
use crate::shutdown::{Phase, Token};
use crate::store::sqlite::SqliteStore;
use crate::store::{
    AccountStore as _, AuditStore as _, Invite, MessageStore as _, NewAuditEntry, NewRoom, NewUser, Range,
    RoomStore as _, Store as _,
};

fn config() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::for_directory(&folder.path().join("data")).unwrap();
    (folder, config)
}

fn open_store(config: &Config) -> anyhow::Result<Arc<SqliteStore>> {
    Ok(SqliteStore::open(&config.store_path().unwrap(), Arc::new(SystemTime))?)
}

fn open_sessions(config: &Config) -> anyhow::Result<SqliteSessions> {
    Ok(SqliteSessions::open(
        &config.sessions_path().unwrap(),
        Arc::new(SystemTime),
    )?)
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn new_user(text: &str) -> NewUser {
    NewUser {
        name: name(text),
        password_hash: "!".to_owned(),
        superuser: false,
        at: storage::now(),
    }
}

fn seed_arguments(folder: &TempDir) -> seed::Arguments {
    seed::Arguments {
        users: 50,
        rooms: 4,
        members: Some(20),
        messages: 30,
        size: 40,
        prefix: "bench".to_owned(),
        seed: 7,
        out: folder.path().join("users.jsonl"),
    }
}

#[tokio::test]
async fn seed_makes_users_whose_cookies_are_sessions_and_refuses_a_second_time() {
    let (folder, config) = config();
    let arguments = seed_arguments(&folder);
    seed::run(&config, &arguments).await.unwrap();
    let users = seed::read_users(&arguments.out, 1_000).unwrap();
    assert_eq!((users.len(), users[3].username.as_str()), (50, "bench-u3"));
    let sessions = open_sessions(&config).unwrap();
    let value = users[3].cookie.strip_prefix("natter_session=").unwrap();
    let record = sessions.load(&value.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(record.data[USER_KEY], users[3].id.as_str());

    let store = open_store(&config).unwrap();
    let room = store.room_by_name(&name("bench-r2")).await.unwrap().unwrap();
    assert_eq!(store.member_count(room.id).await.unwrap(), 20);
    let page = store.page(room.id, Range::Latest, 100).await.unwrap();
    assert_eq!(page.messages.len(), 30);
    assert!(page.messages.iter().all(|message| message.body.len() == 40));
    assert!(page.messages.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(store.totals().await.unwrap().messages, 120);

    let again = seed::Arguments {
        out: folder.path().join("other.jsonl"),
        ..arguments
    };
    let error = seed::run(&config, &again).await.unwrap_err().to_string();
    assert!(error.contains("bench-u0") && error.contains("--prefix"), "{error}");
    assert!(!again.out.exists());
}

#[tokio::test]
async fn the_same_seed_says_the_same() {
    let mut texts = Vec::new();
    for _ in 0..2 {
        let (folder, config) = config();
        seed::run(&config, &seed_arguments(&folder)).await.unwrap();
        let store = open_store(&config).unwrap();
        let room = store.room_by_name(&name("bench-r1")).await.unwrap().unwrap();
        let page = store.page(room.id, Range::Latest, 100).await.unwrap();
        texts.push(
            page.messages
                .into_iter()
                .map(|m| (m.author.name, m.body))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(texts[0], texts[1]);
}

/// Something of everything that an archive carries.
async fn fill(config: &Config) {
    let store = open_store(config).unwrap();
    let at = storage::now();
    let ann = store.create_user(new_user("Ann"), None).await.unwrap();
    let bob = store.create_user(new_user("bob"), None).await.unwrap();
    let eve = store.create_user(new_user("eve"), None).await.unwrap();
    store.set_superuser(ann.id, true).await.unwrap();
    store.set_disabled(eve.id, true).await.unwrap();
    store.set_last_seen(vec![(bob.id, at)]).await.unwrap();
    let invite = Invite {
        code: "welcome".to_owned(),
        by: ann.id,
        uses_left: 3,
        expires_at: at.plus(config.session_life),
    };
    store.create_invite(invite).await.unwrap();
    let room = NewRoom {
        name: name("Lobby"),
        title: "Das Foyer".to_owned(),
        kind: RoomKind::Private,
        owner: ann.id,
        at,
    };
    let room = store.create_room(room).await.unwrap();
    let (direct, _) = store.open_direct(ann.id, bob.id, at).await.unwrap();
    store
        .put_member(room.id, bob.id, Role::Moderator, at, None)
        .await
        .unwrap();
    store.ban(room.id, eve.id, ann.id, at).await.unwrap();
    let message = |room, body: &str, nonce: Option<&str>| NewMessage {
        room,
        author: Author {
            id: bob.id,
            name: bob.name.clone(),
        },
        body: body.to_owned(),
        nonce: nonce.and_then(Nonce::parse),
        retry: false,
        reply_to: None,
        mentions: vec![ann.id],
    };
    let batch = vec![
        message(room.id, "one \u{1f600} \"quoted\"\n", Some("n1")),
        message(room.id, "two", None),
        message(direct.id, "three", None),
    ];
    let mut ids = Vec::new();
    for appended in store.append(batch).await {
        ids.push(appended.unwrap().message.id);
    }
    store.set_read_marker(room.id, ann.id, ids[0]).await.unwrap();
    let change = |message, kind| Change {
        room: room.id,
        message,
        by: bob.id,
        kind,
    };
    let edit = ChangeKind::Edit {
        body: "uno".to_owned(),
        mentions: vec![],
    };
    store.change(change(ids[0], edit)).await.unwrap();
    store.change(change(ids[1], ChangeKind::Delete)).await.unwrap();
    let entry = NewAuditEntry {
        actor: Some(ann.id),
        actor_name: "Ann".to_owned(),
        action: "user.disable".to_owned(),
        target: "user eve".to_owned(),
        detail: String::new(),
    };
    store.append_audit(entry).await.unwrap();
    store.close().await;
}

/// An archive without its first line, which tells when it was made.
fn body(path: &std::path::Path) -> String {
    std::fs::read_to_string(path)
        .unwrap()
        .split_once('\n')
        .unwrap()
        .1
        .to_owned()
}

#[tokio::test]
async fn an_archive_carries_everything_there_and_back() {
    let (folder, from) = config();
    let (_other, to) = config();
    fill(&from).await;
    let first = folder.path().join("first.jsonl");
    let second = folder.path().join("second.jsonl");
    archive::export(&from, &archive::ExportArguments { file: first.clone() })
        .await
        .unwrap();
    archive::import(&to, &archive::ImportArguments { file: first.clone() })
        .await
        .unwrap();
    archive::export(&to, &archive::ExportArguments { file: second.clone() })
        .await
        .unwrap();
    assert_eq!(body(&first), body(&second));
    for kind in [
        "user", "invite", "room", "member", "ban", "marker", "message", "event", "audit", "end",
    ] {
        assert!(
            body(&first).contains(&format!("{{\"record\":\"{kind}\"")),
            "{kind} is missing"
        );
    }

    let store = open_store(&to).unwrap();
    let room = store.room_by_name(&name("lobby")).await.unwrap().unwrap();
    let page = store.page(room.id, Range::Latest, 10).await.unwrap();
    assert_eq!(
        (page.messages[0].body.as_str(), page.messages[1].body.as_str()),
        ("uno", "")
    );
    assert_eq!(store.totals().await.unwrap().messages, 3);
    assert_eq!(store.all_rooms("foyer", None, 10).await.unwrap().len(), 1);
    // What is said next comes after what was imported.
    let bob = store.user_by_name(&name("bob")).await.unwrap().unwrap();
    let next = NewMessage {
        room: room.id,
        author: Author {
            id: bob.id,
            name: bob.name,
        },
        body: "next".to_owned(),
        nonce: None,
        retry: false,
        reply_to: None,
        mentions: vec![],
    };
    assert!(store.append(vec![next]).await.remove(0).is_ok());
    let page = store.page(room.id, Range::Latest, 10).await.unwrap();
    assert_eq!(page.messages.last().unwrap().body, "next");
}

#[tokio::test]
async fn an_archive_is_read_whole_into_an_empty_store_or_not_at_all() {
    let (folder, from) = config();
    fill(&from).await;
    let whole = folder.path().join("whole.jsonl");
    archive::export(&from, &archive::ExportArguments { file: whole.clone() })
        .await
        .unwrap();
    let full = archive::import(&from, &archive::ImportArguments { file: whole.clone() })
        .await
        .unwrap_err();
    assert!(full.to_string().contains("--data-dir"), "{full}");

    let (_other, to) = config();
    let cut = folder.path().join("cut.jsonl");
    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&cut, lines[..lines.len() - 2].join("\n") + "\n").unwrap();
    let error = archive::import(&to, &archive::ImportArguments { file: cut })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
    let store = open_store(&to).unwrap();
    assert_eq!(store.totals().await.unwrap().users, 0);
    let again = archive::export(&from, &archive::ExportArguments { file: whole })
        .await
        .unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
}

#[tokio::test]
async fn a_user_is_promoted_once_and_the_audit_log_has_it() {
    let (_folder, config) = config();
    let arguments = createsuperuser::Arguments {
        username: Some("Ann".to_owned()),
    };
    let store = open_store(&config).unwrap();
    store.create_user(new_user("ann"), None).await.unwrap();
    for _ in 0..2 {
        // The store stays open meanwhile, as a running server's would.
        createsuperuser::run(&config, &arguments).await.unwrap();
    }
    assert!(store.user_by_name(&name("ann")).await.unwrap().unwrap().superuser);
    let audit = store.audit(None, 10).await.unwrap();
    assert_eq!(audit.len(), 1);
    assert_eq!(
        (audit[0].actor, audit[0].action.as_str(), audit[0].target.as_str()),
        (None, "user.superuser", "user ann")
    );
    let wrong = createsuperuser::Arguments {
        username: Some("a b".to_owned()),
    };
    let error = createsuperuser::run(&config, &wrong).await.unwrap_err().to_string();
    assert!(error.contains("\"a b\" can't be a user's name"), "{error}");
}

#[tokio::test]
async fn check_changes_nothing_and_finds_what_is_wrong() {
    let (_folder, config) = config();
    assert_eq!(check::run(&config).await.unwrap(), ExitCode::SUCCESS);
    assert!(!config.data_dir.exists());
    migrate::run(&config).await.unwrap();
    assert_eq!(check::run(&config).await.unwrap(), ExitCode::SUCCESS);
    std::fs::write(
        config.store_path().unwrap(),
        "this is no database, but long enough to be looked at as if it were one",
    )
    .unwrap();
    assert_eq!(check::run(&config).await.unwrap(), ExitCode::FAILURE);
}

#[tokio::test]
async fn healthcheck_tells_ready_from_alive() {
    let (_folder, config) = config();
    let token = Token::new();
    let health = Health::new(Heartbeat::default(), Checks::new(), token.clone());
    let operators = Operators::start(config.admin_listen, Arc::new(Metrics::new()), health).unwrap();
    let ask = async |live| {
        let url = Some(format!("http://{}", operators.address()));
        healthcheck::run(&config, &healthcheck::Arguments { live, url }).await
    };
    assert_eq!(ask(false).await.unwrap(), ExitCode::SUCCESS);
    token.advance(Phase::Draining);
    let error = ask(false).await.unwrap_err().to_string();
    assert!(
        error.contains("/readyz") && error.contains("503") && error.contains("stopping"),
        "{error}"
    );
    assert_eq!(ask(true).await.unwrap(), ExitCode::SUCCESS);
}
