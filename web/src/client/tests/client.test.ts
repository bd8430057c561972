import { describe, expect, it } from 'vitest';
import type { Notice } from '../types';
import { openTab, quiet, run, setUp, shown, texts } from './setup';

async function started(seed = 1) {
  const setup = setUp(seed);
  const room = setup.server.room('lobby', setup.me, setup.other);
  const tab = openTab(setup);
  return { setup, room, tab, ...tab };
}

describe('joining', () => {
  it('shows the latest page of a viewed room and what comes live, in order', async () => {
    const { setup, room, client } = await started();
    for (let n = 0; n < 60; n += 1) setup.server.post(room, setup.other, `m${n}`);
    await client.start();
    await quiet(setup);
    expect(client.getSnapshot().connection.phase).toBe('live');
    expect(client.getSnapshot().rooms.map((one) => [one.name, one.unread])).toEqual([['lobby', 60]]);
    await client.openRoom('LOBBY');
    await quiet(setup);
    setup.server.post(room, setup.other, 'live');
    await quiet(setup);
    const snapshot = client.getRoom(room.id);
    expect(snapshot?.status).toBe('live');
    expect(texts(snapshot).slice(-2)).toEqual(['m59', 'live']);
    expect(texts(snapshot)).toHaveLength(51);
    expect(snapshot?.hasOlder).toBe(true);
    await client.loadOlder(room.id);
    expect(texts(client.getRoom(room.id))).toHaveLength(61);
    expect(client.getRoom(room.id)?.hasOlder).toBe(false);
  });

  it('makes a room by its name and knows when it is not to be made', async () => {
    const { setup, client } = await started();
    await client.start();
    await quiet(setup);
    await expect(client.openRoom('nowhere', { create: false })).rejects.toMatchObject({ code: 'not_found' });
    const opening = client.openRoom('fresh');
    await run(setup, 1_000);
    const id = await opening;
    expect(client.getRoom(id)?.summary).toMatchObject({ name: 'fresh', role: 'member' });
    expect(client.getRoom(id)?.hasOlder).toBe(false);
  });

  it('does not enter a room again that was left elsewhere while it was away', async () => {
    const { setup, room, client, socket } = await started();
    await client.start();
    await quiet(setup);
    socket().cut();
    room.members.delete(setup.me);
    await run(setup, 5_000);
    expect(client.getRoom(room.id)?.status).toBe('gone');
    expect(room.members.has(setup.me)).toBe(false);
    expect(client.getSnapshot().rooms).toEqual([]);
  });

  it('passes over frames that a later server may send', async () => {
    const { setup, room, client, socket } = await started();
    await client.start();
    await quiet(setup);
    await client.openRoom('lobby');
    await quiet(setup);
    const later = { room: 'lobby', room_id: room.id, id: setup.server.id(), event_id: setup.server.id() };
    setup.server.push(socket(), { type: 'pinned', ...later, by: 'ann' });
    setup.server.push(socket(), { type: 'waving' });
    setup.server.push(socket(), { type: 7 });
    setup.server.post(room, setup.other, 'still here');
    await quiet(setup);
    expect(client.getSnapshot().connection.phase).toBe('live');
    expect(texts(client.getRoom(room.id))).toEqual(['still here']);
  });

  it('keeps snapshots of rooms that have not changed', async () => {
    const { setup, room, client } = await started();
    const second = setup.server.room('second', setup.me);
    await client.start();
    await quiet(setup);
    const before = client.getRoom(second.id);
    const rows = client.getRoom(room.id)?.rows;
    let calls = 0;
    client.subscribeRoom(second.id, () => (calls += 1));
    setup.server.post(room, setup.other, 'hello');
    await quiet(setup);
    expect(client.getRoom(second.id)).toBe(before);
    expect(client.getRoom(room.id)?.rows).not.toBe(rows);
    expect(calls).toBe(0);
    expect(client.getSnapshot()).toBe(client.getSnapshot());
  });
});

