//! `natter bench`: puts a load on a server and counts what becomes of every message.
//!
//! The load is open: sends happen when the plan says, whether or not the server keeps up, and times are measured from
//! the moment a send was *meant* to happen, so a server that stalls can't hide it by slowing the load. Every delivery
//! is counted per connection: lost, twice, out of order. It reads the protocol by itself and shares no code with the
//! server's side.

mod connection;
mod dialect;
mod histogram;
mod load;
mod open;
mod pace;
mod plan;
mod report;
mod storm;
mod tally;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::{Args, ValueEnum};
use tokio::runtime::Handle;

use crate::client::{Opcode, Target};
use crate::listen;
use crate::process;
use connection::Connection;
pub use dialect::Dialect;
use load::Load;
use plan::Plan;
pub use report::{Counts, Report};
use report::{Readings, Use, per_second};
use tally::Seen;

/// The pattern of the sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Evenly spread over time
    Steady,
    /// Each second's sends at once, at its beginning
    Burst,
    /// As fast as answers come: each sender keeps --window sends unanswered
    Saturate,
    /// Steady; after the warm-up all but the senders are cut off at once and come back with their cursors
    Storm,
    /// None: what open connections cost
    Idle,
}

/// What load to put on which server.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// The server, as http://HOST:PORT; start it with --limits off
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub url: String,
    /// Where connections that send are opened instead, for the cost of deliveries to another node
    #[arg(long, value_name = "URL")]
    pub senders_url: Option<String>,
    /// The protocol of the server
    #[arg(long, value_enum, default_value_t = Dialect::Natter)]
    pub dialect: Dialect,
    /// Users with ready sessions, as `natter seed` writes them; without it a few users are registered
    #[arg(long, value_name = "FILE")]
    pub users_file: Option<PathBuf>,
    /// The pattern of the sends
    #[arg(long, value_enum, default_value_t = Mode::Steady)]
    pub mode: Mode,
    /// WebSockets to open
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub connections: usize,
    /// Rooms, in which the connections are in turn
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub rooms: usize,
    /// Begins the rooms' names: PREFIX0, PREFIX1 and so on
    #[arg(long, value_name = "PREFIX", default_value = "bench-r")]
    pub room_prefix: String,
    /// Connections that send; without it, one in each room
    #[arg(long, value_name = "COUNT")]
    pub senders: Option<usize>,
    /// Sends per second, of all senders together
    #[arg(long, value_name = "PER SECOND", default_value_t = 50.0)]
    pub rate: f64,
    /// Sends that each sender keeps unanswered, in mode saturate
    #[arg(long, value_name = "COUNT", default_value_t = 32)]
    pub window: usize,
    /// Connections that never read what comes; they are the last ones, and are not measured
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub never_read: usize,
    /// Seconds to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds of load before times are measured; what is lost in them counts all the same
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warmup: f64,
    /// Connections that are opened and closed before everything, so that the memory which a server takes once is not
    /// counted as that of connections
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub rehearse: usize,
    /// Characters in each message
    #[arg(long, value_name = "CHARACTERS", default_value_t = 64)]
    pub size: usize,
    /// Give each message a nonce, as clients do that retry
    #[arg(long)]
    pub nonces: bool,
    /// The server's process on this machine, to measure its processor time and memory
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Threads of the generator that read
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub threads: usize,
    /// Seconds without a delivery after which what is missing counts as lost
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub patience: f64,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The most connections of one load.
const CONNECTIONS_MAX: usize = 200_000;
/// The most memory for counting what each connection saw, in bytes.
const SEEN_BYTES_MAX: u128 = 2 * 1024 * 1024 * 1024;
/// The most sends that a sender keeps unanswered.
const WINDOW_MAX: usize = 1_024;
/// More sends per second than any server is expected to answer.
const SATURATED_MAX: f64 = 200_000.0;
/// Files that are needed besides connections.
const FILES_RESERVED: u64 = 64;
/// How long memory is left to settle once all connections are open.
const SETTLING: Duration = Duration::from_secs(1);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the load and prints what it found. The exit code is 1 if anything was lost, doubled, disordered or refused.
///
/// # Errors
/// If the arguments don't fit together, or the connections can't be opened.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.threads.clamp(1, 64))
        .enable_all()
        .build()?;
    let report = runtime.block_on(measure(arguments))?;
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.counts.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let Arguments { connections, rooms, .. } = *arguments;
    ensure!(
        (1..=CONNECTIONS_MAX).contains(&connections),
        "--connections takes 1 to {CONNECTIONS_MAX}"
    );
    ensure!(
        (1..=connections).contains(&rooms),
        "--rooms takes 1 to the number of connections"
    );
    ensure!(
        arguments.rate > 0.0 && arguments.rate <= 1e6,
        "--rate takes more than 0, and at most 1000000"
    );
    let time = |seconds: f64| (0.0..=86_400.0).contains(&seconds);
    ensure!(
        time(arguments.duration) && time(arguments.warmup),
        "--duration and --warmup take 0 to 86400 seconds"
    );
    ensure!(
        arguments.patience > 0.0 && time(arguments.patience),
        "--patience takes more than 0 seconds"
    );
    ensure!(
        (1..=4_000).contains(&arguments.size),
        "--size takes 1 to 4000 characters"
    );
    let senders = match (arguments.mode, arguments.senders) {
        (Mode::Idle, _) => 0,
        (_, senders) => senders.unwrap_or(rooms),
    };
    ensure!(
        senders <= connections,
        "--senders takes at most the number of connections"
    );
    ensure!(
        senders > 0 || arguments.mode == Mode::Idle,
        "--senders takes at least 1, unless --mode is idle"
    );
    ensure!(
        arguments.mode != Mode::Storm || (senders < connections && arguments.dialect == Dialect::Natter),
        "--mode storm needs connections besides the senders, and a server of Natter"
    );
    let readers = connections.saturating_sub(arguments.never_read);
    ensure!(
        readers >= senders.max(rooms),
        "--never-read leaves too few connections: each sender reads, and one in each room"
    );
    let window = if arguments.mode == Mode::Saturate {
        ensure!(
            (1..=WINDOW_MAX).contains(&arguments.window),
            "--window takes 1 to {WINDOW_MAX}"
        );
        arguments.window
    } else {
        0
    };
    let until = arguments.duration + arguments.warmup;
    let rate = if window > 0 { SATURATED_MAX } else { arguments.rate };
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded above, and not negative"
    )]
    let sends = if senders == 0 { 0 } else { (rate * until).ceil() as u64 };
    let plan = Plan {
        connections,
        rooms,
        senders,
        rate: arguments.rate,
        burst: arguments.mode == Mode::Burst,
        sends,
        window,
        until: Duration::from_secs_f64(until),
        never_read: arguments.never_read,
        warmup: Duration::from_secs_f64(arguments.warmup),
        size: arguments.size,
        run: rand::random(),
    };
    let seen = connections as u128 * senders.div_ceil(rooms) as u128 * plan.sends_each() as u128 / 8;
    ensure!(
        seen <= SEEN_BYTES_MAX,
        "counting this would take {} MiB: take a shorter --duration",
        seen >> 20
    );
    Ok(plan)
}

