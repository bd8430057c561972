// Unread counts: the server's count at some moment, kept right with what has come since, without asking again for
// every message.

import { idTime, justAfter, later, MIN_ID } from './ids';
import { UNREAD_CAP } from './limits';
import type { Timeline } from './timeline';
import type { Id } from './types';

/** What the server said last: `unread` of the messages after `read`, up to `last`. */
export interface UnreadBase {
  readonly unread: number;
  readonly mentions: number;
  readonly read: Id | null;
  readonly last: Id | null;
}

export interface UnreadCount {
  readonly unread: number;
  readonly mentions: number;
  /** False if it takes the server to know. */
  readonly known: boolean;
}

/** `live`: the tail of the timeline is kept up to date by the socket. */
export function countUnread(
  timeline: Timeline,
  base: UnreadBase | null,
  readId: Id | null,
  live: boolean,
): UnreadCount {
  const newest = later(timeline.newest, base?.last);
  if (newest === null || (readId !== null && readId >= newest)) return { unread: 0, mentions: 0, known: true };
  const tail = timeline.coverage.tail;
  const reaches = tail !== undefined && (tail.lo === MIN_ID || (readId !== null && tail.lo <= justAfter(readId)));
  if (live && reaches) return { ...count(timeline, readId), known: true };
  if (base === null || base.read !== readId) return { unread: 0, mentions: 0, known: false };
  const since = count(timeline, base.last);
  return {
    unread: Math.min(UNREAD_CAP, base.unread + since.unread),
    mentions: Math.min(UNREAD_CAP, base.mentions + since.mentions),
    known: true,
  };
}

/** Others' messages after an id; attempts at one send count once, deleted ones not at all. */
function count(timeline: Timeline, after: Id | null): { unread: number; mentions: number } {
  let unread = 0;
  let mentions = 0;
  const ids = timeline.ids;
  for (let at = ids.length - 1; at >= 0 && unread < UNREAD_CAP; at -= 1) {
    const id = ids[at] as Id;
    if (after !== null && id <= after) break;
    const message = timeline.get(id)?.message;
    if (message === undefined || message.own) continue;
    const attempts = timeline.attempts(message);
    if (attempts[0] !== id || attempts.some((one) => timeline.get(one)?.message.deleted === true)) continue;
    unread += 1;
    if (message.mentionsMe) mentions += 1;
  }
  return { unread, mentions };
}

/** Time of the newest message, for the order of a list; the given time for an empty room. */
export function activity(last: Id | null, created: number): number {
  return last === null ? created : idTime(last);
}
