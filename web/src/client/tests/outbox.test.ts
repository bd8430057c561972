import 'fake-indexeddb/auto';
import { describe, expect, it } from 'vitest';
import { openIdbStorage } from '../outbox-idb';
import { MemoryStorage, type OutboxEntry } from '../storage';
import type { Notice } from '../types';
import { openTab, quiet, run, setUp, shown, texts } from './setup';

async function inRoom(seed = 1) {
  const setup = setUp(seed);
  const room = setup.server.room('lobby', setup.me, setup.other);
  const tab = openTab(setup);
  await tab.client.start();
  await quiet(setup);
  await tab.client.openRoom(room.id);
  await quiet(setup);
  const { client, socket } = tab;
  return { setup, room, tab, client, socket, rows: () => texts(client.getRoom(room.id)) };
}

describe('the outbox', () => {
  it('shows a message at once, then under its id with the same key', async () => {
    const { setup, room, client, rows } = await inRoom();
    const nonce = client.send(room.id, 'hello');
    expect(rows()).toEqual(['hello (sending)']);
    await quiet(setup);
    expect(rows()).toEqual(['hello']);
    expect(client.getRoom(room.id)?.rows[0]?.key).toBe(nonce);
    expect(client.getSnapshot()).toMatchObject({ queued: 0, failed: 0 });
  });

  it('sends again after a lost acknowledgement, once, and never shows it twice', async () => {
    const { setup, room, client, socket, rows } = await inRoom();
    client.send(room.id, 'once');
    setup.server.step(socket());
    socket().cut();
    expect(room.ids()).toHaveLength(1);
    const seen: number[] = [];
    client.subscribeRoom(room.id, () => seen.push(rows().length));
    await run(setup, 5_000);
    expect(rows()).toEqual(['once']);
    expect(Math.max(...seen)).toBe(1);
    expect(room.ids()).toHaveLength(1);
    const sends = setup.server.frames.filter((frame) => frame.type === 'send');
    expect(sends.map((frame) => [frame.nonce === sends[0]?.nonce, frame.retry])).toEqual([
      [true, undefined],
      [true, true],
    ]);
  });

  it('keeps the order of what was written offline, and survives a reload', async () => {
    const { setup, room, tab, client } = await inRoom();
    tab.world.network('offline');
    for (let n = 0; n < 5; n += 1) client.send(room.id, `m${n}`);
    client.setDraft(room.id, 'begun');
    await setup.clock.advance(1_000);
    expect(client.getSnapshot().queued).toBe(5);
    client.stop();
    const again = openTab(setup, tab.storage);
    await again.client.start();
    await run(setup, 2_000);
    expect(room.ids().map((id) => room.at(id).message)).toEqual(['m0', 'm1', 'm2', 'm3', 'm4']);
    expect(again.client.getSnapshot().queued).toBe(0);
    expect(again.client.draft(room.id)).toBe('begun');
    expect(await tab.storage.loadOutbox(setup.me)).toEqual([]);
    expect(setup.server.frames.filter((frame) => frame.type === 'send').every((frame) => frame.retry === true)).toBe(
      true,
    );
  });

  it('saves a draft when the page is hidden, without waiting', async () => {
    const { setup, room, tab, client } = await inRoom();
    client.setDraft(room.id, 'half a');
    expect(client.getRoom(room.id)?.summary.hasDraft).toBe(true);
    tab.world.network('sleep');
    expect(await tab.storage.loadDrafts(setup.me)).toEqual([{ userId: setup.me, roomId: room.id, text: 'half a' }]);
    client.setDraft(room.id, '');
    await setup.clock.advance(1_000);
    expect(await tab.storage.loadDrafts(setup.me)).toEqual([]);
    expect(client.getRoom(room.id)?.summary.hasDraft).toBe(false);
  });

  it('waits as long as the server asks, then goes on in order', async () => {
    const { setup, room, client, rows } = await inRoom();
    setup.server.refuse = [
      { code: 'rate_limited', retry_after: 7 },
      { code: 'unknown_outcome', retry_after: 1, store: true },
      { code: 'refused' },
    ];
    client.send(room.id, 'one');
    client.send(room.id, 'two');
    await run(setup, 6_500);
    expect(setup.server.frames.filter((frame) => frame.type === 'send')).toHaveLength(1);
    expect(rows()).toEqual(['one (queued)', 'two (queued)']);
    await run(setup, 10_000);
    expect(rows()).toEqual(['one', 'two']);
    expect(room.ids()).toHaveLength(2);
  });

  it('marks what is refused for good, lets the rest pass, and tries again by hand', async () => {
    const { setup, room, client, rows } = await inRoom();
    const notices: Notice[] = [];
    client.onNotice((notice) => notices.push(notice));
    setup.server.refuse = [{ code: 'archived' }];
    const nonce = client.send(room.id, 'no');
    client.send(room.id, 'yes');
    await quiet(setup);
    expect(rows()).toEqual(['yes', 'no (failed)']);
    expect(notices.filter((one) => one.what === 'failed')).toMatchObject([{ nonce, problem: { code: 'archived' } }]);
    client.retry(nonce);
    await quiet(setup);
    expect(rows()).toEqual(['yes', 'no']);
    setup.server.refuse = [{ code: 'archived' }];
    const gone = client.send(room.id, 'never mind');
    await quiet(setup);
    client.discard(gone);
    expect(rows()).toEqual(['yes', 'no']);
    expect(client.getSnapshot().failed).toBe(0);
  });

  it('does not retry after twenty hours; by hand it becomes a new message', async () => {
    const { setup, room, tab, client, rows } = await inRoom();
    tab.world.network('offline');
    tab.accept = false;
    const old = client.send(room.id, 'stale');
    await setup.clock.advance(20 * 3_600_000 + 1_000);
    tab.accept = true;
    tab.world.network('online');
    await run(setup, 2_000);
    expect(rows()).toEqual(['stale (failed)']);
    client.retry(old);
    await quiet(setup);
    expect(rows()).toEqual(['stale']);
    expect(setup.server.frames.filter((frame) => frame.type === 'send').map((frame) => frame.nonce === old)).toEqual([
      false,
    ]);
  });

  it('leaves a message to the tab that has it, and takes it over when that tab is gone', async () => {
    const { setup, room, tab, client } = await inRoom();
    client.send(room.id, 'mine');
    await setup.clock.advance(0);
    const second = openTab(setup, tab.storage);
    await second.client.start();
    await run(setup, 500);
    expect(room.ids()).toHaveLength(1);
    expect(setup.server.frames.filter((frame) => frame.type === 'send')).toHaveLength(1);
    tab.world.network('offline');
    client.send(room.id, 'orphan');
    await setup.clock.advance(100);
    second.socket().cut();
    await run(setup, 3_000);
    expect(second.client.getSnapshot().queued).toBe(0);
    expect(room.ids()).toHaveLength(1);
    client.stop();
    await run(setup, 1_000);
    expect(room.ids().map((id) => room.at(id).message)).toEqual(['mine', 'orphan']);
    expect(shown(second.client.getRoom(room.id)).map((one) => one.text)).toContain('orphan');
  });

  it('refuses what the server would refuse, before it is shown', async () => {
    const { room, client } = await inRoom();
    expect(() => client.send(room.id, ' \n ')).toThrow(expect.objectContaining({ code: 'message_empty' }));
    expect(() => client.send(room.id, 'x'.repeat(4_001))).toThrow(
      expect.objectContaining({ code: 'message_too_long' }),
    );
    expect(() => client.send(room.id, '👍'.repeat(4_000))).not.toThrow();
  });
});