struct Usages {
    server: Option<u32>,
    of_server: Readings,
    of_generator: Readings,
}

impl Usages {
    fn read(&mut self, place: fn(&mut Readings) -> &mut Option<process::Usage>) {
        if let Some(pid) = self.server {
            *place(&mut self.of_server) = process::usage(Some(pid));
        }
        *place(&mut self.of_generator) = process::usage(None);
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let plan = plan(arguments)?;
    let files = listen::raise_file_limit()?;
    let needed = plan.connections as u64 + FILES_RESERVED;
    ensure!(
        files >= needed,
        "{needed} open files are needed and the system allows {files}: raise it (ulimit -n)"
    );
    if let Some(pid) = arguments.server_pid {
        ensure!(
            process::usage(Some(pid)).is_some(),
            "--server-pid: there is no process {pid} that can be measured"
        );
    }
    let target = Target::resolve(&arguments.url).await?;
    let of_senders = match &arguments.senders_url {
        Some(url) => Target::resolve(url).await?,
        None => target.clone(),
    };
    let load = Arc::new(Load::new(plan, arguments.dialect, &arguments.room_prefix));
    let mut usages = Usages {
        server: arguments.server_pid,
        of_server: Readings::default(),
        of_generator: Readings::default(),
    };
    let cookies = open::cookies(&target, arguments, &load.plan).await?;
    if arguments.rehearse > 0 {
        open::rehearse(&target, arguments, &cookies).await?;
    }
    usages.read(|readings| &mut readings.before);
    let opening = Instant::now();
    let mut connections = open::all(&target, &of_senders, &load, &cookies).await?;
    let open_seconds = opening.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLING).await;
    usages.read(|readings| &mut readings.connected);

