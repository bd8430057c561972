// What the load tests share: people with sessions, sockets that count what becomes of every message, options.
//
// Each message carries its sender's mark, a number that grows by one, and the time: so every reader can tell by itself
// what was lost, came twice, or came out of order, and how long it took. Clocks of generator and reader are one here,
// because one k6 process is both; over several machines only the counts mean something.
import exec from 'k6/execution';
import http from 'k6/http';
import { SharedArray } from 'k6/data';
import { Counter, Trend } from 'k6/metrics';
import { setTimeout } from 'k6/timers';

// Stable since k6 1.6 under the first name, in older ones under the second.
const { WebSocket } = (() => {
  try {
    return require('k6/websockets');
  } catch (_) {
    return require('k6/experimental/websockets');
  }
})();

/** A number from the environment. */
export const number = (name, otherwise) => {
  const value = Number(__ENV[name] === undefined ? otherwise : __ENV[name]);
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name}=${__ENV[name]} is no number of 0 or more`);
  return value;
};

/** The nodes or their load balancer: URL=http://a,http://b */
export const URLS = (__ENV.URL || 'http://127.0.0.1:8080').split(',').map((url) => url.trim().replace(/\/$/, ''));
/** Users with sessions, as `natter seed --out FILE` writes them. */
export const SEEDED = __ENV.USERS_FILE
  ? new SharedArray('users', () =>
      open(__ENV.USERS_FILE)
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line)),
    )
  : null;
/** The state of a WebSocket that can be written to. */
const OPEN = 1;
const PREFIX = __ENV.PREFIX || 'load';
const PASSWORD = __ENV.PASSWORD || 'correct horse';
/** How many clients of each VU compare what came to them with the history when they go. */
const VERIFY = number('VERIFY', 1);
/** Milliseconds that the last messages are given to arrive before they count as lost. */
const VERIFY_PATIENCE = 10000;
/** Milliseconds by which the clocks of the nodes may differ from this one's. */
const CLOCKS_APART = 2000;

export const counts = {
  connected: new Counter('natter_connected'),
  refused: new Counter('natter_refused'),
  closed: new Counter('natter_closed_unasked'),
  sent: new Counter('natter_sent'),
  acked: new Counter('natter_acked'),
  errors: new Counter('natter_errors'),
  received: new Counter('natter_received'),
  lost: new Counter('natter_lost'),
  verified: new Counter('natter_verified'),
  duplicates: new Counter('natter_duplicates'),
  disorder: new Counter('natter_disorder'),
  resets: new Counter('natter_resets'),
};
export const times = {
  connect: new Trend('natter_connect_ms', true),
  ack: new Trend('natter_ack_ms', true),
  delivery: new Trend('natter_delivery_ms', true),
  back: new Trend('natter_back_ms', true),
};
/** What has to be 0 whatever the load. */
export const CLEAN = {
  natter_lost: ['count==0'],
  natter_duplicates: ['count==0'],
  natter_disorder: ['count==0'],
  natter_errors: ['count==0'],
};
/** k6 leaves a threshold out whose metric never got a value, so each is touched once. */
export const touch = () => Object.values(counts).forEach((counter) => counter.add(0));

export const word = () => Math.random().toString(36).slice(2, 10).padEnd(8, 'x');
/** The least message id of a moment: UUID version 7 begins with its milliseconds. */
export function idAt(millis) {
  const hex = Math.floor(millis).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** A number whose natural logarithm is even: the time until the next of many independent events. */
export const exponential = (mean) => -Math.log(1 - Math.random()) * mean;

/** Ranks whose use falls as 1/rank: most rooms are quiet, some are not. */
export function zipf(count, exponent = 1) {
  const sums = [];
  let sum = 0;
  for (let rank = 1; rank <= count; rank += 1) {
    sum += 1 / rank ** exponent;
    sums.push(sum);
  }
  return () => {
    const at = Math.random() * sum;
    return sums.findIndex((bound) => bound >= at);
  };
}

/** The person with this number: from the file, or registered and logged in over HTTP like anybody. */
export function person(index) {
  const url = URLS[index % URLS.length];
  if (SEEDED !== null) {
    const one = SEEDED[index % SEEDED.length];
    return { name: one.username, cookie: one.cookie.replace(/^natter_session=/, ''), url };
  }
  const name = `${PREFIX}-${index}`;
  const call = (method, path, body) =>
    http.request(method, url + path, JSON.stringify(body), {
      headers: { 'Content-Type': 'application/json' },
      jar: new http.CookieJar(),
      tags: { name: path },
    });
  const account = { username: name, password: PASSWORD };
  let answer = call('POST', '/api/session', account);
  if (answer.status === 401) answer = call('POST', '/api/users', account);
  if (answer.status !== 200 && answer.status !== 201) {
    throw new Error(`${name} can't log in: ${answer.status} ${answer.body}; run the server with --limits off`);
  }
  return { name, cookie: answer.cookies.natter_session[0].value, url };
}

