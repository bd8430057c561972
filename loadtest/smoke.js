// A k6 reader of docs/protocol.md: pairs of people talk in rooms of their own, resume after a break, and read history.
//
//   k6 run -e URL=http://127.0.0.1:8080 loadtest/smoke.js
//   k6 run -e URL=... -e PAIRS=50 -e MESSAGES=20 loadtest/smoke.js
//
// Each check has to hold for every pair. Run the server with `--limits off`: registering many people from one address
// is throttled otherwise.
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';

// Stable since k6 1.6 under the first name, in older ones under the second.
const { WebSocket } = (() => {
  try {
    return require('k6/websockets');
  } catch (_) {
    return require('k6/experimental/websockets');
  }
})();

// One address, or several nodes separated by commas: the two of a pair are then on different ones.
const URLS = (__ENV.URL || 'http://127.0.0.1:8080').split(',').map((url) => url.trim().replace(/\/$/, ''));
const PAIRS = Number(__ENV.PAIRS || 2);
const MESSAGES = Number(__ENV.MESSAGES || 5);
// Milliseconds that an answer may take.
const PATIENCE = 15000;

export const options = {
  scenarios: { pairs: { executor: 'per-vu-iterations', vus: PAIRS, iterations: 1, maxDuration: '2m' } },
  thresholds: { checks: ['rate==1'], pairs_done: [`count==${PAIRS}`] },
};

const pairsDone = new Counter('pairs_done');
const delivery = new Trend('delivery_ms', true);

const word = () => Math.random().toString(36).slice(2, 10).padEnd(8, 'x');

/** Somebody with a session, over HTTP. */
class Person {
  constructor(name, url) {
    this.name = name;
    this.url = url;
    this.jar = new http.CookieJar();
  }

  call(method, path, body) {
    const params = { jar: this.jar, headers: { 'Content-Type': 'application/json' } };
    return http.request(method, this.url + path, body === undefined ? null : JSON.stringify(body), params);
  }

  register() {
    const answer = this.call('POST', '/api/users', { username: this.name, password: 'correct horse' });
    check(answer, { 'registering is 201': (a) => a.status === 201 && a.json('username') === this.name });
    this.call('DELETE', '/api/session');
    check(this.call('GET', '/api/session'), { 'logged out is 401': (a) => a.status === 401 && a.json('code') === 'not_logged_in' });
    const again = this.call('POST', '/api/session', { username: this.name, password: 'correct horse' });
    check(again, { 'logging in is 200': (a) => a.status === 200 });
  }

  /** Opens a socket; resolves with its `hello` read. */
  async socket(path) {
    const session = this.jar.cookiesForURL(this.url).natter_session[0];
    const address = this.url.replace(/^http/, 'ws') + path;
    const socket = new Socket(new WebSocket(address, 'natter.v1', { headers: { Cookie: `natter_session=${session}` } }));
    const hello = await socket.frame('hello');
    check(hello, { 'hello names the user': (f) => f.user === this.name });
    return socket;
  }
}

/** One socket: frames as they come, and those who wait for one. */
class Socket {
  constructor(stream) {
    this.stream = stream;
    this.frames = [];
    this.waiting = [];
    this.refs = 0;
    this.ended = new Promise((resolve) => {
      stream.onclose = () => resolve();
    });
    stream.onmessage = (event) => {
      const frame = JSON.parse(event.data);
      if (frame.type === 'message') frame.arrived = Date.now();
      this.frames.push(frame);
      this.waiting = this.waiting.filter((one) => !one(frame));
    };
    stream.onerror = (event) => console.error(`socket: ${event.error}`);
  }

