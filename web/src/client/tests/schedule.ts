// Random schedules of messages, changes, late writes, cuts, resets, restarts of the page and paging, against the model
// server's own list. Each seed is one schedule; a failure names its seed.

import { expect } from 'vitest';
import { attemptKey, MAX_ID } from '../ids';
import { MemoryStorage } from '../storage';
import type { Gap, RoomSnapshot } from '../types';
import type { ModelRoom } from './server';
import { openTab, run, type Setup, setUp, shown, type Tab } from './setup';
import { Random, settle } from './world';

/** What must hold at every moment, however the schedule goes. */
export function check(snapshot: RoomSnapshot | undefined): void {
  const messages = shown(snapshot);
  const ids = messages.map((one) => one.id);
  expect(ids).toEqual([...new Set(ids)].sort());
  const attempts = messages.map((one) => attemptKey(one.id, one.authorId));
  expect(new Set(attempts).size).toBe(attempts.length);
  const keys = (snapshot?.rows ?? []).map((row) => row.key);
  expect(new Set(keys).size).toBe(keys.length);
}

export class Schedule {
  readonly setup: Setup;
  readonly random: Random;
  readonly room: ModelRoom;
  readonly storage = new MemoryStorage();
  tab: Tab;
  sent: string[] = [];
  #said = 0;

  constructor(seed: number) {
    this.setup = setUp(seed);
    this.random = new Random(seed * 7919);
    this.room = this.setup.server.room('lobby', this.setup.me, this.setup.other);
    this.setup.server.resetBeyond = this.random.pick([5, 40, 1_000]) as number;
    this.tab = openTab(this.setup, this.storage);
  }

  async start(): Promise<void> {
    this.setup.server.holdHttp = false;
    await this.tab.client.start();
    await run(this.setup, 1_000);
    await this.tab.client.openRoom(this.room.id);
    this.setup.server.holdHttp = true;
  }

  async step(): Promise<void> {
    const { server, clock, other } = this.setup;
    const { random, room, tab } = this;
    const ids = room.ids();
    const any = random.pick(ids);
    const choice = random.below(100);
    if (choice < 25) server.post(room, other, `m${this.next()}`, { ago: random.chance(0.3) ? random.below(2_000) : 0 });
    else if (choice < 30) server.post(room, other, `late${this.next()}`, { ago: random.below(60_000), late: true });
    else if (choice < 33 && any !== undefined) this.attemptAgain(any);
    else if (choice < 38 && any !== undefined) server.edit(room, any, `edit${this.next()}`);
    else if (choice < 40 && any !== undefined) server.remove(room, any);
    else if (choice < 50) this.send();
    else if (choice < 70) this.frames();
    else if (choice < 76) await clock.advance(random.chance(0.2) ? random.below(60_000) : random.below(4_000));
    else if (choice < 80) tab.socket().cut(random.pick([1006, 4000, 4001]) as number);
    else if (choice < 82) server.refuse.push({ code: 'unknown_outcome', retry_after: 1, store: random.chance(0.5) });
    else if (choice < 84) tab.world.network(random.pick(['offline', 'online', 'wake']) as 'online');
    else if (choice < 85) await this.reload();
    else if (choice < 88 && any !== undefined) tab.client.setAnchor(room.id, random.chance(0.5) ? any : null);
    else await this.page(any);
    await settle();
    check(tab.client.getRoom(room.id));
  }

  /** A second row of an earlier send, as a retry that overlapped leaves it. */
  attemptAgain(id: string): void {
    const before = this.room.at(id);
    if (before.deleted || before.edited_at) return;
    this.setup.server.post(this.room, before.author_id, before.message, { tail: id.slice(19).replace('-', '') });
  }

  next(): number {
    this.#said += 1;
    return this.#said;
  }

  send(): void {
    const text = `mine${this.next()}`;
    if (this.tab.client.getRoom(this.room.id) === undefined) return;
    this.tab.client.send(this.room.id, text);
    this.sent.push(text);
  }

