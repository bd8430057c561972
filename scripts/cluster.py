"""Two nodes of the debug build on the servers of the tests, and what is run against them: the operators' commands and the
k6 scripts, each with the thresholds that count (nothing lost, nothing twice, no errors)."""

import json
import secrets
import shutil
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import servers
import tools
from tools import ROOT

BINARY = ROOT / "target" / "debug" / "natter"
# Times say nothing here: k6, two nodes and their servers share the processors. Only counts are judged.
PATIENT = {
    name: "60000"
    for name in ("ACK_P99_MS", "DELIVERY_P99_MS", "CONNECT_P99_MS", "PAGE_P99_MS", "BACK_MAX_MS")
}
# Bytes a second of the slow line that slow readers are behind.
SLOW_RATE = 4_000
# The scripts in short form, each with its options. Those of every day first.
DAILY = {
    "smoke": {"PAIRS": 2, "MESSAGES": 5},
    "steady-chat": {"VUS": 3, "SOCKETS": 5, "EVERY": 2, "MINUTES": 0.15, "ROOMS": 6},
}
FULL = {
    "connect-ramp": {"VUS": 4, "SOCKETS": 10, "HOLD": 3, "RAMP": 3},
    "big-room": {"VUS": 4, "SOCKETS": 10, "RATE": 5, "SECONDS": 8, "SETTLE": 2},
    "reconnect-storm": {"VUS": 4, "SOCKETS": 5, "CUTS": 2, "BETWEEN": 4, "SETTLE": 2},
    "history": {"ROOMS": 2, "RATE": 3, "SECONDS": 10, "VUS": 2, "DAYS": 30},
    "slow-readers": {"VUS": 2, "SOCKETS": 5, "SLOW": 2, "RATE": 5, "SECONDS": 8},
    "rolling-deploy": {"VUS": 4, "SOCKETS": 5, "ROOMS": 5, "EVERY": 2, "MINUTES": 0.6},
    "soak": {"VUS": 4, "SOCKETS": 3, "EVERY": 2, "HOURS": 0.005, "STAY": 6, "ROOMS": 8},
}


class Cluster:
    """Two nodes with a keyspace and a namespace of their own."""

    def __init__(self, variables, log):
        self.log = log
        tag = secrets.token_hex(4)
        self.flags = {
            "--store": f"scylla://{variables[servers.CQL]}/natter_k6_{tag}",
            "--channel-layer": variables[servers.NATS],
            "--sessions": variables[servers.REDIS],
            "--namespace": f"k6-{tag}",
        }
        ports = servers.free_ports(4)
        self.ports = list(zip(ports[:2], ports[2:]))
        self.urls = [f"http://127.0.0.1:{port}" for port, _ in self.ports]
        self.nodes = [None, None]

    def shared(self):
        """What every node and command is told."""
        return [part for pair in self.flags.items() for part in pair]

    def start(self, node):
        """Starts a node and waits until it listens."""
        port, admin = self.ports[node]
        command = [BINARY, "serve", "--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"]
        command += ["--limits", "off", "--drain-delay", "1s", "--drain-window", "3s", "--drain-pace", "10", *self.shared()]
        self.nodes[node], _ = tools.start(command, "listening on ", self.log)
        deadline = time.monotonic() + 30
        while not self.ready(node):
            if time.monotonic() > deadline:
                raise RuntimeError(f"node {node} does not become ready")
            time.sleep(0.1)

    def ready(self, node):
        """Whether a node says that it can serve."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[node][1]}/readyz", timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def stop(self):
        """Ends what runs."""
        for process in filter(None, self.nodes):
            tools.stop(process)

    def command(self, *words, env=None):
        """Whether a command of the operators ends well."""
        return tools.run([BINARY, *words], self.log, env, timeout=120) == 0


def commands(cluster):
    """The operators' commands against the cluster; what each came to. The nodes are started on the way."""
    results = {
        "migrate makes the schema": cluster.command("migrate", *cluster.shared()),
        "migrate finds nothing to do": cluster.command("migrate", *cluster.shared()),
    }
    for node in range(2):
        cluster.start(node)
    results["check finds every server"] = cluster.command("check", *cluster.shared())
    for node, (_, admin) in enumerate(cluster.ports):
        address = ["--admin-listen", f"127.0.0.1:{admin}"]
        results[f"healthcheck of node {node}"] = cluster.command("healthcheck", *address)
        results[f"healthcheck --live of node {node}"] = cluster.command("healthcheck", "--live", *address)
        results[f"smoke of node {node}"] = cluster.command("smoke", "--url", cluster.urls[node])
    who, secret = ["--username", "operator"], "correct horse"
    made = cluster.command("createsuperuser", *who, *cluster.shared(), env={"NATTER_SUPERUSER_PASSWORD": secret})
    results["createsuperuser beside running nodes"] = made
    for password, right in ((secret, True), ("another horse", False)):
        # As the chart's test does where nobody may register.
        held = cluster.command("smoke", "--url", cluster.urls[1], *who, env={"NATTER_PASSWORD": password})
        results[f"smoke as that user with {'the right' if right else 'a wrong'} password"] = held is right
    return results


