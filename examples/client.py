#!/usr/bin/env python3
"""A chat client for a Natter server in one file, written from docs/protocol.md alone.

    pip install websockets
    python3 examples/client.py --url http://127.0.0.1:8080 --user ann --register chat lobby
    python3 examples/client.py --url http://127.0.0.1:8080 --self-test

In a chat, a line is a message; `/edit TEXT` changes your last message, `/delete` removes it, `/who` lists the members,
`/history` shows the newest page, `/quit` ends. The connection comes back by itself and resumes where it was.
"""

import argparse
import asyncio
import getpass
import http.cookiejar
import json
import os
import random
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

# Seconds that an answer may take.
PATIENCE = 15


class Refused(Exception):
    """The server's `error` frame or problem document."""

    def __init__(self, status, problem):
        super().__init__(f"{problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.code = problem.get("code")
        self.retry_after = problem.get("retry_after")


class Account:
    """Somebody's HTTP side: a cookie jar and JSON calls."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        self.username = None

    async def call(self, method, path, body=None):
        """The answer's status and JSON; a problem document is raised as Refused."""
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with self.opener.open(request, timeout=PATIENCE) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            if error.headers.get_content_type() != "application/problem+json":
                raise
            raise Refused(error.code, json.loads(error.read())) from None

    async def enter(self, username, password, register=False):
        """Logs in, or registers, which logs in as well. Returns `Me`."""
        path = "/api/users" if register else "/api/session"
        _, me = await self.call("POST", path, {"username": username, "password": password})
        self.username = me["username"]
        return me

    def cookie(self):
        """What a handshake has to bring."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    async def socket(self, path, **query):
        """Opens a socket and waits for its `hello`."""
        query = {key: value for key, value in query.items() if value is not None}
        address = self.url.replace("http", "ws", 1) + path
        if query:
            address += "?" + urllib.parse.urlencode(query)
        headers = {"Cookie": self.cookie()} if self.cookie() else {}
        stream = await connect(address, additional_headers=headers, subprotocols=["natter.v1"], proxy=None)
        connection = Connection(stream)
        connection.hello = await connection.frame("hello")
        return connection


class Connection:
    """One socket: frames as they come, and answers matched to requests by `ref`."""

    def __init__(self, stream):
        self.stream = stream
        self.frames = []
        self.hello = None
        self.refs = 0
        self.closed = None
        self.news = asyncio.Condition()
        self.reader = asyncio.create_task(self._read())

    async def _read(self):
        try:
            async for text in self.stream:
                async with self.news:
                    self.frames.append(json.loads(text))
                    self.news.notify_all()
        except ConnectionClosed:
            pass
        async with self.news:
            self.closed = self.stream.close_code
            self.news.notify_all()

    async def find(self, wanted, start=0):
        """The first frame from `start` on that is wanted, as soon as there is one, and its place."""
        place = start

        def look():
            nonlocal place
            while place < len(self.frames):
                if wanted(self.frames[place]):
                    return True
                place += 1
            return self.closed is not None

        async with asyncio.timeout(PATIENCE):
            async with self.news:
                await self.news.wait_for(look)
        if place == len(self.frames):
            raise ConnectionError(f"the socket was closed with {self.closed}")
        return self.frames[place], place

    async def frame(self, kind, start=0, **fields):
        """The first frame of this type with these fields."""

        def wanted(frame):
            return frame["type"] == kind and all(frame.get(key) == value for key, value in fields.items())

        return (await self.find(wanted, start))[0]

    async def send(self, frame):
        await self.stream.send(json.dumps(frame))

    async def ask(self, frame):
        """Sends a request and returns its one answer; an `error` is raised as Refused."""
        self.refs += 1
        ref = f"r{self.refs}"
        await self.send({**frame, "ref": ref})
        answer, _ = await self.find(lambda frame: frame.get("ref") == ref)
        if answer["type"] == "error":
            raise Refused(None, answer)
        return answer

    async def end(self):
        """The code that the server closes with."""
        async with asyncio.timeout(PATIENCE):
            async with self.news:
                await self.news.wait_for(lambda: self.closed is not None)
        return self.closed

    async def close(self):
        await self.stream.close()
        await self.reader


class Room:
    """What a client knows of a room: messages by id, in the order of ids, and the cursor."""

    def __init__(self):
        self.messages = {}
        self.cursor = None

    def take(self, frame):
        """Applies a frame of this room; true if it is a message that was not known."""
        kind = frame["type"]
        new = False
        if kind == "message":
            new = frame["id"] not in self.messages
            self.messages.setdefault(frame["id"], frame["message"])
        elif kind == "edited" and frame["id"] in self.messages:
            self.messages[frame["id"]] = frame["message"]
        elif kind == "deleted" and frame["id"] in self.messages:
            self.messages[frame["id"]] = ""
        seen = {"live": "cursor"}.get(kind, "event_id" if "event_id" in frame else "id")
        if kind in ("message", "edited", "deleted", "live") and frame.get(seen):
            self.cursor = max(self.cursor or "", frame[seen])
        return new

    def own(self, ack, text):
        """Notes one's own message, which comes back as an `ack` only."""
        # The cursor stays: other messages with lower ids may still be on their way.
        self.messages[ack["id"]] = text

    def texts(self):
        return [self.messages[id] for id in sorted(self.messages)]

    def digest(self):
        """`have` for a resume: what is held of the 30 s before the cursor."""
        if self.cursor is None or not self.messages:
            return None
        millis = lambda id: int(id.replace("-", "")[:12], 16)
        oldest = min(self.messages)
        recent = [id for id in self.messages if id <= self.cursor and millis(id) >= millis(self.cursor) - 30_000]
        xor = 0
        for id in recent:
            xor ^= int(id.replace("-", ""), 16)
        return f"{len(recent)}.{xor:032x}.{oldest}"


# --- the self-test -------------------------------------------------------------------------------------------------


def ok(what, holds, seen=None):
    """One line per check, as a script can count them."""
    if not holds:
        sys.exit(f"FAILED {what}: {seen!r}")
    print(f"ok {what}", flush=True)


async def refused(what, code, awaitable):
    try:
        answer = await awaitable
    except Refused as refusal:
        ok(what, refusal.code == code, refusal.code)
    else:
        sys.exit(f"FAILED {what}: not refused but {answer!r}")


async def test_accounts(url, ann, ben):
    """Registration, log-in, and who may open a socket."""
    stranger = Account(url)
    _, info = await stranger.call("GET", "/api/info")
    ok("info names what the server is", {"name", "version", "registration", "limits"} <= info.keys(), info)
    await refused("a stranger has no session", "not_logged_in", stranger.call("GET", "/api/session"))
    try:
        await stranger.socket("/ws")
    except InvalidStatus as error:
        ok("a stranger gets no socket", error.response.status_code == 401, error)
    else:
        sys.exit("FAILED a stranger gets no socket")
    me = await ann.enter(f"ann{secrets.token_hex(4)}", "correct horse", register=True)
    ok("registering logs in", (await ann.call("GET", "/api/session"))[1]["id"] == me["id"], me)
    await ben.enter(f"Ben-{secrets.token_hex(4)}", "battery staple", register=True)
    await refused("a name is taken once, whatever its case", "name_taken", stranger.enter(me["username"].upper(), "12345678", True))
    await refused("a wrong password is refused", "bad_credentials", stranger.enter(me["username"], "wrong horse"))
    again = await Account(url).enter(me["username"], "correct horse")
    ok("logging in again is another session", again["session"]["handle"] != me["session"]["handle"], again)


async def test_talk(ann, ben, name):
    """Two people in a room; returns their connections and Ben's room."""
    one = await ann.socket(f"/ws/chat/{name}/")
    ok("hello comes first", one.frames[0]["type"] == "hello" and one.hello["user"] == ann.username, one.frames[0])
    joined = await one.frame("joined")
    ok("joining a free name makes the room", joined["created"] and joined["role"] == "owner", joined)
    await one.frame("live")
    two = await ben.socket("/ws")
    joined = await two.ask({"type": "join", "room": name})
    ok("a second person becomes a member", not joined["created"] and joined["role"] == "member", joined)
    ok("and sees who is here", {ann.username, ben.username} <= set(joined["present"]), joined)
    room = Room()
    room.take(await two.frame("live", room=name))
    seen = await one.frame("presence", count=2)
    ok("the first sees the second come", ben.username in seen.get("joined", []), seen)

    nonce = secrets.token_hex(8)
    send = {"type": "send", "message": "hello, Ben ✓", "nonce": nonce}
    ack = await one.ask(send)
    ok("a send is acknowledged with its nonce", ack["type"] == "ack" and ack["nonce"] == nonce, ack)
    got = await two.frame("message", id=ack["id"])
    ok("the other receives it", (got["author"], got["message"]) == (ann.username, send["message"]), got)
    ok("with the same time and room", (got["at"], got["room_id"]) == (ack["at"], ack["room_id"]), got)
    again = await one.ask({**send, "retry": True})
    ok("a retry has the first attempt's id", again["id"] == ack["id"], again)
    await refused("a nonce serves one message", "nonce_reused", one.ask({**send, "message": "other", "retry": True}))
    bare = {"message": "bare"}
    await one.send(bare)
    got = await two.frame("message", **bare)
    ok("a frame without type is a send", (await one.frame("ack", id=got["id"]))["room"] == name, got)
    answer = await two.ask({"type": "send", "room": name, "message": "hello, Ann", "reply_to": ack["id"]})
    got = await one.frame("message", id=answer["id"])
    ok("a reply names what it answers", got["reply_to"] == ack["id"], got)
    own = [frame for frame in one.frames if frame["type"] == "message" and frame["author"] == ann.username]
    ok("the sender gets no echo", own == [], own)
    for frame in two.frames:
        if frame.get("room") == name:
            room.take(frame)
    room.own(answer, "hello, Ann")
    ok("each message came once", room.texts() == ["hello, Ben ✓", "bare", "hello, Ann"], room.texts())
    return one, two, room


async def test_change(ann, one, two, name):
    """Edit, delete, typing, read markers."""
    ack = await one.ask({"type": "send", "message": "a misteak"})
    id = ack["id"]
    await two.frame("message", id=id)
    done = await one.ask({"type": "edit", "room": name, "id": id, "message": "a mistake"})
    got = await two.frame("edited", id=id)
    ok("an edit reaches the other", (got["message"], got["event_id"]) == ("a mistake", done["event_id"]), got)
    await refused("others' messages are not yours to edit", "forbidden", two.ask({"type": "edit", "room": name, "id": id, "message": "x"}))
    done = await one.ask({"type": "delete", "room": name, "id": id})
    got = await two.frame("deleted", id=id)
    ok("so does a deletion", got["event_id"] == done["event_id"], got)
    await two.send({"type": "typing", "room": name})
    got = await one.frame("typing")
    ok("typing is shown", got["user"] == two.hello["user"], got)
    ack = await two.ask({"type": "read", "room": name, "id": id})
    ok("a read marker moves", ack["type"] == "ack", ack)
    _, mine = await ann.call("GET", f"/api/rooms/{name}")
    ok("what the other wrote is unread", mine["unread"] == 1, mine)
    _, page = await ann.call("GET", f"/api/rooms/{name}/messages?limit=3")
    texts = [message["message"] for message in page["messages"]]
    ok("history is there over HTTP, in order", texts == ["bare", "hello, Ann", ""] and page["has_more"], page)
    ok("and says what was deleted", page["messages"][-1]["deleted"], page)


async def test_resume(ben, one, two, room, name):
    """What happened while somebody was away comes on return, once."""
    for frame in two.frames:
        if frame.get("room") == name:
            room.take(frame)
    await two.close()
    known = set(room.messages)
    first = await one.ask({"type": "send", "message": "while you were out"})
    second = await one.ask({"type": "send", "message": "twice"})
    await one.ask({"type": "edit", "id": first["id"], "message": "while you were away"})
    await one.ask({"type": "delete", "id": second["id"]})
    for have in (None, room.digest()):
        back = await ben.socket(f"/ws/chat/{name}", since=room.cursor, have=have)
        await back.frame("live")
        copy = Room()
        copy.messages, copy.cursor = dict(room.messages), room.cursor
        replayed = [frame["id"] for frame in back.frames if frame["type"] == "message"]
        for frame in back.frames:
            copy.take(frame)
        how = "with a digest" if have else "with a cursor"
        ok(f"resuming {how} brings what was missed", copy.texts()[len(known) :] == ["while you were away", ""], copy.texts())
        if have:
            ok("and nothing that was known", not known & set(replayed), replayed)
        await back.close()
    return await ben.socket("/ws")


async def test_errors(one, two, name):
    """Every request has one answer, and errors say what is wrong."""
    ok("a ping is answered", (await two.ask({"type": "ping"}))["type"] == "pong")
    await refused("an unknown type", "unknown_type", two.ask({"type": "dance"}))
    await refused("an empty message", "message_empty", one.ask({"type": "send", "message": " \n "}))
    await refused("a long message", "message_too_long", one.ask({"type": "send", "message": "x" * 4001}))
    await refused("a room not joined", "not_joined", two.ask({"type": "send", "room": name, "message": "x"}))
    await refused("a name against the rules", "invalid_name", two.ask({"type": "join", "room": "no/slash"}))
    await refused("a missing field", "invalid_frame", two.ask({"type": "edit", "room": name}))
    await two.stream.send("{")
    ok("no JSON", (await two.frame("error", code="invalid_json"))["detail"] != "")


async def test_direct(ann, ben, two):
    """A conversation of two, and the inbox that tells of it."""
    direct = await ann.socket(f"/ws/direct/{ben.username}/")
    joined = await direct.frame("joined")
    ok("a direct conversation opens", (joined["kind"], joined["with"]) == ("direct", ben.username), joined)
    note = await two.frame("inbox", what="direct")
    ok("the other's inbox tells", note["with"] == ann.username, note)
    await two.ask({"type": "join", "room": note["room_id"]})
    ack = await direct.ask({"type": "send", "message": "between us"})
    got = await two.frame("message", id=ack["id"])
    ok("and it carries messages", (got["message"], got["room"]) == ("between us", got["room_id"]), got)


async def test_ends(ann, one, two):
    """How sockets end."""
    binary = await ann.socket("/ws")
    await binary.stream.send(b"\x00")
    ok("a binary frame closes with 1003", await binary.end() == 1003, binary.closed)
    large = await ann.socket("/ws")
    await large.stream.send("x" * 65_537)
    ok("a large frame closes with 1009", await large.end() == 1009, large.closed)
    await ann.call("DELETE", "/api/session")
    ok("logging out closes the session's sockets", await one.end() == 4200, one.closed)
    await refused("and ends the session", "not_logged_in", ann.call("GET", "/api/session"))
    ok("and nobody else's", (await two.ask({"type": "ping"}))["type"] == "pong")
    await two.close()


async def self_test(url):
    """Two people use everything that the document promises."""
    ann, ben = Account(url), Account(url)
    name = f"room-{secrets.token_hex(4)}"
    await test_accounts(url, ann, ben)
    one, two, room = await test_talk(ann, ben, name)
    await test_change(ann, one, two, name)
    two = await test_resume(ben, one, two, room, name)
    await test_errors(one, two, name)
    await test_direct(ann, ben, two)
    await test_ends(ann, one, two)
    print("the self-test is done")


# --- for people ----------------------------------------------------------------------------------------------------


def show(frame, me):
    """One line for what happened."""
    kind = frame["type"]
    if kind == "message" and not frame.get("deleted"):
        print(f"{frame['at'][11:16]} {frame['author']}: {frame['message']}")
    elif kind == "edited":
        print(f"      {frame['author']} changed a message: {frame['message']}")
    elif kind == "deleted":
        print("      a message was removed")
    elif kind == "presence" and "joined" in frame:
        came = [name for name in frame["joined"] if name != me]
        if came or frame["left"]:
            print("      " + "; ".join(filter(None, [" ".join(came) + " came" if came else "", " ".join(frame["left"]) + " left" if frame["left"] else ""])))
    elif kind == "reset":
        print("      (there is more in the history)")
    elif kind == "error":
        print(f"      not done: {frame['detail']}")
    elif kind == "bye":
        print(f"      the server says goodbye: {frame['reason']}")


class Chat:
    """One room for one person at a terminal."""

    def __init__(self, account, name):
        self.account, self.name = account, name
        self.room = Room()
        self.connection = None
        self.last = None
        self.waiting = {}

    async def listen(self):
        """Keeps a connection to the room; comes back with growing, random pauses unless told not to."""
        pause = 0.5
        while True:
            resume = True
            try:
                path = f"/ws/chat/{urllib.parse.quote(self.name)}/"
                connection = await self.account.socket(path, since=self.room.cursor, have=self.room.digest())
                self.connection, pause = connection, 0.5
                await self.resend()
                resume = await self.follow(connection)
            except InvalidStatus as error:
                if error.response.status_code < 429:
                    sys.exit(f"the server refuses the room: {error.response.status_code}")
            except (OSError, TimeoutError, ConnectionClosed):
                pass
            self.connection = None
            if not resume:
                return
            print("      (no connection; trying again)")
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 30)

    async def resend(self):
        """A send without an answer is repeated with its nonce, which makes it safe."""
        for nonce, text in list(self.waiting.items()):
            await self.connection.send({"type": "send", "message": text, "nonce": nonce, "retry": True})

    async def follow(self, connection):
        """Shows frames until the socket ends; true if coming back is wanted."""
        resume, place = True, 0
        while True:
            try:
                async with connection.news:
                    await connection.news.wait_for(lambda: place < len(connection.frames) or connection.closed is not None)
            finally:
                fresh = connection.frames[place:]
                place += len(fresh)
            for frame in fresh:
                if frame["type"] == "ack" and frame.get("nonce") in self.waiting:
                    self.room.own(frame, self.waiting.pop(frame["nonce"]))
                    self.last = frame["id"]
                if self.room.take(frame) or frame["type"] != "message":
                    show(frame, self.account.username)
                if frame["type"] == "bye":
                    resume = frame["resume"]
            if connection.closed is not None and place == len(connection.frames):
                return resume and not 4200 <= connection.closed < 4300

    async def line(self, text):
        """Does what a line says; false at the end."""
        if text == "/quit":
            return False
        if text == "/who":
            _, page = await self.account.call("GET", f"/api/rooms/{self.name}/members")
            print("      " + ", ".join(m["username"] + (" *" if m["present"] else "") for m in page["members"]))
        elif text == "/history":
            _, page = await self.account.call("GET", f"/api/rooms/{self.name}/messages")
            for message in page["messages"]:
                show({"type": "message", **message}, self.account.username)
        elif text.startswith("/edit ") and self.last and self.connection:
            await self.connection.send({"type": "edit", "id": self.last, "message": text[6:]})
        elif text == "/delete" and self.last and self.connection:
            await self.connection.send({"type": "delete", "id": self.last})
        elif text.strip():
            nonce = secrets.token_hex(8)
            self.waiting[nonce] = text
            if self.connection:
                await self.connection.send({"type": "send", "message": text, "nonce": nonce})
        return True

    async def read_lines(self):
        while text := await asyncio.to_thread(sys.stdin.readline):
            try:
                if not await self.line(text.rstrip("\n")):
                    return
            except (Refused, ConnectionClosed, OSError) as error:
                print(f"      not done: {error}")


async def chat(args):
    account = Account(args.url)
    password = os.environ.get("NATTER_PASSWORD") or getpass.getpass(f"Password of {args.user}: ")
    await account.enter(args.user, password, args.register)
    room = Chat(account, args.room)
    tasks = [asyncio.create_task(room.listen()), asyncio.create_task(room.read_lines())]
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    for task in done:
        task.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the server (default: %(default)s)")
    parser.add_argument("--self-test", action="store_true", help="check the server against docs/protocol.md")
    parser.add_argument("--user", help="who you are; the password is asked for, or taken from NATTER_PASSWORD")
    parser.add_argument("--register", action="store_true", help="register this user first")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("chat", help="talk in a room").add_argument("room")
    args = parser.parse_args()
    if args.self_test:
        asyncio.run(self_test(args.url))
        return
    if args.command != "chat" or not args.user:
        parser.error("say --user NAME chat ROOM, or --self-test")
    try:
        asyncio.run(chat(args))
    except Refused as refusal:
        sys.exit(str(refusal))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