describe('resuming', () => {
  it('gets what was missed, once, and sends a digest that spares the overlap', async () => {
    const { setup, room, client, socket } = await started();
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    for (let n = 0; n < 5; n += 1) setup.server.post(room, setup.other, `a${n}`);
    await quiet(setup);
    socket().cut();
    for (let n = 0; n < 3; n += 1) setup.server.post(room, setup.other, `b${n}`);
    await run(setup, 3_000);
    expect(texts(client.getRoom(room.id))).toEqual(['a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'b1', 'b2']);
    const join = setup.server.frames.filter((frame) => frame.type === 'join').at(-1);
    expect(join).toMatchObject({ room: room.id });
    expect(String(join?.have)).toMatch(/^5\.[0-9a-f]{32}/);
  });

  it('learns of edits and deletions that it missed, and of late messages in their place', async () => {
    const { setup, room, client, socket } = await started();
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    const one = setup.server.post(room, setup.other, 'one');
    await setup.clock.advance(10_000);
    const two = setup.server.post(room, setup.other, 'two');
    await quiet(setup);
    socket().cut();
    setup.server.edit(room, one.id, 'one, mended');
    setup.server.remove(room, two.id);
    setup.server.post(room, setup.other, 'between', { ago: 5_000, late: true });
    await run(setup, 3_000);
    expect(texts(client.getRoom(room.id))).toEqual(['one, mended', 'between', '(deleted)']);
    setup.server.edit(room, two.id, 'risen');
    await quiet(setup);
    expect(texts(client.getRoom(room.id)).at(-1)).toBe('(deleted)');
  });

  it('starts anew after a reset without a page', async () => {
    const { setup, room, client, socket } = await started();
    const first = setup.server.post(room, setup.other, 'first');
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    await quiet(setup);
    expect(texts(client.getRoom(room.id))).toEqual(['first']);
    const named = { room: room.name, room_id: room.id };
    setup.server.push(socket(), { type: 'reset', ...named, from: first.id, to: null });
    setup.server.push(socket(), { type: 'live', ...named, cursor: first.id });
    await quiet(setup);
    expect(texts(client.getRoom(room.id))).toEqual(['first']);
    expect(setup.server.requests.filter((one) => one.includes('/messages'))).toHaveLength(2);
    setup.server.post(room, setup.other, 'second');
    await quiet(setup);
    expect(texts(client.getRoom(room.id))).toEqual(['first', 'second']);
  });

  it('shows a gap after a reset under the eyes of a reader and fills it when asked', async () => {
    const { setup, room, client, socket } = await started();
    setup.server.resetBeyond = 100;
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    const first = setup.server.post(room, setup.other, 'first');
    await quiet(setup);
    client.setAnchor(room.id, first.id);
    socket().cut();
    for (let n = 0; n < 180; n += 1) setup.server.post(room, setup.other, `m${n}`);
    await run(setup, 3_000);
    for (let n = 0; n < 5; n += 1) {
      const row = client.getRoom(room.id)?.rows.find((one) => one.kind === 'gap');
      if (row?.kind !== 'gap') break;
      await client.loadGap(room.id, row.gap, n % 2 === 0 ? 'up' : 'down');
    }
    while (client.getRoom(room.id)?.hasOlder) await client.loadOlder(room.id);
    expect(shown(client.getRoom(room.id)).map((one) => one.id)).toEqual(room.ids());
  });
});

describe('the connection', () => {
  it('waits with jitter that grows, then asks whether it is still logged in', async () => {
    const { setup, tab, client, opened } = await started();
    await client.start();
    await quiet(setup);
    tab.accept = false;
    tab.socket().cut(4001);
    for (let n = 0; n < 4; n += 1) {
      await setup.clock.advance(30_000);
      expect(client.getSnapshot().connection.phase).not.toBe('live');
    }
    expect(opened.length).toBeGreaterThan(3);
    setup.server.loggedIn = false;
    await setup.clock.advance(60_000);
    expect(client.getSnapshot().connection).toMatchObject({ phase: 'stopped', reason: 'logged_out' });
    const count = opened.length;
    await setup.clock.advance(120_000);
    expect(opened.length).toBe(count);
  });

  it('honours bye.delay and does not come back where it is told not to', async () => {
    const { setup, world, client, socket } = await started();
    await client.start();
    await quiet(setup);
    setup.server.push(socket(), { type: 'bye', reason: 'going_away', delay: 20, resume: true });
    await quiet(setup);
    socket().cut(4000);
    await setup.clock.advance(19_000);
    world.network('wake');
    expect(client.getSnapshot().connection.phase).toBe('waiting');
    await run(setup, 2_000);
    expect(client.getSnapshot().connection.phase).toBe('live');
    socket().cut(4202);
    expect(client.getSnapshot().connection).toMatchObject({ phase: 'stopped', reason: 'account_disabled' });
  });

  it('does not start after it was stopped, and starts again', async () => {
    const { setup, client, opened } = await started();
    const first = client.start();
    client.stop();
    await expect(first).rejects.toMatchObject({ code: 'not_started' });
    expect(opened).toHaveLength(0);
    await client.start();
    await quiet(setup);
    expect(client.getSnapshot().connection.phase).toBe('live');
  });

  it('notices a dead socket by the silence after its question', async () => {
    const { setup, client, socket } = await started();
    await client.start();
    await quiet(setup);
    const first = socket();
    await setup.clock.advance(24_000);
    expect(first.toServer).toEqual([]);
    await setup.clock.advance(2_000);
    expect(first.toServer.map((data) => JSON.parse(data).type)).toEqual(['ping']);
    await setup.clock.advance(38_000);
    expect(client.getSnapshot().connection.phase).toBe('live');
    await setup.clock.advance(2_000);
    expect(first.closedByClient).toBe(true);
    await run(setup, 3_000);
    expect(client.getSnapshot().connection.phase).toBe('live');
    expect(socket()).not.toBe(first);
  });

  it('rests while the browser is offline and returns at once', async () => {
    const { setup, world, client } = await started();
    await client.start();
    await quiet(setup);
    world.network('offline');
    expect(client.getSnapshot().connection.phase).toBe('offline');
    await setup.clock.advance(20_000);
    expect(client.getSnapshot().connection.phase).toBe('offline');
    world.network('online');
    await quiet(setup);
    expect(client.getSnapshot().connection.phase).toBe('live');
  });
});

describe('counts and marks', () => {
  it('counts live messages of background rooms, and forgets them when read here or elsewhere', async () => {
    const { setup, room, client, socket } = await started();
    setup.server.post(room, setup.other, 'old');
    await client.start();
    await quiet(setup);
    const summary = () => client.getSnapshot().rooms[0];
    expect(summary()?.unread).toBe(1);
    setup.server.post(room, setup.other, 'hey', { mentions: [setup.me] });
    setup.server.post(room, setup.me, 'from my other device');
    await quiet(setup);
    expect(summary()).toMatchObject({ unread: 2, mentions: 1 });
    await client.openRoom(room.id);
    await quiet(setup);
    client.markRead(room.id);
    expect(summary()).toMatchObject({ unread: 0, mentions: 0 });
    await quiet(setup);
    expect(room.reads.get(setup.me)).toBe(room.ids().at(-1));
    const next = setup.server.post(room, setup.other, 'next');
    await quiet(setup);
    expect(client.getSnapshot().unreadTotal).toBe(1);
    setup.server.push(socket(), { type: 'read', room_id: room.id, id: next.id });
    await quiet(setup);
    expect(client.getSnapshot().unreadTotal).toBe(0);
  });

  it('shows who types until they write or stop, and sends its own typing seldom', async () => {
    const { setup, room, client, socket } = await started();
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    const types = () =>
      setup.server.push(socket(), { type: 'typing', room_id: room.id, user: 'other', user_id: setup.other });
    types();
    await quiet(setup);
    expect(client.getRoom(room.id)?.typing).toEqual(['other']);
    setup.server.post(room, setup.other, 'written');
    await quiet(setup);
    expect(client.getRoom(room.id)?.typing).toEqual([]);
    types();
    await quiet(setup);
    await setup.clock.advance(6_001);
    expect(client.getRoom(room.id)?.typing).toEqual([]);
    for (let n = 0; n < 10; n += 1) client.typing(room.id);
    await quiet(setup);
    expect(setup.server.frames.filter((frame) => frame.type === 'typing')).toHaveLength(1);
  });

  it('tells of messages, kicks and presence', async () => {
    const { setup, room, client, socket } = await started();
    const notices: Notice[] = [];
    client.onNotice((notice) => notices.push(notice));
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    await quiet(setup);
    setup.server.post(room, setup.other, 'hi');
    setup.server.push(socket(), { type: 'presence', room_id: room.id, count: 2, joined: ['other'], left: [] });
    await quiet(setup);
    expect(client.getRoom(room.id)).toMatchObject({ presentCount: 2, present: ['me', 'other'] });
    setup.server.push(socket(), { type: 'left', room: 'lobby', room_id: room.id, reason: 'kicked' });
    await quiet(setup);
    expect(notices.map((one) => one.what)).toEqual(['message', 'removed']);
    expect(client.getRoom(room.id)).toMatchObject({ status: 'gone', problem: { code: 'kicked' }, rows: [] });
  });
});
