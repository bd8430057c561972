"""The scenarios of the benchmark with the targets that Natter is held to; docs/performance.md says why these."""

from dataclasses import dataclass
from typing import Callable

import figures
import history
from scenarios import Scenario

# Everybody who is compared; a scenario that only some can take names them.
FAST = ("floor", "natter", "uwebsockets", "centrifuge")
ALL = (*FAST, "socketio", "channels")
# Reads of message ranges that went to the store.
READS = 'natter_store_reads_total{kind="message_range"}'
# Connections of the largest scenarios: what a process with 20,000 open files takes.
MANY = 15_000


@dataclass
class Row:
    """One line of the table of targets."""

    what: str
    # From a scenario's results to what was seen.
    seen: Callable
    # The bound, and whether it is a least instead of a most.
    bound: float
    unit: str = " x"
    digits: int = 2
    at_least: bool = False

    def target(self):
        """The bound in words."""
        return f"at {'least' if self.at_least else 'most'} {self.bound:,g}{self.unit}"


def over(ours, theirs, take):
    """The ratio of two contenders' medians."""
    return lambda results: figures.ratio(results, ours, theirs, take)


def own(take):
    """Natter's median."""
    return lambda results: figures.median(results.get("natter", []), take)


STEADY = Scenario(
    "steady",
    "one room, 1,000 members, 50 messages/s",
    {"connections": 1_000, "rate": 50, "duration": 10},
    ALL,
    {"channels": {"rate": 2}},
    [Row("CPU per delivery, 1,000 members, 50 messages/s, over the floor", over("natter", "floor", figures.cpu), 1.1)],
)

BUSY = Scenario(
    "busy",
    "one room, 200 members, 2,000 messages/s of 4 senders",
    {"connections": 200, "senders": 4, "rate": 2_000, "duration": 8},
    (*FAST, "socketio"),
    # What can't take this rate gets what it takes: the floor's cost does not depend on it.
    {"floor": {"rate": 500}, "socketio": {"rate": 200}},
    [
        Row("CPU per delivery, 200 members, 2,000/s, over the floor", over("natter", "floor", figures.cpu), 0.35),
        Row("its p99", own(figures.p99), 10, " ms", 1),
    ],
)

SATURATED = Scenario(
    "saturated",
    "one room, 200 members, as fast as 16 senders are answered",
    {"connections": 200, "mode": "saturate", "senders": 16, "window": 32, "duration": 8},
    (*FAST, "socketio"),
    {},
    [
        Row(
            "saturated, 200 members: deliveries/s over uWebSockets",
            over("natter", "uwebsockets", figures.rate),
            2,
            at_least=True,
        ),
        Row("its CPU per delivery over uWebSockets", over("natter", "uwebsockets", figures.cpu), 0.5),
        Row("its p99", own(figures.p99), 50, " ms", 1),
    ],
)


def grown(name, members, rate):
    """The same deliveries per second to rooms of different sizes."""
    return Scenario(
        name,
        f"one room, {members:,} members, {rate} messages/s",
        {"connections": members, "rate": rate, "duration": 10, "warmup": 3},
        FAST,
        users=MANY,
    )


SMALL, LARGE = grown("members-100", 100, 300), grown("members-15000", MANY, 2)

IDLE = Scenario(
    "idle",
    f"{MANY:,} idle connections, logged in and in one room",
    {"connections": MANY, "mode": "idle", "rehearse": 500, "duration": 20, "warmup": 10},
    ALL,
    {},
    [
        Row("resident memory per idle connection at 15,000", own(figures.resident), 1_200, " B", 0),
        Row("CPU of 15,000 idle connections, per second and connection", own(figures.idle_cpu), 1, " us"),
    ],
    users=MANY,
    members=MANY,
)


def presence(report):
    """Bytes of presence per member and second while members come."""
    return report["presence_bytes"] / report["connections"] / report["open_seconds"]


JOINING = Scenario(
    "joining",
    "10,000 people join one room",
    {"connections": 10_000, "mode": "idle", "duration": 10, "warmup": 0},
    ("natter",),
    {},
    [Row("presence bytes per member and second while 10,000 join one room", own(presence), 100, " B", 0)],
    users=10_000,
)

ROOMS = Scenario(
    "rooms",
    "1,000 rooms of 10 members, 5,000 messages/s in all",
    {"connections": 10_000, "rooms": 1_000, "rate": 5_000, "duration": 8},
    FAST,
    {},
    [
        Row("CPU per delivery, 1,000 rooms of 10, over uWebSockets", over("natter", "uwebsockets", figures.cpu), 0.75),
        Row("the same over Centrifuge", over("natter", "centrifuge", figures.cpu), 0.75),
        Row("its p99", own(figures.p99), 10, " ms", 1),
    ],
    users=10_000,
    seeded_rooms=1_000,
)


def half(all_results):
    """Half the rate that Natter took when saturated, if that was measured."""
    taken = figures.median(all_results.get("saturated", {}).get("natter", []), figures.rate)
    return {"rate": round(taken / 199 / 2)} if taken else {}


