"""The servers that the benchmark compares: the floor, Natter, and peers, each with the guarantee that it gives.

A contender is prepared once (built or installed, which can be missing), then started anew for each run in a folder of
its own, alone on one processor.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import servers
import tools

HOME = tools.SERVICES / "bench"
RELEASE = tools.ROOT / "target" / "release"
NATTER = RELEASE / "natter"
PATIENCE = 60
# Whether servers and the generator come before everything else that the machine does.
REALTIME = False
# The server has one processor and the generator another, so that neither is measured with the other's load.
SERVER_CPU, GENERATOR_CPU = 0, 1


def pinned(command, processor, **rest):
    """Starts a program on one processor, if one is named and the machine has more."""
    pins = processor is not None and os.cpu_count() > 1 and hasattr(os, "sched_setaffinity")

    def prepare():
        if pins:
            os.sched_setaffinity(0, {processor})
        if REALTIME:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    rest["preexec_fn"] = prepare
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, **rest)


def listens(port):
    """Whether a connection is taken at this port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def counters(port):
    """What a node's operators' side counts: name with labels to value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def serves(port):
    """Whether a node says at its operators' side that it can serve."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


class Contender:
    """One server: how it is built, started and spoken to."""

    name = dialect = guarantee = ""

    def prepare(self, log):
        """Builds or installs it; answers its version. Raises tools.Missing where that is not possible."""
        raise NotImplementedError

    def command(self, port, folder, scenario):
        """The command that runs it at a port."""
        raise NotImplementedError

    def environment(self):
        """What its environment has besides."""
        return {}

    def generator(self, scenario):
        """What the generator is told besides."""
        return []

    def furnish(self, folder, scenario):
        """Makes what it needs in its folder."""

    def ready(self, port):
        """Whether it can be loaded."""
        return listens(port)

    def stopped(self):
        """Ends what ran beside the server in one run."""

    def release(self):
        """Ends what it keeps running between runs."""

    def start(self, scenario, log):
        """Starts it and waits until it listens."""
        folder = HOME / "run" / self.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.scenario = scenario
        self.furnish(folder, scenario)
        (port,) = servers.free_ports(1)
        process = pinned(
            self.command(port, folder, scenario),
            SERVER_CPU if scenario.pinned else None,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **self.environment()},
        )
        deadline = time.monotonic() + PATIENCE
        while not self.ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {process.returncode} before it listened")
            if time.monotonic() > deadline:
                stop(process)
                raise RuntimeError(f"{self.name} does not listen after {PATIENCE} s")
            time.sleep(0.05)
        return process, port


def stop(process):
    """Ends a server at once: what it would still do in order is not measured."""
    process.send_signal(signal.SIGKILL)
    process.wait()


class Floor(Contender):
    """Our own bare epoll loop."""

    name, dialect = "floor", "plain"
    guarantee = "none: one write per socket and message, nothing else"

    def prepare(self, log):
        return "benches/peers/floor"

    def command(self, port, folder, scenario):
        return [RELEASE / "examples" / "floor", f"127.0.0.1:{port}"]


class Natter(Contender):
    """This project, with its embedded store."""

    name = dialect = "natter"
    guarantee = "acknowledged and delivered only after a synced commit; in order; nothing lost on resume"

    def prepare(self, log):
        told = subprocess.run([NATTER, "--version"], capture_output=True, text=True, check=True)
        return told.stdout.split()[-1]

    def seeded(self, scenario):
        """A data directory with users who have sessions; made once, and copied for each run."""
        users, rooms, messages = scenario.users, scenario.seeded_rooms, scenario.messages
        home = HOME / f"seed-{users}-{rooms}-{scenario.members}-{messages}"
        if not (home / "users.jsonl").exists():
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir(parents=True)
            wanted = ["--users", users, "--rooms", rooms, "--messages", messages, "--members", scenario.members]
            command = [NATTER, "seed", "--data-dir", home / "data", "--out", home / "users.part", *wanted]
            with open(HOME / "seed.log", "ab") as log:
                tools.need(command, log)
            (home / "users.part").rename(home / "users.jsonl")
        return home

    def furnish(self, folder, scenario):
        home = self.seeded(scenario)
        shutil.copytree(home / "data", folder / "data")

    def command(self, port, folder, scenario):
        (self.admin_port,) = servers.free_ports(1)
        listen = ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{self.admin_port}"]
        return [NATTER, "serve", *listen, "--data-dir", folder / "data", "--limits", "off"]

    def generator(self, scenario):
        home = self.seeded(scenario)
        return ["--users-file", home / "users.jsonl"]

    def ready(self, port):
        return listens(port) and listens(self.admin_port)

    def metrics(self):
        """Its counters: name with labels to value."""
        return counters(self.admin_port)


