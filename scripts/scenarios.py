"""What the benchmark measures: each scenario puts one load on each contender in turn, several times."""

import json
import subprocess
from dataclasses import dataclass, field
from typing import Callable

import contenders
import tools

# Seconds that one load may take beyond what it was told.
PATIENCE = 300


@dataclass
class Scenario:
    """One load, and what it has to show."""

    name: str
    what: str
    # Arguments of `natter bench`, without dashes.
    load: dict
    # Which contenders take part.
    servers: tuple = ("natter", "floor")
    # What a contender's load has in place of the above, because it can't take more.
    instead: dict = field(default_factory=dict)
    # What the table has: rows of what, target, a function of the results that gives what was seen, and one that judges.
    rows: list = field(default_factory=list)
    users: int = 1_000
    seeded_rooms: int = 1
    messages: int = 0
    # Of each seeded room; whoever else joins becomes one, which costs the store a read and a write each.
    members: int = 10
    # What measures in the generator's place: from the contender, its port, and whether to be quick, to a report.
    probe: Callable | None = None
    # From what was measured before to what the load has in place of the above.
    adapt: Callable | None = None
    # Whether server and generator have a processor each, or share all of them.
    pinned: bool = True


class Failed(Exception):
    """A load that could not be put on, with what the generator said."""


def arguments(load, quick):
    """A load as the generator's command line has it."""
    load = dict(load)
    if quick:
        load["duration"] = min(load.get("duration", 10), 4)
    return [f"--{key.replace('_', '-')}={value}" for key, value in load.items()]


def once(scenario, contender, quick, log):
    """Puts a scenario's load on a contender once; answers the generator's report."""
    load = {**scenario.load, **scenario.instead.get(contender.name, {})}
    try:
        server, port = contender.start(scenario, log)
    except BaseException:
        contender.stopped()
        raise
    try:
        before = contender.metrics() if hasattr(contender, "metrics") else {}
        if scenario.probe is not None:
            return scenario.probe(contender, port, quick)
        command = [
            contenders.NATTER,
            "bench",
            "--json",
            f"--url=http://127.0.0.1:{port}",
            f"--dialect={contender.dialect}",
            f"--server-pid={server.pid}",
            *arguments(load, quick),
            *contender.generator(scenario),
        ]
        processor = contenders.GENERATOR_CPU if scenario.pinned else None
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        generator = contenders.pinned(command, processor, cwd=tools.ROOT, **pipes)
        try:
            told, wrong = generator.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            generator.kill()
            generator.communicate()
            raise Failed(f"no result after {PATIENCE} s") from late
        log.write(told + wrong)
        if not told:
            raise Failed(wrong.decode().strip()[-300:])
        report = json.loads(told)
        if before:
            after = contender.metrics()
            report["metrics"] = {name: after[name] - before.get(name, 0) for name in after}
        return report
    finally:
        contenders.stop(server)
        contender.stopped()


def run(scenario, chosen, runs, quick, log, say):
    """All runs of a scenario, the contenders in turn in each; answers the reports of each contender."""
    taking_part = [contender for contender in chosen if contender.name in scenario.servers]
    reports = {contender.name: [] for contender in taking_part}
    for number in range(runs):
        for contender in taking_part:
            say(f"{scenario.name}: run {number + 1} of {runs}, {contender.name}")
            try:
                reports[contender.name].append(once(scenario, contender, quick, log))
            except (Failed, RuntimeError) as error:
                say(f"{scenario.name}: {contender.name}: {error}")
    return reports
