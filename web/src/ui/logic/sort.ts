// The order of the sidebar and of search results.

import type { RoomSummary } from '../../client';

/** Unread first, then recent. The open room keeps the place it had when it was opened, so nothing moves on a click. */
export function sidebarOrder(rooms: readonly RoomSummary[], openedUnread: string | null): RoomSummary[] {
  const rank = (room: RoomSummary) =>
    room.mentions > 0 || (room.unread > 0 && room.kind === 'direct')
      ? 0
      : room.unread > 0 || room.id === openedUnread
        ? 1
        : 2;
  return [...rooms].sort((a, b) => rank(a) - rank(b) || b.lastAt - a.lastAt || a.label.localeCompare(b.label));
}

/** No fit at all. */
const NONE = 9;

/** How well a label fits what is looked for: lower is better, null is not at all. */
export function nearness(label: string, query: string): number | null {
  const text = label.toLowerCase();
  const wanted = query.trim().toLowerCase();
  if (wanted === '') return 3;
  if (text === wanted) return 0;
  if (text.startsWith(wanted)) return 1;
  const at = text.indexOf(wanted);
  if (at > 0) return /[\s_-]/.test(text[at - 1] ?? '') ? 2 : 3;
  return null;
}

/** Those that fit, best first; the given order decides between equals. */
export function best<T>(list: readonly T[], labels: (item: T) => readonly string[], query: string, most: number): T[] {
  return list
    .map((item, index) => ({
      item,
      index,
      score: Math.min(...labels(item).map((label) => nearness(label, query) ?? NONE)),
    }))
    .filter((entry) => entry.score < NONE)
    .sort((a, b) => a.score - b.score || a.index - b.index)
    .slice(0, most)
    .map((entry) => entry.item);
}
