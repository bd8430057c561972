//! What a load found, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::histogram::Summary;
use super::storm::Storm;

/// Everything that a load found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The version of this program.
    pub natter: &'static str,
    /// `steady`, `burst`, `saturate`, `storm` or `idle`.
    pub mode: &'static str,
    /// Seconds until all connections had their room.
    pub open_seconds: f64,
    /// WebSockets.
    pub connections: usize,
    /// Rooms.
    pub rooms: usize,
    /// Connections that send.
    pub senders: usize,
    /// Sends per second that were meant.
    pub rate: f64,
    /// Characters in each message.
    pub size: usize,
    /// Seconds that were measured, from the end of the warm-up to the last delivery.
    pub seconds: f64,
    /// Faults and counts of the whole load, warm-up included.
    pub counts: Counts,
    /// Deliveries of messages meant to be sent after the warm-up.
    pub measured_deliveries: u64,
    /// Those per second.
    pub deliveries_per_second: f64,
    /// From the intended send to each delivery, in milliseconds.
    pub delivery_ms: Option<Summary>,
    /// From the intended send to the ack, in milliseconds.
    pub ack_ms: Option<Summary>,
    /// From the intended to the real send, in milliseconds: what the generator itself adds to the two above.
    pub generator_lag_ms: Option<Summary>,
    /// What a storm took.
    pub storm: Option<Storm>,
    /// Frames of presence, since the first connection and for all of them.
    pub presence_frames: u64,
    /// Bytes of those.
    pub presence_bytes: u64,
    /// The server's use of the machine, if its process is known.
    pub server: Option<Use>,
    /// The generator's own.
    pub generator: Option<Use>,
}

/// What was sent and what came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Messages handed to connections.
    pub sent: u64,
    /// Messages that were not sent, because the server took nothing for too long.
    pub unsent: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Messages that were sent and neither acknowledged nor refused.
    pub unanswered: u64,
    /// Errors, by code.
    pub errors: BTreeMap<String, u64>,
    /// Deliveries that acknowledged messages should have had.
    pub expected: u64,
    /// Deliveries, each message once per connection.
    pub delivered: u64,
    /// Acknowledged messages that a connection did not get.
    pub lost: u64,
    /// Further deliveries of the same message to the same connection.
    pub duplicates: u64,
    /// The same after a storm, where they belong to the protocol.
    pub replayed: u64,
    /// Deliveries after one with a greater id on the same connection.
    pub wrong_order: u64,
    /// The same, but marked `late` by the server.
    pub late: u64,
    /// Deliveries that can't be: of another room, or to the sender.
    pub foreign: u64,
    /// Second acks of the same send.
    pub acks_twice: u64,
    /// Frames that the protocol does not have.
    pub broken: u64,
    /// Connections that closed before the end, by code.
    pub closed: BTreeMap<u16, u64>,
}

impl Counts {
    /// Whether everything that was acknowledged arrived once, in order, on connections that stayed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let faults = [
            self.lost,
            self.duplicates,
            self.wrong_order,
            self.foreign,
            self.acks_twice,
            self.broken,
        ];
        faults.iter().all(|count| *count == 0)
            && self.unsent + self.unanswered == 0
            && self.errors.is_empty()
            && self.closed.is_empty()
    }
}

/// A process's use of the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Use {
    /// Processor time while measured, in seconds.
    pub cpu_seconds: f64,
    /// Processors in use on average while measured.
    pub processors: f64,
    /// Processor time per delivery that came in that time, in microseconds.
    pub cpu_us_per_delivery: Option<f64>,
    /// Memory in use with all connections open and before the load, in bytes.
    pub resident_bytes: u64,
    /// What each connection added to it, in bytes.
    pub bytes_per_connection: Option<f64>,
}

impl Use {
    /// From readings: before the connections, with them, at the begin and the end of what was measured.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "for people, who read a few digits")]
    pub fn between(readings: &Readings, connections: usize, deliveries: u64, seconds: f64) -> Option<Self> {
        let cpu = readings.end?.cpu.saturating_sub(readings.begin?.cpu).as_secs_f64();
        let (before, with) = (readings.before?, readings.connected?);
        let grown = with.resident.saturating_sub(before.resident) as f64;
        Some(Self {
            cpu_seconds: cpu,
            processors: if seconds > 0.0 { cpu / seconds } else { 0.0 },
            cpu_us_per_delivery: (deliveries > 0).then(|| cpu * 1e6 / deliveries as f64),
            resident_bytes: with.resident,
            bytes_per_connection: (connections > 0).then(|| grown / connections as f64),
        })
    }
}

/// Readings of one process at the turning points of a load.
#[derive(Debug, Clone, Copy, Default)]
pub struct Readings {
    /// Before the first connection.
    pub before: Option<crate::process::Usage>,
    /// With all connections open, before the first send.
    pub connected: Option<crate::process::Usage>,
    /// At the end of the warm-up.
    pub begin: Option<crate::process::Usage>,
    /// After the last delivery.
    pub end: Option<crate::process::Usage>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} connections in {} rooms, {} senders, {} sends/s of {} characters",
            self.mode, self.connections, self.rooms, self.senders, self.rate, self.size
        )?;
        let c = &self.counts;
        writeln!(
            f,
            "sent         {} ({} acked, {} unanswered, {} not sent)",
            c.sent, c.acked, c.unanswered, c.unsent
        )?;
        writeln!(f, "delivered    {} of {}", c.delivered, c.expected)?;
        writeln!(f, "lost         {}", c.lost)?;
        writeln!(f, "duplicates   {}", c.duplicates)?;
        writeln!(f, "wrong order  {} ({} more marked late)", c.wrong_order, c.late)?;
        for (what, count) in [
            ("foreign", c.foreign),
            ("acks twice", c.acks_twice),
            ("broken", c.broken),
        ] {
            if count > 0 {
                writeln!(f, "{what:<12} {count}")?;
            }
        }
        for (code, count) in &c.errors {
            writeln!(f, "error        {code}: {count}")?;
        }
        for (code, count) in &c.closed {
            writeln!(f, "closed       with code {code}: {count}")?;
        }
        if let Some(storm) = &self.storm {
            let Storm {
                cut,
                back_seconds,
                caught_up_seconds,
            } = storm;
            let replayed = c.replayed;
            writeln!(
                f,
                "storm        {cut} cut, connected after {back_seconds:.2} s, caught up after {caught_up_seconds:.2} s, {replayed} told again"
            )?;
        }
        let (seconds, rate) = (self.seconds, self.deliveries_per_second);
        writeln!(f, "throughput   {rate:.0} deliveries/s over {seconds:.1} s")?;
        let times = [
            ("delivery", self.delivery_ms),
            ("ack", self.ack_ms),
            ("lag", self.generator_lag_ms),
        ];
        for (what, summary) in times {
            if let Some(s) = summary {
                writeln!(
                    f,
                    "{what:<12} p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
                    s.p50, s.p90, s.p99, s.p999, s.max
                )?;
            }
        }
        for (what, used) in [("server", &self.server), ("generator", &self.generator)] {
            if let Some(used) = used {
                write!(f, "{what:<12} {:.2} processors", used.processors)?;
                if let Some(each) = used.cpu_us_per_delivery {
                    write!(f, ", {each:.2} us per delivery")?;
                }
                write!(f, ", {:.1} MiB", bytes_as_mib(used.resident_bytes))?;
                if let Some(each) = used.bytes_per_connection {
                    write!(f, ", {each:.0} bytes per connection")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "for people, who read a few digits")]
fn bytes_as_mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Deliveries per second.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "for people, who read a few digits")]
pub fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}
