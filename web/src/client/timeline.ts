// The messages of one room that are held: in id order, each once, each in its newest known version, together with
// the stretches that are held without a hole. Pure: no clock, no network. Deciding what is shown (attempts hidden,
// gaps as rows) is rows.ts; where messages come from is room.ts and history.ts.

import { Coverage } from './coverage';
import { attemptKey, digest, idTime, justAfter, later, lowerBound, MAX_ID, MIN_ID } from './ids';
import { ORPHANS, SPAN_MS, TAIL_KEEP } from './limits';
import type { ChatMessage, Id } from './types';

/** Which change of a message has been applied: none is `at` 0. The event id decides where both sides have one. */
export interface Version {
  readonly at: number;
  readonly eventId: Id | null;
}

export const UNCHANGED: Version = { at: 0, eventId: null };

export interface Held {
  readonly message: ChatMessage;
  readonly version: Version;
}

/** An edit (`text`) or a deletion (`text` null). */
export interface Change {
  readonly text: string | null;
  readonly mentions: readonly string[];
  readonly mentionsMe: boolean;
  readonly version: Version;
}

interface Orphan {
  readonly held: Held | null;
  readonly changes: readonly Change[];
}

export type Inserted = 'new' | 'known' | 'stashed';

export class Timeline {
  readonly coverage = new Coverage();
  readonly #held = new Map<Id, Held>();
  #ids: Id[] = [];
  /** Late messages and changes that concern what is not held, but may be on its way in a page. Bounded. */
  readonly #orphans = new Map<Id, Orphan>();
  /** For each attempt the ids of its rows, the one shown first. */
  readonly #attempts = new Map<string, Id[]>();
  #cursor: Id | null = null;

  /** Ids in order. */
  get ids(): readonly Id[] {
    return this.#ids;
  }

  /** Where a resume starts: the greatest id seen on the socket. Pages and acknowledgements do not move it. */
  get cursor(): Id | null {
    return this.#cursor;
  }

  get newest(): Id | null {
    return this.#ids.at(-1) ?? null;
  }

  get(id: Id): Held | undefined {
    return this.#held.get(id);
  }

  /** All rows of the attempt that a message comes from, the shown one first. */
  attempts(message: ChatMessage): readonly Id[] {
    return this.#attempts.get(attemptKey(message.id, message.authorId)) ?? [message.id];
  }

  see(id: Id | null | undefined): void {
    this.#cursor = later(this.#cursor, id);
  }

  /** Puts one message in its place, if that place is covered; else remembers it for the page that will cover it. */
  insert(message: ChatMessage, version: Version): Inserted {
    const before = this.#held.get(message.id);
    if (before !== undefined) {
      this.#set(mergeVersions(before, { message, version }));
      return 'known';
    }
    if (!this.coverage.has(message.id)) {
      const orphan = this.#orphans.get(message.id);
      this.#remember(message.id, { held: { message, version }, changes: orphan?.changes ?? [] });
      return 'stashed';
    }
    this.#add({ message, version }, false);
    return 'new';
  }

