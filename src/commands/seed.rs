//! `natter seed`: fills a store for load tests: users with ready sessions, rooms, memberships, messages.
//!
//! Nothing is hashed and nobody logs in, so thousands of users take seconds. They have no password: their cookies, in
//! the file that is written, are the only way in. Names, memberships, texts and who says what follow from `--seed`;
//! ids and cookies are random, since a cookie that can be computed is no secret.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tower_sessions::session::Id;

use crate::app::{OpenSessions, OpenStore};
use crate::client::COOKIE;
use crate::config::Config;
use crate::model::message::Author;
use crate::model::{EventId, Message, Name, Role, Room, RoomKind, Timestamp, User};
use crate::sessions::NewSession;
use crate::sessions::password::NO_PASSWORD;
use crate::store::{NewRoom, NewUser, Store};

use super::storage;

/// What to make.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Users, each with a session
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Public rooms; the first user of each owns it
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub rooms: u32,
    /// Members of each room, taken from the users in turn; without it, the users are divided over the rooms
    #[arg(long, value_name = "COUNT")]
    pub members: Option<u32>,
    /// Messages in each room, spread over the last 30 days
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub messages: u32,
    /// Characters in each message
    #[arg(long, value_name = "CHARACTERS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_000))]
    pub size: u32,
    /// Begins the names: users are PREFIX-u0, PREFIX-u1 and so on, rooms PREFIX-r0, PREFIX-r1
    #[arg(long, value_name = "PREFIX", default_value = "bench")]
    pub prefix: String,
    /// What names do not decide follows from this number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// The file for the users, one JSON object per line: username, id, cookie. It is made, readable by you only
    #[arg(long, value_name = "FILE", default_value = "users.jsonl")]
    pub out: PathBuf,
}

/// Writes under way at once; the store commits together what waits together.
const WRITES_AT_ONCE: usize = 512;
/// Users that are made in one call.
const USERS_AT_ONCE: usize = 2_000;
/// Messages that are held before they are stored.
const MESSAGES_AT_ONCE: usize = 20_000;
/// How far back messages reach.
const SPAN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Fills the store.
///
/// # Errors
/// If names of the prefix are in use, the file exists, or the store fails.
pub async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let user_names = names(&arguments.prefix, 'u', arguments.users)?;
    let room_names = names(&arguments.prefix, 'r', arguments.rooms)?;
    let open = OpenStore::open(config).await?;
    let store = &*open.shared();
    refuse_collisions(store, &arguments.prefix, &user_names, &room_names).await?;
    let out = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&arguments.out);
    let out = out.with_context(|| format!("{} can't be made; it must not exist yet", arguments.out.display()))?;

    let users = make_users(store, user_names).await?;
    println!("{} users", users.len());
    let sessions = make_sessions(config, &users).await?;
    write_users(BufWriter::new(out), &users, &sessions)?;
    println!("{} sessions in {}", sessions.len(), arguments.out.display());
    let rooms = make_rooms(store, room_names, &users, arguments).await?;
    println!(
        "{} rooms, {} members in each",
        rooms.len(),
        rooms.first().map_or(0, |(_, members)| members.len())
    );
    let messages = make_messages(&open, &rooms, arguments).await?;
    println!("{messages} messages");
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn names(prefix: &str, kind: char, count: u32) -> anyhow::Result<Vec<Name>> {
    let name = |number| {
        let text = format!("{prefix}-{kind}{number}");
        Name::parse(&text).with_context(|| format!("the prefix makes {text:?}, which is no name"))
    };
    (0..count).map(name).collect()
}

async fn refuse_collisions(store: &dyn Store, prefix: &str, users: &[Name], rooms: &[Name]) -> anyhow::Result<()> {
    let advice = "choose another --prefix or --data-dir";
    for names in users.chunks(USERS_AT_ONCE) {
        if let Some(user) = store.users_by_name(names).await?.first() {
            bail!(
                "there is a user {} already, so {prefix:?} is in use: {advice}",
                user.name
            );
        }
    }
    for name in rooms {
        ensure!(
            store.room_by_name(name).await?.is_none(),
            "there is a room {name} already: {advice}"
        );
    }
    Ok(())
}

async fn make_users(store: &dyn Store, names: Vec<Name>) -> anyhow::Result<Vec<User>> {
    let at = storage::now();
    let mut users = Vec::with_capacity(names.len());
    for some in names.chunks(USERS_AT_ONCE) {
        let new = some.iter().map(|name| NewUser {
            name: name.clone(),
            password_hash: NO_PASSWORD.to_owned(),
            superuser: false,
            at,
        });
        users.extend(store.create_users(new.collect()).await?);
    }
    Ok(users)
}

async fn make_sessions(config: &Config, users: &[User]) -> anyhow::Result<Vec<Id>> {
    let sessions = OpenSessions::open(config).await?;
    let expires_at = storage::now().plus(config.session_life);
    let ids: Vec<Id> = users.iter().map(|_| Id(rand::random())).collect();
    let new = users.iter().zip(&ids).map(|(user, id)| NewSession {
        id: *id,
        user: user.id,
        expires_at,
    });
    sessions.users().create_many(new.collect()).await?;
    sessions.close().await;
    Ok(ids)
}

