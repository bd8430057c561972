"""Pages of history at random ages, over one connection that stays open, as a reader who jumps about would ask."""

import http.client
import json
import random
import time

# What the seeded messages are spread over, in milliseconds.
SPAN = 30 * 24 * 60 * 60 * 1000
READS = 'natter_store_reads_total{kind="message_range"}'


def id_at(millis):
    """An id of version 7 that sorts at a time."""
    digits = f"{millis:012x}7{random.getrandbits(12):03x}{8 + random.getrandbits(2):x}{random.getrandbits(60):015x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def quantile(values, share):
    """The value that so large a share is not above."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def pages(contender, port, quick):
    """Asks for pages; answers their times in milliseconds and how many range reads each took."""
    scenario = contender.scenario
    home = contender.seeded(scenario)
    users = home / "users.jsonl"
    cookie = json.loads(users.read_text().splitlines()[0])["cookie"]
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    times, count = [], 200 if quick else 2_000
    before = contender.metrics()[READS]
    for _ in range(count):
        age = random.randrange(SPAN)
        room = f"bench-r{random.randrange(scenario.seeded_rooms)}"
        began = time.perf_counter()
        at = id_at(int(time.time() * 1000) - age)
        client.request("GET", f"/api/rooms/{room}/messages?limit=50&before={at}", headers={"Cookie": cookie})
        answer = client.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"a page of history was answered {answer.status}: {body[:200]}")
    reads = contender.metrics()[READS] - before
    figures = {"p50": quantile(times, 0.5), "p99": quantile(times, 0.99), "pages": count, "reads": reads / count}
    figures["messages"] = scenario.messages * scenario.seeded_rooms
    return {"history": figures}
