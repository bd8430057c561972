// History over HTTP: pages before, after and around, merged into a room's timeline. Pages say how far they cover, so
// that what was fetched and what is live join without a seam. One fetch per room and place at a time.

import type { Api, PageQuery } from './api';
import { toHeld } from './decode';
import { ApiError } from './errors';
import { justAfter, MAX_ID, MIN_ID } from './ids';
import { HISTORY_PAGE } from './limits';
import { problemOf } from './requests';
import type { Room } from './room';
import { gapKey } from './rows';
import type { Held } from './timeline';
import type { Gap, Id } from './types';

/** Largest page the server gives, and how many of them a stale window is refreshed with. */
const REFRESH_PAGE = 200;
const REFRESH_PAGES = 5;

interface Page {
  readonly messages: readonly Held[];
  readonly hasMore: boolean;
  readonly first: Id | null;
  readonly last: Id | null;
}

/**
 * The id that a page was asked to reach to, if it is still covered: else it was evicted meanwhile, and the page
 * reaches only as far as its own outermost message. Nothing at all is covered by an empty page then.
 */
function heldEnd(room: Room, end: Id, outermost: Id | null): Id {
  return room.timeline.coverage.has(end) ? end : (outermost ?? MIN_ID);
}

/** The room was reset while a page was on its way: what the page says may be older than what is known. */
class Doubtful extends Error {}

/** Fetches from where the room stands now, as often as a page turns out to be doubtful. */
async function again<T>(action: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof Doubtful)) throw error;
    }
  }
}

export class History {
  readonly #api: Api;
  readonly #meId: () => string;
  readonly #open = new Map<string, Promise<unknown>>();

  constructor(api: Api, meId: () => string) {
    this.#api = api;
    this.#meId = meId;
  }

  older(room: Room): Promise<void> {
    if (room.timeline.coverage.fromStart) return Promise.resolve();
    return this.#once(room, '', async () => {
      const oldest = room.timeline.ids[0];
      const page = await this.#page(room, oldest === undefined ? {} : { before: oldest });
      const lo = page.hasMore && page.first !== null ? page.first : MIN_ID;
      const open = room.timeline.coverage.tail ? MAX_ID : (page.last ?? MIN_ID);
      const hi = oldest === undefined ? open : heldEnd(room, oldest, page.last);
      room.timeline.mergePage(page.messages, lo, hi);
      room.merged(oldest ?? null);
    });
  }

  gap(room: Room, gap: Gap, side: 'up' | 'down'): Promise<void> {
    return this.#once(room, gapKey(gap), async () => {
      const open = gap.to === MAX_ID;
      const { coverage } = room.timeline;
      // A reset has moved the gap meanwhile: the rows show where it is now.
      if (!coverage.has(gap.from) && !coverage.has(gap.to)) return;
      if (side === 'up') {
        const page = await this.#page(room, open ? {} : { before: gap.to });
        const lo = page.hasMore && page.first !== null ? page.first : MIN_ID;
        const hi = heldEnd(room, gap.to, page.last);
        room.timeline.mergePage(page.messages, lo, hi);
        room.merged(open ? page.last : gap.to);
      } else {
        const page = await this.#page(room, { after: gap.from });
        const hi = page.hasMore ? (page.last ?? MIN_ID) : heldEnd(room, gap.to, page.last);
        room.timeline.mergePage(page.messages, heldEnd(room, gap.from, page.first), hi);
        room.merged(gap.from);
      }
    });
  }

  /** False if there is no such message. */
  around(room: Room, id: Id): Promise<boolean> {
    if (room.timeline.get(id) !== undefined) return Promise.resolve(true);
    return this.#once(room, `around ${id}`, async () => {
      const page = await this.#page(room, { around: id });
      if (page.first === null || page.last === null || !page.messages.some((one) => one.message.id === id))
        return false;
      room.timeline.mergePage(page.messages, page.first, page.last);
      room.merged(id);
      return true;
    });
  }

  /** After a reset under somebody's eyes: what is held up to an id is fetched again, its edits included. */
  refresh(room: Room, through: Id): Promise<void> {
    return this.#once(room, `refresh ${through}`, async () => {
      const oldest = room.timeline.ids[0];
      if (oldest === undefined || oldest > through) return;
      room.timeline.dropBefore(justAfter(oldest));
      let after = oldest;
      for (let count = 0; count < REFRESH_PAGES && after < through; count += 1) {
        const page = await this.#page(room, { after, limit: REFRESH_PAGE });
        if (page.last === null) return;
        room.timeline.mergePage(page.messages, count === 0 ? justAfter(after) : after, page.last);
        room.merged(null);
        after = page.last;
      }
    });
  }

  /** Shares a fetch that is already under way and shows that one is. Rejects with `ApiError`. */
  #once<T>(room: Room, key: string, action: () => Promise<T>): Promise<T> {
    const name = `${room.id} ${key}`;
    const before = this.#open.get(name) as Promise<T> | undefined;
    if (before !== undefined) return before;
    room.loading.add(key);
    room.historyProblem = null;
    room.touch();
    const fetched = again(action)
      .catch((error: unknown) => {
        room.historyProblem = problemOf(error);
        throw error;
      })
      .finally(() => {
        this.#open.delete(name);
        room.loading.delete(key);
        room.touch();
      });
    this.#open.set(name, fetched);
    return fetched;
  }

  /** A page that is still of use when it has come; a reset or a fresh join meanwhile makes it doubtful. */
  async #page(room: Room, query: PageQuery): Promise<Page> {
    const { generation } = room;
    const { messages, has_more } = await this.#api.messages(room.id, { limit: HISTORY_PAGE, ...query });
    if (room.status === 'gone' || room.status === 'refused')
      throw new ApiError({ status: 0, code: 'not_found', detail: 'You are not in this room any more.' });
    if (room.generation !== generation) throw new Doubtful();
    const held = messages.flatMap((wire) => toHeld(wire, room.id, this.#meId()) ?? []);
    const ids = held.map((one) => one.message.id);
    return { messages: held, hasMore: has_more, first: ids[0] ?? null, last: ids.at(-1) ?? null };
  }
}
