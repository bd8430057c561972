//! Who is here, on every node, and that a dead node's people are not.

use std::collections::BTreeSet;

use crate::common::{Sock, within};
use crate::world::Cluster;

/// Follows presence until exactly these people are here; `known` is who was.
async fn until_here(socket: &mut Sock, known: &mut BTreeSet<String>, wanted: &BTreeSet<String>) {
    within(&format!("the presence of {wanted:?}"), async {
        while known != wanted {
            let frame = socket.until("presence").await;
            let names = |key: &str| {
                let told = frame[key].as_array().into_iter().flatten();
                told.map(|name| name.as_str().expect("a name").to_owned())
                    .collect::<Vec<_>>()
            };
            known.extend(names("joined"));
            for name in names("left") {
                known.remove(&name);
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_every_node_are_here_until_their_node_dies() {
    let Some(mut cluster) = Cluster::start(3).await else {
        return;
    };
    let room = cluster.name("hall");
    let mut users = Vec::new();
    for node in 0..3 {
        users.push(cluster.user(node, "user").await);
    }
    let names = |list: &[usize]| {
        list.iter()
            .map(|&n| users[n].username.clone())
            .collect::<BTreeSet<String>>()
    };
    let mut watcher = cluster.server(0).room(&room, &users[0]).await;
    let mut known = names(&[0]);
    let _second = cluster.server(1).room(&room, &users[1]).await;
    until_here(&mut watcher, &mut known, &names(&[0, 1])).await;
    let third = cluster.server(2).room(&room, &users[2]).await;
    until_here(&mut watcher, &mut known, &names(&[0, 1, 2])).await;
    drop(third);
    until_here(&mut watcher, &mut known, &names(&[0, 1])).await;
    cluster.nodes[1].server.kill();
    until_here(&mut watcher, &mut known, &names(&[0])).await;
}