  find(what, wanted) {
    const found = this.frames.find(wanted);
    if (found) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no ${what} within ${PATIENCE} ms`)), PATIENCE);
      this.waiting.push((frame) => {
        if (!wanted(frame)) return false;
        clearTimeout(late);
        resolve(frame);
        return true;
      });
    });
  }

  frame(type, wanted = () => true) {
    return this.find(type, (frame) => frame.type === type && wanted(frame));
  }

  send(frame) {
    this.stream.send(JSON.stringify(frame));
  }

  /** Sends a request; resolves with its one answer. */
  ask(frame) {
    this.refs += 1;
    const ref = this.refs;
    this.send({ ...frame, ref });
    return this.find(`answer to ${frame.type}`, (answer) => answer.ref === ref);
  }

  close() {
    this.stream.close();
    return this.ended;
  }
}

/** The cursor after these frames: the greatest `event_id`, `id` or `cursor` of `live`. */
function cursorOf(frames) {
  const ids = frames
    .filter((frame) => ['message', 'edited', 'deleted', 'live'].includes(frame.type))
    .map((frame) => frame.event_id || (frame.type === 'live' ? frame.cursor : frame.id))
    .filter(Boolean);
  return ids.sort().pop();
}

async function talk(one, two, room) {
  const sent = [];
  for (let n = 0; n < MESSAGES; n += 1) {
    const frame = { type: 'send', room, message: `number ${n}`, nonce: word() };
    const began = Date.now();
    const ack = await one.ask(frame);
    check(ack, { 'a send is acknowledged': (a) => a.type === 'ack' && a.nonce === frame.nonce });
    const got = await two.frame('message', (message) => message.id === ack.id);
    delivery.add(got.arrived - began);
    check(got, { 'the other receives it': (m) => m.message === frame.message && m.at === ack.at });
    sent.push({ ...ack, message: frame.message });
  }
  const again = await one.ask({ type: 'send', room, message: 'number 0', nonce: sent[0].nonce, retry: true });
  check(again, { 'a retry has the first id': (a) => a.id === sent[0].id });
  const ids = two.frames.filter((frame) => frame.type === 'message').map((frame) => frame.id);
  check(ids, {
    'each came once, in order': () => ids.join() === [...new Set(ids)].sort().join() && ids.length === MESSAGES,
  });
  return sent;
}

async function change(one, two, room, sent) {
  const edit = await one.ask({ type: 'edit', room, id: sent[0].id, message: 'changed' });
  const edited = await two.frame('edited', (frame) => frame.id === sent[0].id);
  check(edited, { 'an edit arrives': (e) => e.message === 'changed' && e.event_id === edit.event_id });
  const removal = await one.ask({ type: 'delete', room, id: sent[1].id });
  const deleted = await two.frame('deleted', (frame) => frame.id === sent[1].id);
  check(deleted, { 'a deletion arrives': (d) => d.event_id === removal.event_id });
  two.send({ type: 'typing', room });
  check(await one.frame('typing'), { 'typing arrives': (t) => Boolean(t.user) });
  check(await one.ask({ type: 'ping' }), { 'a ping is answered': (p) => p.type === 'pong' });
  check(await one.ask({ type: 'dance' }), { 'an unknown type is an error': (e) => e.code === 'unknown_type' });
  check(await one.ask({ type: 'send', room, message: ' ' }), { 'so is an empty message': (e) => e.code === 'message_empty' });
}

async function resume(person, one, two, room, sent) {
  const since = cursorOf(two.frames);
  await two.close();
  const missed = await one.ask({ type: 'send', room, message: 'missed' });
  const back = await person.socket(`/ws/chat/${room}?since=${since}`);
  await back.frame('live');
  const known = new Set(sent.map((message) => message.id));
  const fresh = back.frames.filter((frame) => frame.type === 'message' && !known.has(frame.id));
  check(fresh, { 'resuming brings what was missed': (f) => f.length === 1 && f[0].id === missed.id });
  await back.close();
  return missed;
}

function history(person, room, sent, missed) {
  const page = person.call('GET', `/api/rooms/${room}/messages`);
  const expected = [...sent.map((message) => message.id), missed.id].join();
  check(page, {
    'history has every message in order': (p) => p.status === 200 && p.json('messages').map((m) => m.id).join() === expected,
    'and their changes': (p) => p.json('messages')[0].message === 'changed' && p.json('messages')[1].deleted === true,
  });
  const middle = person.call('GET', `/api/rooms/${room}/messages?limit=1&before=${missed.id}`);
  check(middle, { 'a page has its bounds': (p) => p.json('has_more') === true && p.json('messages').length === 1 });
}

export default async function () {
  const [ann, ben] = [new Person(`a${word()}`, URLS[0]), new Person(`b${word()}`, URLS[URLS.length - 1])];
  const room = `k6-${word()}`;
  ann.register();
  ben.register();
  const one = await ann.socket('/ws');
  const made = await one.ask({ type: 'join', room });
  check(made, { 'joining a free name makes the room': (j) => j.created === true && j.role === 'owner' });
  await one.frame('live');
  const two = await ben.socket(`/ws/chat/${room}/`);
  check(await two.frame('joined'), { 'the second is a member': (j) => j.role === 'member' && j.present.length === 2 });
  await two.frame('live');
  const sent = await talk(one, two, room);
  await change(one, two, room, sent);
  const missed = await resume(ben, one, two, room, sent);
  history(ben, room, sent, missed);
  await one.close();
  pairsDone.add(1);
}