  /** Merges a page that holds everything from `lo` to `hi`. */
  mergePage(page: readonly Held[], lo: string, hi: string): void {
    this.coverage.add(lo, hi);
    const fresh = new Set<string>();
    for (const held of page) {
      const before = this.#held.get(held.message.id);
      if (before !== undefined) {
        this.#set(mergeVersions(before, held));
        continue;
      }
      const key = attemptKey(held.message.id, held.message.authorId);
      const inPage = !this.#attempts.has(key) || fresh.has(key);
      if (inPage) fresh.add(key);
      this.#add(held, inPage);
    }
    for (const [id, orphan] of [...this.#orphans]) {
      if (orphan.held !== null && !this.#held.has(id) && this.coverage.has(id)) this.#add(orphan.held, false);
    }
  }

  /** Applies an edit or a deletion. True if something held has changed. */
  change(id: Id, change: Change): boolean {
    const before = this.#held.get(id);
    if (before === undefined) {
      const orphan = this.#orphans.get(id);
      this.#remember(id, { held: orphan?.held ?? null, changes: [...(orphan?.changes ?? []), change].slice(-4) });
      return false;
    }
    const after = applyChange(before, change);
    this.#set(after);
    return after !== before;
  }

  /**
   * The replay left out what lies between two ids: forget what is held of it. After many edits and few messages the
   * page begins before the cursor, and nothing lies between.
   */
  reset(from: Id, to: Id): void {
    if (from < to) {
      this.#drop(this.#ids.filter((id) => from < id && id < to));
      this.coverage.carve(from, to);
    }
    this.coverage.add(to, MAX_ID);
  }

  /** Forgets everything before a place: it may be out of date and nobody looks at it. */
  dropBefore(place: string): void {
    this.#drop(this.#ids.slice(0, lowerBound(this.#ids, place)));
    this.#uncoverBefore(place);
  }

  /** A fresh start, as before the first join. */
  clear(): void {
    this.#held.clear();
    this.#ids = [];
    this.#attempts.clear();
    this.#orphans.clear();
    this.coverage.clear();
    this.#cursor = null;
  }

  /** What `have` says in a resume; undefined if a digest would be of no use. */
  digest(): string | undefined {
    const tail = this.coverage.tail;
    if (this.#cursor === null || tail === undefined) return undefined;
    const start = idTime(this.#cursor) - SPAN_MS;
    const end = lowerBound(this.#ids, justAfter(this.#cursor));
    let first = end;
    while (first > 0) {
      const id = this.#ids[first - 1] as Id;
      if (id < tail.lo || idTime(id) < start) break;
      first -= 1;
    }
    const ids = this.#ids.slice(first, end);
    const reachesBack = tail.lo === MIN_ID || idTime(tail.lo) < start;
    if (reachesBack) return digest(ids, null);
    // An older stretch that reaches into these 30 s may have got a message too, below the tail: only the whole
    // replay brings it.
    const other = this.coverage.intervals.some((one) => one.hi !== MAX_ID && idTime(one.hi) >= start);
    if (other) return undefined;
    return ids.length === 0 ? undefined : digest(ids, ids[0] as Id);
  }

  /**
   * Evicts down to `window` messages, farthest from the reader first. The newest ones always stay; a hole in the
   * middle becomes a gap. True if something went.
   */
  trim(window: number, anchor: Id | null): boolean {
    let excess = this.#ids.length - window;
    if (excess <= 0) return false;
    const count = this.#ids.length;
    const tailAt = Math.max(0, count - Math.min(TAIL_KEEP, window));
    const at = anchor === null ? tailAt : Math.min(lowerBound(this.#ids, anchor), tailAt);
    let low = 0;
    let high = tailAt;
    while (excess > 0 && low < high) {
      if (at - low >= high - at) low += 1;
      else high -= 1;
      excess -= 1;
    }
    const ids = this.#ids;
    if (high < tailAt && low < high) this.coverage.carve(ids[high - 1] ?? MIN_ID, ids[tailAt] ?? MAX_ID);
    const lowest = low < high ? ids[low] : ids[tailAt];
    if (low > 0 || low === high) this.#uncoverBefore(lowest ?? MAX_ID);
    this.#drop([...ids.slice(0, low), ...ids.slice(high, tailAt)]);
    return true;
  }

  #uncoverBefore(id: Id): void {
    const kept = this.coverage.intervals
      .filter((one) => one.hi >= id)
      .map((one) => ({ lo: one.lo < id ? id : one.lo, hi: one.hi }));
    this.coverage.clear();
    for (const one of kept) this.coverage.add(one.lo, one.hi);
  }

  #add(held: Held, inPage: boolean): void {
    const id = held.message.id;
    const orphan = this.#orphans.get(id);
    let now = orphan?.held ? mergeVersions(held, orphan.held) : held;
    for (const change of orphan?.changes ?? []) now = applyChange(now, change);
    this.#orphans.delete(id);
    this.#held.set(id, now);
    const at = lowerBound(this.#ids, id);
    if (at === this.#ids.length) this.#ids.push(id);
    else this.#ids.splice(at, 0, id);
    const key = attemptKey(id, held.message.authorId);
    const others = this.#attempts.get(key);
    if (others === undefined) this.#attempts.set(key, [id]);
    else if (inPage) this.#attempts.set(key, this.#preferred([...others, id]));
    else others.push(id);
  }

  /** In a page: the copy that was edited last is shown, else the one with the lower id. */
  #preferred(ids: readonly Id[]): Id[] {
    const newestFirst = (a: Id, b: Id) => {
      const order = compareVersions(this.#versionOf(b), this.#versionOf(a));
      return order !== 0 ? order : a < b ? -1 : 1;
    };
    return [...ids].sort(newestFirst);
  }

  #versionOf(id: Id): Version {
    return this.#held.get(id)?.version ?? UNCHANGED;
  }

  #set(held: Held): void {
    this.#held.set(held.message.id, held);
  }

  #drop(ids: readonly Id[]): void {
    if (ids.length === 0) return;
    const gone = new Set(ids);
    for (const id of ids) {
      const message = this.#held.get(id)?.message;
      this.#held.delete(id);
      if (message === undefined) continue;
      const key = attemptKey(id, message.authorId);
      const rest = (this.#attempts.get(key) ?? []).filter((other) => other !== id);
      if (rest.length === 0) this.#attempts.delete(key);
      else this.#attempts.set(key, rest);
    }
    this.#ids = this.#ids.filter((id) => !gone.has(id));
  }

  #remember(id: Id, orphan: Orphan): void {
    this.#orphans.delete(id);
    this.#orphans.set(id, orphan);
    if (this.#orphans.size <= ORPHANS) return;
    const oldest = this.#orphans.keys().next();
    if (!oldest.done) this.#orphans.delete(oldest.value);
  }
}

/** Negative if `a` is the older version. */
export function compareVersions(a: Version, b: Version): number {
  if (a.eventId !== null && b.eventId !== null) return a.eventId < b.eventId ? -1 : a.eventId > b.eventId ? 1 : 0;
  return a.at - b.at;
}

function mergeVersions(before: Held, incoming: Held): Held {
  const newer = compareVersions(before.version, incoming.version) < 0 ? incoming : before;
  const deleted = before.message.deleted || incoming.message.deleted;
  if (!deleted || newer.message.deleted) return newer;
  return { message: erased(newer.message), version: newer.version };
}

function applyChange(before: Held, change: Change): Held {
  if (change.text === null) {
    return before.message.deleted ? before : { message: erased(before.message), version: change.version };
  }
  // The same change again says nothing new; without an event id on our side an equal time is the same change.
  const order = compareVersions(before.version, change.version);
  if (before.message.deleted || order > 0 || (order === 0 && before.version.eventId !== null)) return before;
  const { text, mentions, mentionsMe, version } = change;
  return { message: { ...before.message, text, mentions, mentionsMe, editedAt: version.at }, version };
}

function erased(message: ChatMessage): ChatMessage {
  return { ...message, text: '', mentions: [], mentionsMe: false, deleted: true };
}
