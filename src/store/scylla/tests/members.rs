//! What lists of members cost.

use std::sync::atomic::Ordering;

use super::Node;
use crate::model::{Name, Role, Timestamp};
use crate::store::{AccountStore as _, NewUser, RoomStore as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_list_of_members_does_not_stop_at_each_that_has_left() {
    const LEFT: usize = 60;
    let Some(node) = Node::plain().await else { return };
    let (store, tag) = (&node.store, rand::random::<u32>());
    let at = Timestamp::from_millis(1_800_000_000_000);
    let new = |n: usize| NewUser {
        name: Name::parse(&format!("u{tag:08x}-{n:03}")).unwrap(),
        password_hash: "!".into(),
        superuser: false,
        at,
    };
    let users = store.create_users((0..=LEFT).map(new).collect()).await.unwrap();
    for user in &users {
        store
            .put_member(node.room, user.id, Role::Member, at, None)
            .await
            .unwrap();
    }
    for user in &users[..LEFT] {
        store.end_member(node.room, user.id).await.unwrap();
    }
    let counters = store.counters();
    let reads = || counters.range_reads.load(Ordering::Relaxed) + counters.other_reads.load(Ordering::Relaxed);
    let before = reads();
    let found = store.members(node.room, "", None, 1).await.unwrap();
    assert_eq!(
        found.iter().map(|member| member.user).collect::<Vec<_>>(),
        [users[LEFT].id]
    );
    assert!(
        reads() - before <= 2,
        "{} reads past {LEFT} that have left",
        reads() - before
    );
    let (one, last) = (users[0].id, users[LEFT].id);
    assert_eq!(store.rooms_entered(one).await, Ok(1), "who has left may be counted");
    assert_eq!(store.rooms_of(one).await.unwrap(), []);
    assert_eq!(store.rooms_entered(last).await, Ok(1));
}
