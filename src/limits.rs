//! Every bound of the server in one place: each queue, buffer, map and request, with its unit and what happens at it.

use std::num::NonZeroUsize;
use std::time::Duration;

/// So many at once, then one more each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many pass at once.
    pub burst: u32,
    /// The time in which one more becomes free.
    pub every: Duration,
}

impl Rate {
    /// So many at once, and as many again over each `span`.
    #[must_use]
    pub const fn per(count: u32, span: Duration) -> Self {
        Self {
            burst: count,
            every: Duration::from_nanos(span.as_secs() * 1_000_000_000 / count as u64),
        }
    }
}

/// A few tries, then waits that double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growing {
    /// Tries without a wait.
    pub free: u32,
    /// The first wait after them.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// How long after the end of its wait a key is remembered.
    pub kept: Duration,
}

/// Bytes in one client frame or fragmented message; beyond it the socket is closed with 1009.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes that the server holds for one connection beyond the kernel's buffer; beyond it the connection is marked
/// behind and catches up from the ring or the store.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024;
/// Part of the outbox that is kept for answers; room events may fill the rest.
pub const ANSWER_BYTES_RESERVED: usize = 16 * 1024;
/// Sockets of which the kernel tells at once that they are ready; others are told of right after.
pub const READY_AT_ONCE: usize = 1_024;
/// Bytes of frames merged into one write; larger bursts go in several.
pub const BURST_BYTES_MAX: usize = 32 * 1024;
/// How long a closed socket is still read, so that its close frame arrives.
pub const LINGER: Duration = Duration::from_secs(1);
/// Bytes thrown away in that time at most.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Rooms that one connection may have joined; one more is refused with `room_limit`.
pub const ROOMS_PER_CONNECTION_MAX: usize = 500;
/// Names listed in `joined` and in presence frames; beyond it only the count is told.
pub const PRESENT_NAMES_MAX: usize = 100;
/// Messages of a first join.
pub const JOIN_MESSAGES: usize = 50;
/// Events beyond the cursor that are replayed; more yields `reset`.
pub const REPLAY_EVENTS_MAX: usize = 1_000;
/// How far before the cursor a replay begins (DESIGN: clock difference, write age, silence, hold, reserve).
pub const CATCH_UP_SPAN: Duration = Duration::from_secs(30);
/// How old a cursor may be; older yields `reset`.
pub const EVENT_DAYS_MAX: u64 = 30;
/// Events that a room's ring keeps; older ones are read from the store.
pub const RING_EVENTS_MAX: usize = 1_024;
/// Events that a ring keeps right after a resume had to read the store; the next event trims it.
pub const RING_EXTENDED_EVENTS_MAX: usize = 4_096;
/// Bytes of frames that a room's ring keeps.
pub const RING_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of frames that a ring keeps right after a resume had to read the store; the next event trims it.
pub const RING_EXTENDED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a room without local members stays active, so that a reload costs no store read.
pub const ROOM_LINGER: Duration = Duration::from_secs(30);
/// Commands waiting for one room's task; senders wait beyond it, which stops the reading of their sockets.
pub const ROOM_QUEUE_MAX: usize = 1_024;
/// Sends waiting for a room's next append; one more is answered `refused`.
pub const ROOM_WRITES_MAX: usize = 8_192;
/// Sends of one connection that may be under way; beyond it the socket is not read.
pub const SENDS_IN_FLIGHT_PER_CONNECTION: usize = 32;
/// A write that takes longer than this after its id was made is announced again as late.
pub const LATE_AFTER: Duration = Duration::from_secs(5);
/// A send undecided for this long is answered `unknown_outcome`.
pub const SEND_DECISION: Duration = Duration::from_secs(5);
/// How often the server pings, and how long a silent connection is kept.
pub const PING_INTERVAL: Duration = Duration::from_secs(25);
/// A connection that was not heard for this long is closed with 4002.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A connection that takes nothing for this long while something waits is closed with 4001.
pub const NO_PROGRESS_MAX: Duration = Duration::from_secs(60);
/// How long it may take to learn whether a session that seems to have expired was used elsewhere; beyond it, it has
/// expired.
pub const EXPIRY_PATIENCE: Duration = Duration::from_millis(500);
/// How often each live connection's session is checked again.
pub const SESSION_RECHECK: Duration = Duration::from_secs(60);
/// At most one presence frame per room in this time.
pub const PRESENCE_INTERVAL: Duration = Duration::from_secs(1);
/// At most one typing event per user and room in this time; more are dropped.
pub const TYPING_INTERVAL: Duration = Duration::from_secs(2);
/// Messages in one page of history.
pub const PAGE_MAX: usize = 200;
/// Messages in one page of history when nothing is asked.
pub const PAGE_DEFAULT: usize = 50;
/// Unread messages are counted up to this.
pub const UNREAD_MAX: usize = 100;
/// Messages looked at for one unread count; beyond it older ones are not counted.
pub const UNREAD_SCAN_MAX: usize = 1_000;
/// Bytes of one HTTP request's body; beyond it 413.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one HTTP request's head.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take to send a request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that one process accepts; beyond it a new one waits in the kernel.
pub const CONNECTIONS_MAX: usize = 100_000;
/// Jobs waiting for the SQLite writer thread; senders wait beyond it.
pub const WRITER_QUEUE_MAX: usize = 4_096;
/// Jobs in one SQLite transaction.
pub const WRITER_BATCH_MAX: usize = 512;
/// Rows that a bulk write puts into one transaction; more are split.
pub const SEED_ROWS_PER_WRITE: usize = 2_000;
/// Threads for what blocks: reads of SQLite, password hashes, files, names of hosts; what comes beyond them waits. Each
/// keeps memory of its own for as long as it lives.
pub const BLOCKING_THREADS_MAX: usize = 16;
/// SQLite connections that only read; reads wait for one.
pub const READERS: usize = 4;
/// How long a CQL server may take for one statement; beyond it a read is refused and a write's outcome is unknown.
pub const CQL_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long an attempt to open the store may take; beyond it the next one begins.
pub const CQL_OPEN: Duration = Duration::from_secs(8);
/// Attempts to open the store that get no answer; after them the server counts as out of reach.
pub const CQL_OPEN_ATTEMPTS: u32 = 2;
/// After so long without an answer a statement that can be applied twice is given to a second CQL server as well.
pub const CQL_SECOND_SERVER_AFTER: Duration = Duration::from_millis(500);
/// Statements that may be given to a second CQL server beyond those that others earn by being answered in time; beyond
/// them a slow statement is given to one alone.
pub const CQL_SECOND_SERVERS_MAX: u32 = 100;
/// Connections to each CQL server; a server with shards gets at least one for each of them.
pub const CQL_CONNECTIONS_PER_NODE: NonZeroUsize = NonZeroUsize::new(4).expect("four");
/// Bytes of messages, with 128 for each besides its text, that are written as one batch at most. Cassandra warns of batches
/// of more than 5 KiB (cassandra.yaml, `batch_size_warn_threshold`).
pub const CQL_BATCH_BYTES: usize = 4 * 1024;
/// How long what one author says at once may take to be written one after the other; the rest is refused, since the room
/// waits for it.
pub const APPEND_LINE: Duration = Duration::from_secs(2);
/// Rows that a CQL server sends in one piece.
pub const CQL_PAGE_ROWS: i32 = 1_000;
/// Rooms whose buckets one process remembers; beyond it some are read again when they are needed.
pub const BUCKET_INDEXES_MAX: usize = 65_536;
/// Rooms searched for a message of which only the id is known; if more spoke in its hour, the search is refused.
pub const HOUR_ROOMS_MAX: usize = 20_000;
/// Entries of a directory looked at in one search; rooms that stand further back are not found.
pub const DIRECTORY_SCAN_MAX: usize = 20_000;
/// Password hashes under way at once; others wait, and beyond the waiting room they are refused.
pub const HASHES_AT_ONCE: usize = 2;
/// Log-ins waiting for a hash; one more is answered 503.
pub const HASHES_WAITING_MAX: usize = 64;
/// A nonce is remembered for this long.
pub const NONCE_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Entries that the in-process control log keeps; a reader that is further behind is told so.
pub const CONTROL_LOG_MAX: usize = 10_000;
/// How long acting on the control log waits for the store to say what became of a room; beyond it the room is looked at
/// again beside, and further entries are acted on.
pub const ROOM_LOOK_PATIENCE: Duration = Duration::from_millis(500);
/// How long a revocation waits for all nodes before it is answered all the same.
pub const REVOCATION_WAIT: Duration = Duration::from_secs(5);
/// A node reads the control log, and so renews its lease there, at least this often.
pub const LEASE_RENEWAL: Duration = Duration::from_secs(1);
/// How long a node keeps its place in the control log, and is waited for, after it was last seen there or heard.
pub const LEASE_LIFE: Duration = Duration::from_secs(10);
/// A node delivers and accepts sends on the strength of a proof for this long, counted from before it was asked for.
pub const DELIVERY_LEASE: Duration = Duration::from_secs(3);
/// How long after a node has told the others of itself their hearing it may take.
pub const INTRODUCTION: Duration = Duration::from_secs(1);
/// Where no node reaches the control log, a node delivers only while it hears every node that it has known this long
/// before its last reading, but for those that said goodbye.
pub const LEASE_MEMORY: Duration = Duration::from_secs(10 * 60);
/// Sessions and memberships that are checked at the same time: each minute's share, those that seem to have expired, and
/// everything after entries of the control log were missed.
pub const RECHECKS_AT_ONCE: usize = 64;
/// Connections whose sessions were lost are closed over this time, so that their users do not come back all at once.
pub const SESSIONS_LOST_SPREAD: Duration = Duration::from_secs(60);
/// How long it is known whose a session was that has ended, unless its end is confirmed before: longer than a node needs to
/// announce it, or to be started again.
pub const ENDED_SESSION_KEPT: Duration = Duration::from_secs(600);
/// Log-outs of sessions that no store knows which may wait for the nodes at once; more are answered 503. They share what
/// they wait for.
pub const CONFIRMATIONS_WAITING_MAX: usize = 1_024;
/// HTTP requests under way that change something, those included whose clients have gone; more are answered 503.
pub const CHANGES_AT_ONCE: usize = 8_192;
/// Stored changes that wait until the control log is in reach; beyond it the oldest is left to whoever repeats it.
pub const OWED_ANNOUNCEMENTS_MAX: usize = 1_024;
/// Own status frames whose time of sending is remembered: an echo of an older one proves nothing any more.
pub const LEASE_FRAMES_MAX: usize = 16;
/// Nodes whose frames the delivery lease remembers; with more, only readings of the control log count.
pub const LEASE_PEERS_MAX: usize = 1_024;
/// What may wait for one node on the channel layer; beyond it, ephemeral payloads first, it is dropped and the loss is
/// reported.
pub const LAYER_QUEUE_MAX: usize = 65_536;
/// Bytes of payloads that may wait there; the same happens beyond them.
pub const LAYER_QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Shards that rooms fall into on NATS; part of their subjects, so it never changes.
pub const LAYER_SHARDS: usize = 256;
/// Client connections that a node opens to NATS.
pub const LAYER_CONNECTIONS: usize = 2;
/// More than these are refused as a mistake.
pub const LAYER_CONNECTIONS_MAX: usize = 16;
/// Messages of one room that the NATS client keeps until they are taken; beyond it they are dropped and the loss is
/// reported.
pub const LAYER_SUBSCRIPTION_QUEUE_MAX: usize = 8_192;
/// Fewer would be dropped by any burst.
pub const LAYER_SUBSCRIPTION_QUEUE_MIN: usize = 16;
/// Messages that wait to be written to one NATS connection; a durable one then waits a moment, an ephemeral one is
/// dropped.
pub const LAYER_COMMANDS_MAX: usize = 2_048;
/// How long a durable message waits for its place there.
pub const LAYER_PUBLISH_WAIT: Duration = Duration::from_millis(500);
/// How long NATS may take to answer before it counts as out of reach.
pub const LAYER_ANSWER_WAIT: Duration = Duration::from_secs(2);
/// How often the NATS client asks the server whether it is there; two unanswered questions end the connection.
pub const LAYER_PING_INTERVAL: Duration = Duration::from_secs(5);
/// How often a node looks at its NATS connections, where no event said that they changed.
pub const LAYER_WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The first wait before NATS is tried again; it doubles, and each is spread by half to either side.
pub const LAYER_RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// No such wait is longer, before it is spread.
pub const LAYER_RECONNECT_DELAY_MAX: Duration = Duration::from_secs(4);
/// How long a starting node tries to reach NATS before it gives up.
pub const LAYER_CONNECT_WAIT: Duration = Duration::from_secs(15);
/// How long a send waits to learn whom its text names; beyond it, it names nobody.
pub const MENTIONS_PATIENCE: Duration = Duration::from_secs(1);
/// How long a name that nobody had is taken for plain text without asking again.
pub const ABSENT_NAME_KEPT: Duration = Duration::from_secs(10);
/// Such names; beyond it those unused for longest are asked for again.
pub const ABSENT_NAMES_MAX: usize = 16_384;
/// Members' names that a list reads in one bite at least: those of former members are passed over.
pub const MEMBERS_BITE_MIN: usize = 100;
/// Mentions looked up in one message; further names stay plain text.
pub const MENTIONS_MAX: usize = 20;
/// A session's life since its last use.
pub const SESSION_LIFE: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// When a session was last seen is written down at most once in this time.
pub const SESSION_TOUCH_INTERVAL: Duration = Duration::from_secs(60);
/// Such notes that may be under way; one more is left out, and the session's next request tries again.
pub const SESSION_TOUCHES_AT_ONCE: usize = 64;
/// Sessions of one user; a log-in beyond it ends those that were not used for longest.
pub const SESSIONS_PER_USER_MAX: usize = 50;
/// Sessions in one list; where there are more, for a moment, those are left out that end first.
pub const SESSIONS_LISTED_MAX: usize = 2 * SESSIONS_PER_USER_MAX;
/// Characters kept of what a browser calls itself; the rest is cut off.
pub const SESSION_TEXT_CHARS_MAX: usize = 256;
/// How long connecting to Redis may take, Sentinels included; beyond it Redis is unavailable.
pub const REDIS_CONNECT: Duration = Duration::from_secs(1);
/// How long Redis may take to answer a command; beyond it Redis is unavailable and the connection is given up.
pub const REDIS_ANSWER: Duration = Duration::from_millis(1_500);
/// How long a command may block at Redis before it answers that there is nothing.
pub const REDIS_BLOCK_MAX: Duration = Duration::from_secs(5);
/// How long after a failed attempt to connect everybody is told at once that Redis is unavailable.
pub const REDIS_PAUSE: Duration = Duration::from_millis(250);
/// How often a Redis Cluster is asked again, within the time for one answer, for a key that has moved.
pub const REDIS_CLUSTER_RETRIES: u32 = 3;
/// How long a connection to a Redis Cluster has to mend itself; one that is older and fails is made anew.
pub const REDIS_CLUSTER_MENDS: Duration = Duration::from_secs(2);
/// Milliseconds before the last of those questions; the first ones follow sooner.
pub const REDIS_CLUSTER_WAIT_MS: u64 = 100;
/// Commands for one request that Redis is asked at the same time; more go in several rounds.
pub const REDIS_AT_ONCE: usize = 256;
/// How often a node renews the lease of its presence entries.
pub const PRESENCE_BEAT: Duration = Duration::from_secs(1);
/// How long the presence entries of a node that does not renew its lease stay; a beat later, within 10 s, the other
/// nodes have taken them out.
pub const PRESENCE_LEASE: Duration = Duration::from_secs(8);
/// How long Redis may take for one change of presence; beyond it presence is unavailable until the next beat.
pub const PRESENCE_PATIENCE: Duration = Duration::from_millis(500);
/// Rooms that the directory remembers; beyond it those unused for longest are read again.
pub const CACHED_ROOMS_MAX: usize = 16_384;
/// Users that the directory remembers; beyond it those unused for longest are read again.
pub const CACHED_USERS_MAX: usize = 65_536;
/// Pairs of room and user that the directory remembers; beyond it those unused for longest are read again.
pub const CACHED_STANDINGS_MAX: usize = 262_144;
/// Members who are told at once that their room changed; others see it when they next look.
pub const CHANGE_NOTICES_MAX: usize = 1_000;
/// How often the main runtime shows the operators' side that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);
/// Heartbeats missed in a row after which `/livez` says no: 10 s, and 1 s in unit tests.
pub const HEARTBEATS_MISSED_MAX: u32 = if cfg!(test) { 4 } else { 40 };
/// How long one readiness check may take; beyond it, it fails.
pub const CHECK_PATIENCE: Duration = Duration::from_secs(2);
/// How long the answer of a readiness check is given again.
pub const READINESS_KEPT: Duration = Duration::from_millis(500);
/// Connections to the operators' side; one more waits in the kernel.
pub const OPERATOR_CONNECTIONS_MAX: usize = 64;
/// How long accepting pauses after it failed, such as for want of file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Connections that the kernel keeps for the accept loop; more are refused by the kernel.
pub const BACKLOG: u32 = 4_096;
/// Open files that are kept for anything but connections: databases, logs, the operators' side.
pub const FILES_RESERVED: usize = 256;
/// Proxies believed one behind the other in `X-Forwarded-For`.
pub const PROXY_HOPS_MAX: usize = 32;
/// Failed log-ins to one account: 5 in 15 minutes are free, then waits of 15 s, 30 s, and so on up to 15 minutes (429).
pub const LOGIN_ACCOUNT: Growing = Growing {
    free: 5,
    first: Duration::from_secs(15),
    longest: Duration::from_secs(15 * 60),
    kept: Duration::from_secs(15 * 60),
};
/// Failed log-ins from one address: 50 per 15 minutes; more are answered 429.
pub const LOGIN_ADDRESS: Rate = Rate::per(50, Duration::from_secs(15 * 60));
/// Right log-ins to one account: 60 at once, then one each 15 s; more are answered 429.
pub const LOGIN_SUCCESS: Rate = Rate {
    burst: 60,
    every: Duration::from_secs(15),
};
/// Revocations of one user - leaving, kicking, banning, roles, ending sessions that are not there: 60 at once, then one
/// a second; more are answered 429, since every node acts on each of them.
pub const REVOCATION: Rate = Rate::per(60, Duration::from_secs(60));
/// Rooms that one user makes, direct conversations included: 50 at once, then one each 30 s; more are answered 429.
pub const ROOM_CREATION: Rate = Rate {
    burst: 50,
    every: Duration::from_secs(30),
};
/// Memberships that one user begins, by joining or inviting: 200 at once, then one a second; more are answered 429.
pub const MEMBERSHIP: Rate = Rate {
    burst: 200,
    every: Duration::from_secs(1),
};
/// Rooms that one user may be in; one more is refused with `room_limit`. Who is invited by others may come to be in more.
pub const ROOMS_PER_USER_MAX: usize = 1_000;
/// How long after an account was made a repeated registration with the right password logs in: the first one may have
/// made the account and not got further.
pub const REGISTRATION_REPEAT: Duration = Duration::from_secs(10 * 60);
/// Registrations from one address: 20 per hour; more are answered 429.
pub const REGISTRATION: Rate = Rate::per(20, Duration::from_secs(60 * 60));
/// Handshakes from one address: 2,000 per minute, since many people may share it; more are answered 429.
pub const HANDSHAKE_ADDRESS: Rate = Rate::per(2_000, Duration::from_secs(60));
/// Handshakes of one user: 600 per minute; more are answered 429.
pub const HANDSHAKE_USER: Rate = Rate::per(600, Duration::from_secs(60));
/// Handshakes that are served at the same time, from the head of the request to the open connection; more wait.
pub const HANDSHAKES_AT_ONCE: usize = 256;
/// Handshakes that wait for one of these places; more are answered 503 with a time to come back after.
pub const HANDSHAKES_WAITING_MAX: usize = 4_096;
/// How long a handshake waits for a place; beyond it 503.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// People who went with another node and wait to be told as gone; more are not told, and are gone all the same.
pub const PRESENCE_GONE_QUEUE_MAX: usize = 1_024;
/// Servers in one address of NATS, ScyllaDB or Redis; more are refused, since the servers name their peers.
pub const SERVERS_MAX: usize = 64;
/// Sends of one connection: 30 at once, then 20 per second; more are answered `rate_limited`.
pub const SEND: Rate = Rate {
    burst: 30,
    every: Duration::from_millis(50),
};
/// Keys that the throttles of one process remember; beyond it the one that would recover soonest is forgotten.
pub const THROTTLE_KEYS_MAX: usize = 100_000;
/// Bytes of such a key that are kept; a longer one is kept as a hash.
pub const THROTTLE_KEY_BYTES_MAX: usize = 64;
/// Bytes in one line of an archive: a message with every character escaped fits several times.
pub const ARCHIVE_LINE_BYTES_MAX: u64 = 1024 * 1024;
/// A session's expiry moves at most this often, so that a request seldom costs a write.
pub const SESSION_EXPIRY_STEP: Duration = Duration::from_secs(5 * 60);
/// Characters in a search.
pub const SEARCH_CHARS_MAX: usize = 100;
/// How long one HTTP request may take; beyond it 503.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// People or rooms in one answer to a search.
pub const SEARCH_RESULTS_MAX: usize = 100;
/// Rooms of one list that are looked up at the same time.
pub const ROOM_LOOKUPS_AT_ONCE: usize = 8;
/// Registrations that one invite may be good for.
pub const INVITE_USES_MAX: u32 = 1_000;
/// Days that an invite may last.
pub const INVITE_DAYS_MAX: u32 = 365;
/// Minutes that the admin area's curves reach back.
pub const CURVE_MINUTES: usize = 60;
/// Spans that wait for the collector of traces; more are dropped and counted.
pub const TRACES_QUEUE_MAX: usize = 4_096;
/// Spans in one request to it.
pub const TRACES_BATCH_MAX: usize = 512;
/// How often what waits is handed over.
pub const TRACES_INTERVAL: Duration = Duration::from_secs(1);
/// How long the collector may take for one request; beyond it those spans are dropped.
pub const TRACES_PATIENCE: Duration = Duration::from_secs(3);
/// How often a node tells all others its status.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// A node whose status frames are silent for this long is in doubt.
pub const STATUS_SILENCE: Duration = Duration::from_secs(3);
/// Status frames after which a room written to is still named, while some peer has not heard one of them; beyond it, that
/// peer repairs all its rooms.
pub const STATUS_FRAMES_BACK: usize = 120;
/// Rooms named in one status frame; a node that wrote to more says so, and its peers repair all their rooms.
pub const STATUS_ROOMS_MAX: usize = 16_384;
/// Peers named in one status frame; further ones are left out.
pub const STATUS_PEERS_MAX: usize = 512;
/// Bytes of one status frame.
pub const STATUS_BYTES_MAX: usize = 512 * 1024;
/// Processes that a node counts on, those that went within the hour included; beyond it, rooms are repaired for each
/// event of an unknown one.
pub const PUBLISHERS_MAX: usize = 1_024;
/// Rooms whose publish numbers a node remembers; beyond it the half not written to for longest is forgotten, and peers
/// repair such a room once.
pub const PUBLISHED_ROOMS_MAX: usize = 262_144;
/// How often the machine of doubt and repair looks at the time.
pub const DOUBT_TICK: Duration = Duration::from_millis(100);
/// How long a missing publish number may still arrive.
pub const HOLE_PATIENCE: Duration = Duration::from_millis(200);
/// Events of one publisher in one room that wait behind a missing number; beyond it they are read from the store.
pub const PARKED_EVENTS_MAX: usize = 1_024;
/// How often a room is repaired while something is in doubt.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(2);
/// A room that could not be repaired for this long is held.
pub const HOLD_AFTER: Duration = Duration::from_secs(10);
/// How long after a write whose outcome nobody knows, or after the last read that failed since, a room is read again for
/// the second time: a CQL server that was stopped does then what it was asked before.
pub const UNSURE_AGAIN: Duration = Duration::from_secs(10);
/// How long the mark of a process that went is kept.
pub const MARK_KEPT: Duration = Duration::from_secs(60 * 60);
/// Ids that an active room remembers as told; beyond it a repair may tell the oldest again.
pub const SEEN_IDS_MAX: usize = 65_536;
/// How long a room's task may take to say which message is the newest; the store is asked after that.
pub const NEWEST_WITHIN: Duration = Duration::from_secs(2);
/// How far a node's clock may be from the median of all; a node further off refuses sends.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(2);
/// How far two nodes' clocks may be apart.
pub const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(4);
/// How long a peer's clock counts after its last status frame.
pub const PEER_HEARD: Duration = Duration::from_secs(10);
/// Payloads that wait to be handed to the channel layer; beyond it they are dropped, and other nodes repair what they lack.
pub const PUBLISH_QUEUE_MAX: usize = 16_384;
/// Events of other nodes that wait for one room's task; beyond it the room reads them from the store.
pub const ROOM_ARRIVALS_MAX: usize = 4_096;
/// Connections that came to one room or left it of which presence is told in one go.
pub const PRESENCE_MOVES_MAX: usize = 256;
/// How many of them it is told of at the same time.
pub const PRESENCE_MOVES_AT_ONCE: usize = 32;
/// Typing, presence and notices that wait for one room's task; more are dropped.
pub const ROOM_PASSING_MAX: usize = 256;
/// Rooms that a node reads again at the same time; others wait their turn.
pub const REPAIRS_AT_ONCE: usize = 8;
/// Events in one page of a repair.
pub const REPAIR_PAGE: usize = 500;
/// How often an active room of a cluster compares who is there with what its members were told: a node that died takes
/// its people along without a word.
pub const ROSTER_INTERVAL: Duration = Duration::from_secs(4);
/// Changes that a room keeps of messages that have not arrived from another node yet; beyond it those of the oldest are
/// forgotten, and the next read of the store shows them.
pub const CHANGES_AHEAD_MAX: usize = 1_024;
/// Notices of other nodes whose readers are looked up at the same time; for one more, the user's clients look again.
pub const NOTICE_CHECKS_AT_ONCE: usize = 256;
