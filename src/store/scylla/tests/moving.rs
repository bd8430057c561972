//! Moving in and out: archives between the embedded store and a cluster, and filling in bulk.

use std::sync::Arc;

use super::{Node, options};
use crate::model::{
    Author, Change, ChangeKind, EventId, Message, Name, NewMessage, Nonce, Role, RoomKind, SharedClock, SystemTime,
    Timestamp, User, WallClock as _,
};
use crate::store::scylla::{BucketLimits, ScyllaOptions, ScyllaStore, Tuning, migrate};
use crate::store::sqlite::SqliteStore;
use crate::store::{Invite, MessageStore as _, NewAuditEntry, NewRoom, NewUser, Range, Store};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

async fn user(store: &dyn Store, text: &str) -> User {
    let user = NewUser {
        name: name(text),
        password_hash: format!("hash of {text}"),
        superuser: text == "ann",
        at: Timestamp::from_millis(1_790_000_000_000),
    };
    store.create_user(user, None).await.unwrap()
}

/// Fills a store with one of everything.
async fn furnish(store: &dyn Store) {
    let at = SystemTime.now();
    let (ann, bob, eve) = (
        user(store, "ann").await,
        user(store, "bob").await,
        user(store, "eve").await,
    );
    store.set_disabled(eve.id, true).await.unwrap();
    store.set_last_seen(vec![(bob.id, at)]).await.unwrap();
    let invite = Invite {
        code: "code".into(),
        by: ann.id,
        uses_left: 3,
        expires_at: at.plus(std::time::Duration::from_secs(60)),
    };
    store.create_invite(invite).await.unwrap();
    let room = NewRoom {
        name: name("Foyer"),
        title: "Über alles".into(),
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
        body: body.into(),
        nonce: nonce.and_then(Nonce::parse),
        retry: false,
        reply_to: None,
        mentions: vec![ann.id],
    };
    let batch = vec![
        message(room.id, "one \u{1f600}", Some("n1")),
        message(room.id, "two", None),
        message(direct.id, "three", None),
    ];
    let mut ids = Vec::new();
    for appended in store.append(batch).await {
        ids.push(appended.unwrap().message.id);
    }
    store.set_read_marker(room.id, ann.id, ids[0]).await.unwrap();
    for (message, kind) in [
        (
            ids[0],
            ChangeKind::Edit {
                body: "uno".into(),
                mentions: vec![],
            },
        ),
        (
            ids[1],
            ChangeKind::Edit {
                body: "due".into(),
                mentions: vec![],
            },
        ),
        (ids[1], ChangeKind::Delete),
    ] {
        let (room, by) = (room.id, bob.id);
        store
            .change(Change {
                room,
                message,
                by,
                kind,
            })
            .await
            .unwrap();
    }
    let entry = NewAuditEntry {
        actor: Some(ann.id),
        actor_name: "ann".into(),
        action: "user.disable".into(),
        target: "eve".into(),
        detail: String::new(),
    };
    store.append_audit(entry).await.unwrap();
}

/// The lines of an archive that hold data, in an order that no store decides.
fn lines(archive: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(archive).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn keyspace() -> Option<(ScyllaOptions, Arc<ScyllaStore>)> {
    let options = options(&format!("natter_test_{:08x}", rand::random::<u32>()))?;
    migrate(&options).await.unwrap();
    let clock = Arc::new(SharedClock::new(Arc::new(SystemTime)));
    let store = ScyllaStore::connect(&options, clock).await.unwrap();
    Some((options, store))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_goes_from_a_file_to_a_cluster_and_back_without_a_change() {
    let Some((_, cluster)) = keyspace().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.db", "second.db"].map(|file| folder.path().join(file));
    let embedded = SqliteStore::open(&first, Arc::new(SystemTime)).unwrap();
    furnish(&*embedded).await;
    embedded.close().await;
    let now = SystemTime.now();
    let (_, out) = crate::store::sqlite::archive::export(&first, Vec::new(), now).unwrap();

    let records = cluster.import(out.as_slice()).await.unwrap();
    let (written, moved) = cluster.export(Vec::new(), now).await.unwrap();
    assert_eq!(records, written);
    assert_eq!(lines(&moved), lines(&out));
    let again = cluster.import(out.as_slice()).await.unwrap_err().to_string();
    assert!(again.contains("already holds users"), "{again}");

    SqliteStore::open(&second, Arc::new(SystemTime)).unwrap().close().await;
    crate::store::sqlite::archive::import(&second, moved.as_slice()).unwrap();
    let (_, back) = crate::store::sqlite::archive::export(&second, Vec::new(), now).unwrap();
    assert_eq!(
        back.split(|b| *b == b'\n').skip(1).collect::<Vec<_>>(),
        out.split(|b| *b == b'\n').skip(1).collect::<Vec<_>>()
    );

    // What is imported is in use: names are taken, and a retry finds what it sent before the move.
    let bob = crate::store::AccountStore::user_by_name(&*cluster, &name("BOB"))
        .await
        .unwrap()
        .unwrap();
    let foyer = crate::store::RoomStore::room_by_name(&*cluster, &name("foyer"))
        .await
        .unwrap()
        .unwrap();
    let retry = NewMessage {
        room: foyer.id,
        author: Author {
            id: bob.id,
            name: bob.name,
        },
        body: "one \u{1f600}".into(),
        nonce: Nonce::parse("n1"),
        retry: true,
        reply_to: None,
        mentions: vec![],
    };
    let retried = cluster.append(vec![retry]).await.remove(0).unwrap();
    assert_eq!((retried.fresh, retried.message.body.as_str()), (false, "uno"));
    let next = cluster.page(foyer.id, Range::Latest, 10).await.unwrap();
    assert_eq!(next.messages.len(), 2);
    assert_eq!(cluster.totals().await.unwrap().messages, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_bulk_begin_buckets_where_they_are_full() {
    let tuning = Tuning {
        buckets: BucketLimits {
            rows: 500,
            ..BucketLimits::REAL
        },
        ..Tuning::default()
    };
    let Some(node) = Node::new(Arc::new(SystemTime), tuning).await else {
        return;
    };
    let begin = SystemTime.now().millis() - 10_000_000;
    let messages: Vec<Message> = (0..2_000)
        .map(|nth| Message {
            room: node.room,
            id: EventId::new(begin + nth * 100, 0, nth),
            author: node.author.clone(),
            body: format!("message {nth}"),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted_at: None,
            last_event: None,
        })
        .collect();
    assert_eq!(node.store.seed_messages(messages.clone()).await.unwrap(), 2_000);
    let cold = node.peer(Arc::new(SystemTime)).await;
    let found = cold.store.page(node.room, Range::Latest, 3_000).await.unwrap();
    assert!(found.messages == messages && !found.has_more);
    let spread = super::storage::rows_of_buckets(&cold).await;
    assert_eq!(spread.iter().map(|(_, rows)| *rows).collect::<Vec<_>>(), [500; 4]);
    let said = node.say("after it").await;
    assert!(said.id > messages[1_999].id);
}