const makers = {
  memory: async () => new MemoryStorage(),
  indexedDB: () => openIdbStorage(`test-${Math.random()}`),
};

describe.each(Object.entries(makers))('storage in %s', (_name, make) => {
  const entry = (nonce: string, userId: string): OutboxEntry => ({
    nonce,
    userId,
    roomId: 'r',
    text: 't',
    replyTo: null,
    createdAt: 1,
    seq: 1,
    problem: null,
  });

  it('keeps each user apart and forgets one', async () => {
    const storage = await make();
    await Promise.all([storage.putOutbox(entry('a', 'u')), storage.putOutbox(entry('b', 'v'))]);
    await storage.putOutbox({ ...entry('a', 'u'), problem: { code: 'c', detail: 'd' } });
    await storage.putDraft({ userId: 'u', roomId: 'r', text: 'draft' });
    expect(await storage.loadOutbox('u')).toEqual([{ ...entry('a', 'u'), problem: { code: 'c', detail: 'd' } }]);
    expect(await storage.getOutbox('b')).toEqual(entry('b', 'v'));
    expect(await storage.loadDrafts('u')).toEqual([{ userId: 'u', roomId: 'r', text: 'draft' }]);
    expect(await storage.loadDrafts('v')).toEqual([]);
    await storage.clear('u');
    expect([await storage.loadOutbox('u'), await storage.loadDrafts('u')]).toEqual([[], []]);
    await storage.deleteOutbox('b');
    expect(await storage.getOutbox('b')).toBeUndefined();
  });

  it('forgets a draft that has become empty', async () => {
    const storage = await make();
    await storage.putDraft({ userId: 'u', roomId: 'r', text: 'x' });
    await storage.putDraft({ userId: 'u', roomId: 'r', text: '' });
    expect(await storage.loadDrafts('u')).toEqual([]);
  });
});
