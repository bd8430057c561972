"""The peers of the benchmark: small servers of our own over public packages, each at its best fair configuration."""

import hashlib
import re
import shutil
import subprocess
import venv

import servers
import tools
from contenders import HOME, Contender

PEERS = tools.ROOT / "benches" / "peers"


def fingerprint(*paths):
    """Changes with the content of files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]


class UWebSockets(Contender):
    """uWebSockets through its Python binding; its topics do the fan-out in C++."""

    name, dialect = "uwebsockets", "plain"
    guarantee = "none: at most once, nothing stored, order kept"

    def prepare(self, log):
        self.python = tools.python_tool("socketify", "python", log)
        tools.need([self.python, "-c", "import socketify"], log)
        return f"socketify {tools.pinned('socketify')}"

    def command(self, port, folder, scenario):
        return [self.python, PEERS / "uwebsockets" / "server.py", port]


class Centrifuge(Contender):
    """The Go library behind Centrifugo, with its memory broker."""

    name = dialect = "centrifuge"
    guarantee = "none: at most once, nothing stored, order kept"

    def prepare(self, log):
        if shutil.which("go") is None:
            raise tools.Missing("go is not on PATH")
        folder = PEERS / "centrifuge"
        self.program = HOME / "peers" / f"centrifuge-{fingerprint(*sorted(folder.iterdir()))}"
        if not self.program.exists():
            tools.need(["go", "build", "-o", self.program, "."], log, {"GOFLAGS": "-mod=readonly"}, folder)
        return re.search(r"centrifuge (v\S+)", (folder / "go.mod").read_text())[1]

    def command(self, port, folder, scenario):
        return [self.program, f"127.0.0.1:{port}"]


class SocketIo(Contender):
    """Socket.IO on Node.js, WebSocket only, with its in-memory adapter."""

    name, dialect = "socketio", "socket-io"
    guarantee = "none: at most once, nothing stored, order kept"

    def prepare(self, log):
        tools.system("npm", "npm")
        ours = PEERS / "socketio"
        files = [ours / name for name in ("package.json", "package-lock.json", "server.js")]
        self.home = HOME / "peers" / f"socketio-{fingerprint(*files)}"
        if not (self.home / "node_modules" / "socket.io").exists():
            self.home.mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(file, self.home)
            tools.need(["npm", "ci", "--no-audit", "--no-fund"], log, cwd=self.home)
        version = re.search(r'"socket.io": "(\S+)"', files[0].read_text())[1]
        return f"{version} on Node.js {subprocess.check_output(['node', '--version'], text=True).strip()}"

    def command(self, port, folder, scenario):
        return ["node", self.home / "server.js", port]


class Channels(Contender):
    """Django Channels over Redis, with SQLite."""

    name, dialect = "channels", "plain"
    guarantee = "acknowledged after a synced commit; delivered at most once, whether stored or not"

    def prepare(self, log):
        wanted = PEERS / "channels" / "requirements.txt"
        home = HOME / "peers" / f"channels-{fingerprint(wanted)}"
        self.python = home / "bin" / "python"
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            venv.EnvBuilder(with_pip=True).create(home)
            pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            tools.need([*pip, "-r", wanted], log)
            (home / "ready").touch()
        # One Redis for all runs; its processor time is not counted, as that of no other server besides is.
        self.group = servers.Group("bench-redis")
        shutil.rmtree(self.group.folder, ignore_errors=True)
        self.group.folder.mkdir(parents=True)
        self.redis = servers.redis(self.group, log)
        return re.search(r"channels==(\S+)", wanted.read_text())[1]

    def release(self):
        self.group.stop()

    def environment(self):
        return {"REDIS": self.redis}

    def command(self, port, folder, scenario):
        uvicorn = [self.python, "-m", "uvicorn", "server:application", "--app-dir", PEERS / "channels"]
        return [*uvicorn, "--port", port, "--log-level", "warning", "--ws", "websockets-sansio"]


ALL = [UWebSockets, Centrifuge, SocketIo, Channels]