class Pair(Natter):
    """Two nodes of this project over NATS, a CQL server and Redis. Senders are at the first, and the second, where
    everybody else is, is measured; the first shares its processor with the generator and with all servers.
    """

    name = "natter-pair"
    guarantee = "acknowledged and delivered only after LOCAL_QUORUM; in order; lost on NATS means repaired"

    def prepare(self, log):
        self.other = None
        self.group = servers.Group("bench-cluster")
        shutil.rmtree(self.group.folder, ignore_errors=True)
        self.group.folder.mkdir(parents=True)
        self.group.save()
        self.users = None
        try:
            layer, redis = servers.nats(self.group, log), servers.redis(self.group, log)
            cql = os.environ.get(servers.CQL) or servers.cql(self.group, log)
        except BaseException:
            self.group.stop()
            raise
        keyspace = f"natter_bench_{os.getpid()}"
        self.store = ["--store", f"scylla://{cql}/{keyspace}"]
        self.flags = [*self.store, "--sessions", redis, "--channel-layer", layer]
        # What these servers do for others must not be where the measured node runs. They come first where nodes do:
        # a node that waits for a server which waits for a compiler would be measured with that.
        moves = [["taskset", "-a", "-c", "-p", str(GENERATOR_CPU)], *([["chrt", "-a", "-r", "-p", "1"]] if REALTIME else [])]
        for one in self.group.processes:
            for move in moves:
                subprocess.run([*move, str(one["pid"])], stdout=log, check=False)
        tools.need([NATTER, "migrate", *self.store], log)
        self.users = self.group.folder / "users.jsonl"
        seed = [NATTER, "seed", *self.flags[:4], "--users", 1_000, "--rooms", 1, "--members", 10, "--out", self.users]
        tools.need(seed, log)
        return f"{super().prepare(log)}, 2 nodes"

    def release(self):
        self.group.stop()

    def furnish(self, folder, scenario):
        (port, self.first_admin) = servers.free_ports(2)
        self.first = f"127.0.0.1:{port}"
        listen = ["--listen", self.first, "--admin-listen", f"127.0.0.1:{self.first_admin}", "--limits", "off"]
        with open(folder / "first.log", "wb") as log:
            command = [NATTER, "serve", *listen, *self.flags]
            self.other = pinned(command, GENERATOR_CPU, cwd=folder, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not serves(self.first_admin):
            if self.other.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the first node does not become ready, see {folder}/first.log")
            time.sleep(0.05)

    def command(self, port, folder, scenario):
        (self.admin_port,) = servers.free_ports(1)
        listen = ["--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{self.admin_port}", "--limits", "off"]
        return [NATTER, "serve", *listen, *self.flags]

    def metrics(self):
        """The measured node's counters, and those of the senders' node with `first ` before their names."""
        return {**super().metrics(), **{f"first {name}": count for name, count in counters(self.first_admin).items()}}

    def ready(self, port):
        return serves(self.admin_port)

    def stopped(self):
        if self.other is not None:
            stop(self.other)
            self.other = None

    def generator(self, scenario):
        return ["--users-file", self.users, "--senders-url", f"http://{self.first}"]


def build(log):
    """Builds what is ours, optimised as it is shipped."""
    tools.need(["cargo", "build", "--locked", "--release", "--bin", "natter", "--example", "floor"], log)
