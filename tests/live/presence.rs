//! Who is here: in rooms, and of people.

use serde_json::json;

use crate::common::{Server, Sock, within};

/// Waits for presence frames until this many are said to be here.
async fn counted(socket: &mut Sock, count: u64) -> (Vec<String>, Vec<String>) {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    within("presence", async {
        loop {
            let frame = socket.until("presence").await;
            for (names, key) in [(&mut joined, "joined"), (&mut left, "left")] {
                let told = frame[key].as_array().into_iter().flatten();
                names.extend(told.map(|name| name.as_str().unwrap().to_owned()));
            }
            if frame["count"] == count {
                return;
            }
        }
    })
    .await;
    (joined, left)
}

#[tokio::test]
async fn a_room_tells_who_came_and_who_went() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut watcher = server.room("hall", &ann).await;
    let first = server.room("hall", &bob).await;
    let (joined, _) = counted(&mut watcher, 2).await;
    assert!(joined.contains(&bob.username), "{joined:?}");
    // A second connection of the same person is nobody new, and the end of one of two is no departure.
    let second = server.room("hall", &bob).await;
    drop(first);
    drop(second);
    let (joined, left) = counted(&mut watcher, 1).await;
    assert_eq!((joined, left), (vec![], vec![bob.username.clone()]));
}

#[tokio::test]
async fn a_direct_conversation_tells_whether_the_other_is_online() {
    let server = Server::start();
    let ann = server.user("ann").await;
    let bob = server.user("bob").await;
    let mut watcher = server.socket(&format!("/ws/direct/{}/", bob.username), &ann).await;
    watcher.until("live").await;
    for online in [true, false] {
        let socket = if online {
            Some(server.socket("/ws", &bob).await)
        } else {
            None
        };
        let frame = within("presence of a person", async {
            loop {
                let frame = watcher.until("presence").await;
                if frame["user"] == json!(bob.username) && frame["online"] == online {
                    return frame;
                }
            }
        })
        .await;
        assert_eq!(frame["user_id"], json!(bob.id));
        drop(socket);
    }
}
