// From the client's rows to what is drawn: day lines, the line before what is new, and groups of one author. A pure
// function of its input, so midnight is nothing but another call.

import type { ChatMessage, Gap, Id, PendingMessage, Row } from '../../client';
import { GROUP_SPAN } from './limits';
import { dayOf } from './time';

export type Item =
  | { readonly kind: 'day'; readonly key: string; readonly at: number }
  | { readonly kind: 'new'; readonly key: string; readonly at: number }
  | { readonly kind: 'gap'; readonly key: string; readonly gap: Gap }
  | { readonly kind: 'message'; readonly key: string; readonly message: ChatMessage; readonly head: boolean }
  | { readonly kind: 'pending'; readonly key: string; readonly pending: PendingMessage; readonly head: boolean };

/** Where the line before new messages stands: before the first message of somebody else after this id. */
export interface NewLine {
  /** null: nothing had been read. */
  readonly after: Id | null;
}

/** `me` is the id of the reader, the author of pending rows. */
export function layout(rows: readonly Row[], newLine: NewLine | null, me: string): Item[] {
  const items: Item[] = [];
  let day = 0;
  let author = '';
  let last = 0;
  let newShown = newLine === null;

  const dayLine = (at: number) => {
    const next = dayOf(at);
    if (next === day) return;
    day = next;
    author = '';
    items.push({ kind: 'day', key: `day-${next}`, at });
  };
  const isHead = (by: string, at: number, reply: boolean) => {
    const head = by !== author || at - last > GROUP_SPAN || reply;
    author = by;
    last = at;
    return head;
  };

  for (const row of rows) {
    if (row.kind === 'gap') {
      author = '';
      items.push({ kind: 'gap', key: row.key, gap: row.gap });
    } else if (row.kind === 'message') {
      const { message } = row;
      dayLine(message.at);
      if (!newShown && !message.own && isAfter(message.id, newLine?.after ?? null)) {
        newShown = true;
        author = '';
        items.push({ kind: 'new', key: 'new', at: message.at });
      }
      const head = isHead(message.authorId, message.at, message.replyTo !== null && !message.deleted);
      items.push({ kind: 'message', key: row.key, message, head });
    } else {
      const { pending } = row;
      dayLine(Math.max(pending.at, last));
      const head = isHead(me, Math.max(pending.at, last), pending.replyTo !== null);
      items.push({ kind: 'pending', key: row.key, pending, head });
    }
  }
  return items;
}

function isAfter(id: Id, marker: Id | null): boolean {
  return marker === null || id > marker;
}

/** Messages of others after this id: what "Jump to latest" counts. */
export function countAfter(rows: readonly Row[], id: Id | null): number {
  let count = 0;
  for (const row of rows) {
    if (row.kind === 'message' && !row.message.own && (id === null || row.message.id > id)) count += 1;
  }
  return count;
}

/** The newest message held, or null. */
export function newestId(rows: readonly Row[]): Id | null {
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (row?.kind === 'message') return row.message.id;
  }
  return null;
}

/** The newest message of ours that can still be edited, or null. */
export function lastOwn(rows: readonly Row[]): ChatMessage | null {
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (row?.kind === 'message' && row.message.own && !row.message.deleted) return row.message;
  }
  return null;
}