  /** Some frames pass, in one direction or the other. */
  frames(): void {
    const socket = this.tab.socket();
    for (let count = this.random.below(12); count > 0; count -= 1) {
      if (this.random.chance(0.5)) this.setup.server.step(socket);
      else socket.deliver();
      if (this.random.chance(0.3)) this.setup.server.release(false);
    }
  }

  async reload(): Promise<void> {
    this.tab.client.stop();
    this.tab.socket().cut();
    this.tab = openTab(this.setup, this.storage);
    await this.start();
  }

  /** Fetches history; its answer arrives while other things happen. */
  async page(any: string | undefined): Promise<void> {
    const { client } = this.tab;
    const { id } = this.room;
    const gap = client.getRoom(id)?.rows.find((row) => row.kind === 'gap');
    const fetched =
      this.random.chance(0.3) && any !== undefined
        ? client.loadAround(id, any)
        : gap?.kind === 'gap'
          ? client.loadGap(id, gap.gap, this.random.chance(0.5) ? 'up' : 'down')
          : client.loadOlder(id);
    const done = fetched.catch(() => undefined);
    if (!this.setup.server.holdHttp) await done;
  }

  /** Everything heals. */
  async settle(): Promise<void> {
    this.setup.server.refuse = [];
    this.setup.server.holdHttp = false;
    this.setup.server.release();
    this.tab.world.network('online');
    await run(this.setup, 60_000);
    expect(this.tab.client.getSnapshot().connection.phase).toBe('live');
  }

  /** After that all history is fetched. */
  async heal(): Promise<RoomSnapshot> {
    await this.settle();
    const { client } = this.tab;
    const { id } = this.room;
    for (let round = 0; round < 50; round += 1) {
      const snapshot = client.getRoom(id) as RoomSnapshot;
      const gap = snapshot.rows.find((row) => row.kind === 'gap');
      if (gap?.kind === 'gap') await client.loadGap(id, gap.gap, round % 2 === 0 ? 'up' : 'down');
      else if (snapshot.hasOlder) await client.loadOlder(id);
      else return snapshot;
    }
    throw new Error('history does not come to an end');
  }
}

/**
 * No silent hole: once everything has settled, rows that stand side by side without a gap between them leave nothing
 * out, the end is the end, and a beginning without more before it is the beginning.
 */
export function checkNoHoles(snapshot: RoomSnapshot, room: ModelRoom): void {
  const wanted = expected(room);
  const visible = shown(snapshot);
  const known = new Set(visible.flatMap((one) => wanted.get(attemptKey(one.id, one.authorId))?.ids ?? []));
  const gaps: Gap[] = snapshot.rows.flatMap((row) => (row.kind === 'gap' ? [row.gap] : []));
  const oldest = visible[0]?.id ?? MAX_ID;
  const missing = room.ids().filter((id) => {
    if (known.has(id) || (snapshot.hasOlder && id < oldest)) return false;
    return !gaps.some((gap) => gap.from < id && id < gap.to);
  });
  expect(missing).toEqual([]);
  for (const message of visible) {
    const entry = wanted.get(attemptKey(message.id, message.authorId));
    // The other row of an attempt counts only where it is held too.
    if (room.at(message.id).deleted) expect(message.deleted).toBe(true);
    if (message.deleted) expect(entry?.deleted).toBe(true);
    if (!message.deleted) expect(entry?.texts).toContain(message.text);
  }
}

/** The model's history as it has to look: one row per attempt, newest text, deleted if one is. */
export function expected(room: ModelRoom): Map<string, { ids: string[]; texts: string[]; deleted: boolean }> {
  const all = new Map<string, { ids: string[]; texts: string[]; deleted: boolean }>();
  for (const id of room.ids()) {
    const { author_id, message, deleted } = room.at(id);
    const key = attemptKey(id, author_id);
    const entry = all.get(key) ?? { ids: [], texts: [], deleted: false };
    entry.ids.push(id);
    entry.texts.push(message);
    entry.deleted ||= deleted === true;
    all.set(key, entry);
  }
  return all;
}