fn write_users(mut out: BufWriter<std::fs::File>, users: &[User], sessions: &[Id]) -> anyhow::Result<()> {
    for (user, session) in users.iter().zip(sessions) {
        let line = json!({
            "username": user.name,
            "id": user.id,
            "cookie": format!("{COOKIE}={session}"),
        });
        writeln!(out, "{line}")?;
    }
    out.into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(())
}

type RoomAndMembers = (Room, Vec<User>);

async fn make_rooms(
    store: &dyn Store,
    names: Vec<Name>,
    users: &[User],
    arguments: &Arguments,
) -> anyhow::Result<Vec<RoomAndMembers>> {
    let at = storage::now().minus(SPAN);
    let each = match arguments.members {
        Some(members) => usize::try_from(members)?.clamp(1, users.len()),
        None => (users.len() / names.len().max(1)).max(1),
    };
    let rooms = names.into_iter().enumerate().map(|(number, name)| async move {
        let members: Vec<User> = (0..each)
            .map(|i| users[(number * each + i) % users.len()].clone())
            .collect();
        let new = NewRoom {
            name,
            title: String::new(),
            kind: RoomKind::Public,
            owner: members[0].id,
            at,
        };
        let room = store.create_room(new).await?;
        anyhow::Ok((room, members))
    });
    let rooms: Vec<RoomAndMembers> = stream::iter(rooms).buffered(WRITES_AT_ONCE).try_collect().await?;
    let memberships = rooms
        .iter()
        .flat_map(|(room, members)| members.iter().skip(1).map(|user| (room.id, user.id)));
    stream::iter(memberships)
        .map(|(room, user)| store.put_member(room, user, Role::Member, at, None))
        .buffer_unordered(WRITES_AT_ONCE)
        .try_collect::<()>()
        .await?;
    Ok(rooms)
}

/// Makes the messages in the order of their ids, which is how they go into the store fastest: the rooms take turns.
async fn make_messages(store: &OpenStore, rooms: &[RoomAndMembers], arguments: &Arguments) -> anyhow::Result<u64> {
    let mut random = StdRng::seed_from_u64(arguments.seed);
    let total = rooms.len() as u64 * u64::from(arguments.messages);
    let first = storage::now().minus(SPAN).millis();
    let span = u64::try_from(SPAN.as_millis())?;
    let mut stored = 0;
    let mut waiting = Vec::new();
    for number in 0..total {
        let (room, members) = &rooms[usize::try_from(number)? % rooms.len()];
        let author = &members[random.random_range(0..members.len())];
        // A millisecond's ids differ by their counter; beyond 4,096 in one, the hash orders them.
        let at = Timestamp::from_millis(first + span / total.max(1) * number + span % total.max(1) * number / total);
        let counter = u16::try_from(number % 4_096)?;
        waiting.push(Message {
            room: room.id,
            id: EventId::new(at.millis(), counter, random.random()),
            author: Author {
                id: author.id,
                name: author.name.clone(),
            },
            body: text(&mut random, usize::try_from(arguments.size)?),
            reply_to: None,
            mentions: Vec::new(),
            edited_at: None,
            deleted_at: None,
            last_event: None,
        });
        if waiting.len() == MESSAGES_AT_ONCE {
            stored += store.seed_messages(std::mem::take(&mut waiting)).await?;
        }
    }
    Ok(stored + store.seed_messages(waiting).await?)
}

const WORDS: [&str; 32] = [
    "the", "a", "of", "to", "and", "in", "we", "you", "it", "is", "that", "was", "for", "on", "with", "as", "river",
    "lamp", "winter", "garden", "coffee", "train", "letter", "window", "cloud", "bread", "music", "stone", "paper",
    "morning", "street", "boat",
];

/// Words up to exactly so many characters.
fn text(random: &mut StdRng, size: usize) -> String {
    let mut text = String::with_capacity(size + 8);
    while text.len() < size {
        text.push_str(WORDS[random.random_range(0..WORDS.len())]);
        text.push(' ');
    }
    text.truncate(size);
    if text.ends_with(' ') {
        text.pop();
        text.push('.');
    }
    text
}

/// A user of the file that [`run`] writes.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct SeededUser {
    /// The user's name.
    pub username: String,
    /// The user's id.
    pub id: String,
    /// The cookie, as `natter_session=...`.
    pub cookie: String,
}

/// Reads the file that [`run`] writes, at most `limit` users of it.
///
/// # Errors
/// If the file can't be read, or a line is not a user.
pub fn read_users(path: &Path, limit: usize) -> anyhow::Result<Vec<SeededUser>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .take(limit)
        .map(|(number, line)| {
            serde_json::from_str(line).with_context(|| {
                format!(
                    "{}:{}: not a user with username, id and cookie",
                    path.display(),
                    number + 1
                )
            })
        })
        .collect()
}