def k6(cluster, script, options, folder=ROOT / "loadtest"):
    """Runs one script; what each threshold and check came to."""
    program = tools.python_tool("k6", log=cluster.log)
    summary = tools.SERVICES / f"k6-{script}.json"
    summary.unlink(missing_ok=True)
    command = [program, "run", "--no-usage-report", "--quiet", "--no-color", "--summary-export", summary]
    for name, value in {"URL": ",".join(cluster.urls), "PREFIX": script, **PATIENT, **options}.items():
        command += ["-e", f"{name}={value}"]
    command.append(Path(folder) / f"{script}.js")
    code = tools.run(command, cluster.log, {"K6_AUTO_EXTENSION_RESOLUTION": "false"}, timeout=300)
    results = {f"{script} ends well": code == 0}
    if not summary.exists():
        return results
    told = json.loads(summary.read_text())
    for name, metric in told["metrics"].items():
        for threshold, crossed in metric.get("thresholds", {}).items():
            results[f"{script}: {name} {threshold}"] = not crossed
    for name, one in told["root_group"]["checks"].items():
        results[f"{script}: {name}"] = one["fails"] == 0 and one["passes"] > 0
    if told["metrics"].get("natter_sent", {"count": 0})["count"] > 0:
        for what, name in (("messages arrived", "received"), ("they were compared with the history", "verified")):
            results[f"{script}: {what}"] = told["metrics"][f"natter_{name}"]["count"] > 0
    return results


def notices_losses(cluster):
    """Whether a client that takes none of what comes after a sender's second message is found out by the history."""
    with tempfile.TemporaryDirectory(prefix="natter-k6-") as folder:
        copy = shutil.copytree(ROOT / "loadtest", Path(folder) / "loadtest")
        library = copy / "lib" / "chat.js"
        text, line = library.read_text(), "    seen.add(frame.id);\n"
        if text.count(line) != 1:
            return {"notice the last messages missing": False}
        library.write_text(text.replace(line, f"    if (Number(n) > 1) return;\n{line}"))
        options = {"VUS": 2, "SOCKETS": 2, "RATE": 5, "SECONDS": 4, "SETTLE": 1, "ROOM": "spoilt"}
        found = k6(cluster, "big-room", options, copy)
    kept = all(held for name, held in found.items() if "lost" not in name and "ends well" not in name)
    return {"notice the last messages missing": kept and not found.get("big-room: natter_lost count==0", True)}


class SlowLine:
    """Passes on little in a second from a node to its clients."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            # A small buffer, so that what waits waits at the node.
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            threading.Thread(target=self.carry, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self.carry, args=(server, client, SLOW_RATE), daemon=True).start()

    @staticmethod
    def carry(source, sink, rate):
        try:
            while some := source.recv(1_024):
                sink.sendall(some)
                if rate:
                    time.sleep(len(some) / rate)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def end(self):
        self.listener.close()


def seeded(cluster, folder):
    """People and rooms with messages for `history`."""
    people = Path(folder) / "users.jsonl"
    amount = ["--users", "20", "--rooms", "2", "--messages", "2000", "--out", str(people)]
    if not cluster.command("seed", *amount, *cluster.shared()):
        raise RuntimeError("the rooms can't be filled")
    return {"USERS_FILE": people}


def deploy(cluster, results):
    """Restarts one node after the other, as a rollout does, in the middle of a load."""
    time.sleep(8)
    for node in range(2):
        process = cluster.nodes[node]
        process.terminate()
        results[f"rolling-deploy: node {node} ends in order"] = process.wait(60) == 0
        cluster.start(node)
        time.sleep(1)


def scripts(cluster, wanted):
    """Runs k6 scripts in short form."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="natter-k6-") as folder:
        for script, options in wanted.items():
            line, rollout = None, None
            if script == "history":
                options = {**options, **seeded(cluster, folder)}
            if script == "slow-readers":
                line = SlowLine(cluster.ports[0][0])
                options = {**options, "SLOW_URL": line.url}
            if script == "rolling-deploy":
                rollout = threading.Thread(target=deploy, args=(cluster, results))
                rollout.start()
            results |= k6(cluster, script, options)
            if rollout:
                rollout.join()
                results["rolling-deploy: both nodes were replaced"] = all(
                    results.get(f"rolling-deploy: node {node} ends in order") for node in range(2)
                )
            if line:
                line.end()
    return results


def run(variables, missing, wanted, log):
    """Starts the cluster, runs the commands and scripts, ends it: what each check came to, and the skips."""
    lacking = [f"{variable} is missing: {reason}" for variable, reason in missing.items()]
    if lacking:
        return {}, lacking
    cluster = Cluster(variables, log)
    try:
        results = {**commands(cluster), **scripts(cluster, wanted)}
        return {**results, **(notices_losses(cluster) if wanted is DAILY else {})}, []
    finally:
        cluster.stop()