/** One socket in one or more rooms, which comes back by itself and counts what it sees. */
export class Client {
  constructor(who, rooms) {
    this.who = who;
    this.rooms = rooms;
    this.mark = word();
    this.next = {};
    this.cursors = {};
    this.senders = {};
    this.seen = {};
    this.waiting = {};
    this.from = {};
    this.gaps = {};
    this.verifies = false;
    this.ending = false;
    this.attempts = 0;
    this.lives = 0;
  }

  /** Connects; resolves once every room is live. */
  open() {
    this.began = Date.now();
    this.missing = new Set(this.rooms);
    return new Promise((resolve) => {
      this.ready = resolve;
      this.connect();
    });
  }

  connect() {
    const url = this.lives === 0 ? this.who.url : URLS[Math.floor(Math.random() * URLS.length)];
    const address = `${url.replace(/^http/, 'ws')}/ws`;
    const stream = new WebSocket(address, 'natter.v1', { headers: { Cookie: `natter_session=${this.who.cookie}` } });
    this.stream = stream;
    let opened = false;
    stream.onopen = () => {
      opened = true;
      this.attempts = 0;
      counts.connected.add(1);
      times.connect.add(Date.now() - this.began);
      this.missing = new Set(this.rooms);
      for (const room of this.rooms) {
        const since = this.cursors[room];
        this.send({ type: 'join', room, latest: 0, ...(since ? { since } : {}) });
      }
    };
    stream.onmessage = (event) => this.frame(JSON.parse(event.data));
    stream.onerror = () => undefined;
    stream.onclose = () => {
      if (this.stream !== stream) return;
      this.stream = null;
      if (!opened) counts.refused.add(1);
      this.missing = new Set(this.rooms);
      if (this.ending) return;
      if (opened) counts.closed.add(1);
      this.lives += 1;
      this.began = this.lostAt = Date.now();
      this.attempts += 1;
      const most = Math.min(30000, 250 * 2 ** this.attempts);
      const delay = this.delay === undefined ? Math.random() * most : this.delay;
      this.delay = undefined;
      setTimeout(() => this.ending || this.connect(), delay);
    };
  }

  send(frame) {
    // What can't be sent now is sent again once the rooms are live, if it has a nonce.
    if (this.stream && this.stream.readyState === OPEN) this.stream.send(JSON.stringify(frame));
  }

  frame(frame) {
    switch (frame.type) {
      case 'message':
        return this.message(frame);
      case 'edited':
      case 'deleted':
        return this.moveCursor(frame.room, frame.event_id);
      case 'live':
        if (this.from[frame.room] === undefined) this.from[frame.room] = frame.cursor || idAt(0);
        this.moveCursor(frame.room, frame.cursor);
        this.missing.delete(frame.room);
        if (this.missing.size === 0) {
          if (this.lostAt) times.back.add(Date.now() - this.lostAt);
          this.lostAt = undefined;
          this.retryAll();
          this.ready();
        }
        return undefined;
      case 'ack':
        return this.acked(frame);
      case 'reset':
        this.gaps[frame.room] = true;
        return counts.resets.add(1);
      case 'bye':
        this.delay = frame.delay * 1000;
        return undefined;
      case 'error':
        return this.failed(frame);
      default:
        return undefined;
    }
  }

  moveCursor(room, id) {
    if (id && !(this.cursors[room] >= id)) this.cursors[room] = id;
  }

  message(frame) {
    this.moveCursor(frame.room, frame.event_id || frame.id);
    const [kind, mark, n, at] = frame.message.split(' ');
    if (kind !== 'load' || mark === this.mark) return;
    const seen = (this.seen[frame.room] = this.seen[frame.room] || new Set());
    // A replay overlaps what the client has: only what the server calls live counts as twice.
    if (seen.has(frame.id)) {
      if (!this.missing.has(frame.room)) counts.duplicates.add(1);
      return;
    }
    seen.add(frame.id);
    counts.received.add(1);
    if (!this.missing.has(frame.room)) times.delivery.add(Date.now() - Number(at));
    const key = `${frame.room} ${mark}`;
    const sender = (this.senders[key] = this.senders[key] || { first: Number(n), last: -1, count: 0 });
    // A replay begins before the cursor: it may bring what was said before this client first came.
    if (Number(n) < sender.last && !frame.late && !this.missing.has(frame.room)) counts.disorder.add(1);
    sender.first = Math.min(sender.first, Number(n));
    sender.last = Math.max(sender.last, Number(n));
    sender.count += 1;
  }

