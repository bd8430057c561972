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

/** How well a label fits what is looked for: lower is better, null is not at all. */
export function nearness(label: string, query: string): number | null {
  const text = label.toLowerCase();
  const wanted = query.trim().toLowerCase();
  if (wanted === '') return 3;
  if (text === wanted) return 0;
  if (text.startsWith(wanted)) return 1;
  const at = text.indexOf(wanted);
  if (at > 0) return /[\s_-]/.test(text[at - 1] ?? '') ? 2 : 3;
  return isSubsequence(wanted, text) ? 4 : null;
}

function isSubsequence(wanted: string, text: string): boolean {
  let at = 0;
  for (const character of text) if (character === wanted[at]) at += 1;
  return at === wanted.length;
}

/** Those that fit, best first; the given order decides between equals. */
export function best<T>(list: readonly T[], label: (item: T) => string, query: string, most: number): T[] {
  return list
    .map((item, index) => ({ item, index, score: nearness(label(item), query) }))
    .filter((entry): entry is { item: T; index: number; score: number } => entry.score !== null)
    .sort((a, b) => a.score - b.score || a.index - b.index)
    .slice(0, most)
    .map((entry) => entry.item);
}