    let start = Instant::now() + LOOK;
    *load.start.lock() = Some(start);
    let pacing = pace::start(&load, &connections, start, arguments.nonces)?;
    tokio::time::sleep_until((start + load.plan.warmup).into()).await;
    usages.read(|readings| &mut readings.begin);
    let delivered_before = load.delivered.load(Ordering::Relaxed);
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(arguments.duration);
    let storm = if arguments.mode == Mode::Storm {
        Some(storm::run(&target, &load, &cookies, &mut connections).await?)
    } else {
        None
    };
    tokio::time::sleep_until(end.into()).await;
    let paced = tokio::task::spawn_blocking(move || pacing.join()).await?;
    paced.map_err(|_| anyhow::anyhow!("the pacing thread has failed"))?;
    let last = drain(&load, Duration::from_secs_f64(arguments.patience)).await;
    usages.read(|readings| &mut readings.end);
    // Processor time is shared by all that came in its time, whenever that was sent.
    let came = load.delivered.load(Ordering::Relaxed) - delivered_before;

    let mut counts = count(&load, &connections);
    if storm.is_some() {
        // Whoever resumes without a digest is told the span before the cursor again.
        counts.replayed = std::mem::take(&mut counts.duplicates);
    }
    for connection in &connections {
        connection
            .outgoing
            .send(Opcode::Close, &1000u16.to_be_bytes(), &Handle::current());
    }
    let time = last.max(end).duration_since(begin);
    let measured = load.measured.load(Ordering::Relaxed);
    let used = |readings| Use::between(readings, load.plan.connections, came, time.as_secs_f64());
    Ok(Report {
        natter: env!("CARGO_PKG_VERSION"),
        mode: match arguments.mode {
            Mode::Steady => "steady",
            Mode::Burst => "burst",
            Mode::Saturate => "saturate",
            Mode::Storm => "storm",
            Mode::Idle => "idle",
        },
        open_seconds,
        connections: load.plan.connections,
        rooms: load.plan.rooms,
        senders: load.plan.senders,
        rate: load.plan.rate,
        size: load.plan.size,
        seconds: time.as_secs_f64(),
        counts,
        measured_deliveries: measured,
        deliveries_per_second: per_second(measured, time),
        delivery_ms: load.latency.summary(),
        ack_ms: load.acks.summary(),
        generator_lag_ms: load.lag.summary(),
        presence_frames: load.presence_frames.load(Ordering::Relaxed),
        storm,
        presence_bytes: load.presence_bytes.load(Ordering::Relaxed),
        server: used(&usages.of_server),
        generator: used(&usages.of_generator),
    })
}

/// Waits until every send is answered and nothing has come for the whole patience, or everything has come; answers when
/// the last thing came.
async fn drain(load: &Load, patience: Duration) -> Instant {
    let progress = || {
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        (of(&load.delivered), of(&load.acked), of(&load.errors))
    };
    let (mut last, mut at) = (progress(), Instant::now());
    loop {
        let answered = last.1 + last.2 >= load.sent.load(Ordering::Relaxed);
        if answered && last.0 >= load.due.load(Ordering::Relaxed) {
            return at;
        }
        if at.elapsed() > patience {
            return at;
        }
        tokio::time::sleep(LOOK).await;
        let now = progress();
        if now != last {
            (last, at) = (now, Instant::now());
        }
    }
}

fn count(load: &Load, connections: &[Connection]) -> Counts {
    let plan = &load.plan;
    let sent = load.sent.load(Ordering::Relaxed);
    let acked: Vec<Seen> = connections[..plan.senders]
        .iter()
        .map(|connection| connection.tally.lock().acked.clone())
        .collect();
    let acked_count = |sender: usize| acked[sender].count();
    let expected = (0..plan.senders)
        .map(|s| acked_count(s) * (plan.readers(plan.room(s)) as u64 - 1))
        .sum();
    let mut counts = Counts {
        sent,
        unsent: load.unsent.load(Ordering::Relaxed),
        acked: (0..plan.senders).map(acked_count).sum(),
        expected,
        ..Counts::default()
    };
    for (number, connection) in connections.iter().enumerate() {
        let tally = connection.tally.lock();
        if plan.reads(number) {
            counts.delivered += tally.delivered;
            counts.lost += tally.lost(plan, &acked);
        }
        counts.duplicates += tally.duplicates;
        counts.wrong_order += tally.wrong_order;
        counts.late += tally.late;
        counts.foreign += tally.foreign;
        counts.acks_twice += tally.acks_twice;
        counts.broken += tally.broken;
        for (code, count) in &tally.errors {
            *counts.errors.entry(code.clone()).or_default() += count;
        }
        if let Some(code) = tally.closed {
            *counts.closed.entry(code).or_default() += 1;
        }
    }
    let answered = counts.acked + counts.errors.values().sum::<u64>();
    counts.unanswered = sent.saturating_sub(answered);
    counts
}