  /** Sends a message; it is sent again with its nonce until it is acknowledged. */
  say(room, padding = '') {
    const n = this.next[room] || 0;
    this.next[room] = n + 1;
    const nonce = `${this.mark}-${room}-${n}`.slice(0, 64);
    const at = Date.now();
    const frame = { type: 'send', room, nonce, message: `load ${this.mark} ${n} ${at} ${padding}`.trim() };
    this.waiting[nonce] = { frame, at };
    counts.sent.add(1);
    // Until the room is live again it waits behind those that were cut off, so that the sender keeps its order.
    if (!this.missing.has(room)) this.send(frame);
  }

  acked(frame) {
    const sent = this.waiting[frame.nonce];
    if (sent === undefined) return;
    delete this.waiting[frame.nonce];
    counts.acked.add(1);
    times.ack.add(Date.now() - sent.at);
  }

  retryAll() {
    for (const { frame } of Object.values(this.waiting)) this.send({ ...frame, retry: true });
  }

  failed(frame) {
    const sent = this.waiting[frame.nonce];
    if (sent !== undefined && frame.retry_after !== undefined) {
      setTimeout(() => this.send({ ...sent.frame, retry: true }), frame.retry_after * 1000);
      return;
    }
    counts.errors.add(1);
    console.error(`${this.who.name}: ${frame.code}: ${frame.detail}`);
  }

  /** Cuts the line as a broken network does, without a word; it comes back by itself. */
  cut() {
    const stream = this.stream;
    if (stream) stream.close();
  }

  /** One page of the history after a message, from any node. */
  async page(room, after) {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      const url = URLS[Math.floor(Math.random() * URLS.length)];
      const answer = await http.asyncRequest('GET', `${url}/api/rooms/${room}/messages?limit=200&after=${after}`, null, {
        headers: { Cookie: `natter_session=${this.who.cookie}` },
        tags: { name: 'verify' },
      });
      if (answer.status === 200) return answer.json();
      await pause(1000);
    }
    counts.errors.add(1);
    console.error(`${this.who.name}: the history of ${room} can't be read`);
    return { messages: [], has_more: false };
  }

  /** What others said in a room between this client's coming and a moment, after the history. */
  async said(room, until) {
    const found = [];
    let page = { messages: [{ id: this.from[room] }], has_more: true };
    while (page.has_more && page.messages.length > 0) {
      page = await this.page(room, page.messages[page.messages.length - 1].id);
      found.push(...page.messages.filter((one) => one.id < until));
      if (page.messages.some((one) => one.id >= until)) break;
    }
    return found.filter(({ message }) => message.startsWith('load ') && message.split(' ')[1] !== this.mark);
  }

  /** Compares what came with the history: only so it shows that somebody's last messages are missing. */
  async verify() {
    const until = idAt(Date.now() - CLOCKS_APART);
    for (const room of this.rooms.filter((one) => !this.gaps[one])) {
      const said = await this.said(room, until);
      const missing = () => said.filter((one) => !(this.seen[room] && this.seen[room].has(one.id)));
      const patience = Date.now() + VERIFY_PATIENCE;
      while (missing().length > 0 && Date.now() < patience) await pause(200);
      counts.verified.add(said.length);
      this.lostOf(room, missing());
    }
  }

  /** Counts what is missing, but for what a gap between two numbers of a sender shows already. */
  lostOf(room, missing) {
    for (const { message } of missing) {
      const [, mark, n] = message.split(' ');
      const sender = this.senders[`${room} ${mark}`];
      if (sender === undefined || Number(n) < sender.first || Number(n) > sender.last) counts.lost.add(1);
    }
  }

  /** Waits for what is under way, compares, closes, and adds up what was lost. */
  async close(patience = 15000) {
    const until = Date.now() + patience;
    while (Object.keys(this.waiting).length > 0 && Date.now() < until) await pause(50);
    counts.errors.add(Object.keys(this.waiting).length);
    if (this.verifies) await this.verify();
    this.ending = true;
    if (this.stream) this.stream.close();
    for (const sender of Object.values(this.senders)) counts.lost.add(sender.last - sender.first + 1 - sender.count);
  }
}

/** The clients of this VU: so many sockets, each with the rooms that `roomsOf` gives its number. */
export async function openAll(perVu, roomsOf, Kind = Client) {
  const clients = [];
  for (let n = 0; n < perVu; n += 1) {
    // Over several machines each VU has a number of its own.
    const index = (exec.vu.idInTest - 1) * perVu + n;
    const client = new Kind(person(index), roomsOf(index));
    client.verifies = n < VERIFY;
    clients.push(client);
  }
  await Promise.all(clients.map((client) => client.open()));
  return clients;
}