ACKS = Scenario(
    "half-load",
    "one room, 200 members, half of what it takes",
    {"connections": 200, "senders": 16, "rate": 4_000, "duration": 8},
    ("natter",),
    {},
    [Row("send to durable acknowledgement at half load, p99", own(figures.ack_p99), 15, " ms", 1)],
    adapt=half,
)

STORM = Scenario(
    "storm",
    f"{MANY:,} clients are cut off at once and come back, 20 messages/s",
    {"connections": MANY, "mode": "storm", "rate": 20, "duration": 10, "warmup": 3},
    ("natter",),
    {},
    [
        Row("15,000 cut at once: all back and caught up", own(lambda one: one["storm"]["caught_up_seconds"]), 10, " s"),
        Row("store reads of messages in all that, per room", own(lambda one: one["metrics"][READS]), 1, "", 0),
    ],
    users=MANY,
    # Members already, so that what is read is read for the storm and for the first of all joins.
    members=MANY,
    pinned=False,
)

READ = {"connections": 1_000, "rate": 200, "duration": 15, "senders": 4}
READERS = Scenario("readers", "one room, 1,000 members, 200 messages/s, everybody reads", READ, ("natter",))
SLOW = Scenario("slow-readers", "the same, and 1 % never read", {**READ, "never_read": 10}, ("natter",))


def beyond_the_store(report):
    """By how much acknowledgements take longer than writes of the store, at the node where the senders are: p99 to p99."""
    metrics = report["metrics"]
    acks = figures.quantile(metrics, "first natter_send_to_ack_seconds", 0.99)
    writes = figures.quantile(metrics, "first natter_store_seconds", 0.99, 'statement="write",')
    return None if acks is None or writes is None else acks - writes


def paired(name, what, load, bound):
    """A load of which senders are at one node and the rest at another, and the same on a node alone."""
    seen = over("natter-pair", "natter", figures.cpu)
    ratio = Row(f"{what}: CPU per delivery of the second node over a single one's", seen, bound)
    beyond = Row(
        "send to ack on a cluster, p99 beyond that of the store's own write",
        lambda results: figures.median(results.get("natter-pair", []), beyond_the_store),
        5,
        " ms",
        1,
    )
    return Scenario(name, f"{what}, senders at another node", load, ("natter", "natter-pair"), {}, [ratio, beyond])


PAIR_STEADY = paired(
    "pair-steady", "1,000 members, 50 messages/s", {"connections": 1_000, "rate": 50, "duration": 10, "warmup": 4}, 1.1
)
# A rate at which one processor is enough for the generator, the node of the senders and all servers: times are those of
# queues for the processor otherwise.
PAIR_BUSY = paired(
    "pair-busy",
    "200 members, 200 messages/s",
    {"connections": 200, "senders": 4, "rate": 200, "duration": 8, "warmup": 4},
    1.1,
)

HISTORY = Scenario(
    "history",
    "pages of 50 at a random age",
    {},
    ("natter",),
    {},
    [
        Row("history page of random age, p99", own(lambda one: one["history"]["p99"]), 15, " ms", 1),
        Row("range reads for one page", own(lambda one: one["history"]["reads"]), 2, ""),
    ],
    users=100,
    seeded_rooms=10,
    messages=100_000,
    probe=history.pages,
)

SCENARIOS = [STEADY, BUSY, SATURATED, ACKS, SMALL, LARGE, IDLE, JOINING, ROOMS, STORM, READERS, SLOW, HISTORY]
SCENARIOS += [PAIR_STEADY, PAIR_BUSY]


def table(scenario):
    """How a scenario's results are shown."""
    if scenario in (IDLE, JOINING):
        return figures.idle_table
    return figures.history_table if scenario is HISTORY else figures.contenders_table


def growth(all_results):
    """How Natter's cost grows with members, over how the floor's does."""

    def of(name):
        large = figures.median(all_results.get("members-15000", {}).get(name, []), figures.cpu)
        small = figures.median(all_results.get("members-100", {}).get(name, []), figures.cpu)
        return large / small if large and small else None

    ours, floors = of("natter"), of("floor")
    return ours / floors if ours and floors else None


def moved(all_results):
    """How far slow readers move the others' p99."""
    alone = figures.median(all_results.get("readers", {}).get("natter", []), figures.p99)
    beside = figures.median(all_results.get("slow-readers", {}).get("natter", []), figures.p99)
    return beside / alone if alone and beside else None


# Lines that need the results of several scenarios.
ACROSS = [
    Row("growth of CPU per delivery, 100 to 15,000 members, over the floor's", growth, 1),
    Row("p99 of 990 members with 10 who never read, over without them", moved, 1.2),
]


def lines(all_results):
    """The table of targets, of what was run."""
    found = []
    rows = [(row, scenario.name) for scenario in SCENARIOS for row in scenario.rows]
    for row, name in [*rows, *((row, None) for row in ACROSS)]:
        results = all_results if name is None else all_results.get(name)
        if results is None:
            continue
        seen = row.seen(results)
        if seen is None:
            found.append([row.what, row.target(), "-", "not measured"])
            continue
        fine = seen >= row.bound if row.at_least else seen <= row.bound
        found.append([row.what, row.target(), f"{seen:,.{row.digits}f}{row.unit}", "met" if fine else "missed"])
    return figures.table(["what", "target", "seen", ""], found)
