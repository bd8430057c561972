// From what is held to what is shown: attempts of one send become one row, holes become gap rows, and what waits to
// be sent stands at the end. Row objects are kept from one call to the next, so that an unchanged row is the same
// object and need not be drawn again.

import { idTime, lowerBound, MAX_ID } from './ids';
import { compareVersions, type Timeline } from './timeline';
import type { ChatMessage, Gap, Id, PendingMessage, Row } from './types';

/** A waiting message, with what is needed to recognise it when it comes back before its acknowledgement. */
export interface PendingRow {
  readonly pending: PendingMessage;
  /** True once it has been written to a socket, so the server may have stored it. */
  readonly attempted: boolean;
}

/** How much older than its writing a message's id may be by differing clocks. */
const CLOCKS_DIFFER_MS = 300_000;

export class RowBuilder {
  #messages = new Map<Id, { readonly parts: readonly ChatMessage[]; readonly shown: ChatMessage }>();
  #rows = new Map<string, Row>();
  /** Keys of rows that began as pending ones, so that they are not drawn anew when acknowledged. */
  readonly #keys = new Map<Id, string>();

  /** The message was sent from here under this nonce: its row keeps the key of the pending row. */
  keep(id: Id, nonce: string): void {
    this.#keys.set(id, nonce);
  }

  build(timeline: Timeline, waiting: readonly PendingRow[], loadingGaps: ReadonlySet<string>): readonly Row[] {
    const rows: Row[] = [];
    const messages = new Map<Id, { readonly parts: readonly ChatMessage[]; readonly shown: ChatMessage }>();
    const came = this.#cameBack(timeline, waiting);
    const ids = timeline.ids;
    timeline.coverage.intervals.forEach((interval, index) => {
      const first = lowerBound(ids, interval.lo);
      if (index > 0) rows.push(this.#gap(ids, timeline.coverage.intervals[index - 1]?.hi ?? '', first, loadingGaps));
      for (let at = first; at < ids.length && (ids[at] as Id) <= interval.hi; at += 1) {
        const entry = this.#shown(timeline, ids[at] as Id);
        if (entry === undefined) continue;
        messages.set(entry.shown.id, entry);
        rows.push(this.#message(entry.shown));
      }
    });
    for (const { pending } of waiting) if (!came.has(pending.nonce)) rows.push(this.#pending(pending));
    this.#messages = messages;
    this.#rows = new Map(rows.map((row) => [row.key, row]));
    for (const id of this.#keys.keys()) if (timeline.get(id) === undefined) this.#keys.delete(id);
    return rows;
  }

  #shown(timeline: Timeline, id: Id) {
    const held = timeline.get(id);
    if (held === undefined) return undefined;
    const group = timeline.attempts(held.message);
    if (group[0] !== id) return undefined;
    const before = this.#messages.get(id);
    if (group.length === 1) {
      if (before !== undefined && before.parts.length === 1 && before.shown === held.message) return before;
      return { parts: [held.message], shown: held.message };
    }
    const copies = group.flatMap((one) => timeline.get(one) ?? []);
    const parts = copies.map((copy) => copy.message);
    if (
      before !== undefined &&
      before.parts.length === parts.length &&
      parts.every((one, at) => one === before.parts[at])
    ) {
      return before;
    }
    const last = copies.reduce(
      (best, copy) => (compareVersions(best.version, copy.version) < 0 ? copy : best),
      held,
    ).message;
    const deleted = parts.some((one) => one.deleted);
    const { text, mentions, mentionsMe, editedAt } = last;
    const content = deleted ? { text: '', mentions: [], mentionsMe: false } : { text, mentions, mentionsMe };
    return { parts, shown: { ...held.message, ...content, editedAt, deleted } };
  }

  #message(message: ChatMessage): Row {
    const key = this.#keys.get(message.id) ?? message.id;
    const before = this.#rows.get(key);
    if (before?.kind === 'message' && before.message === message) return before;
    return { kind: 'message', key, message };
  }

  #gap(ids: readonly Id[], hi: string, first: number, loading: ReadonlySet<string>): Row {
    const gap: Gap = { from: ids[lowerBound(ids, `${hi}~`) - 1] ?? hi, to: ids[first] ?? MAX_ID, loading: false };
    const key = `gap ${gap.from} ${gap.to}`;
    const isLoading = loading.has(key);
    const before = this.#rows.get(key);
    if (before?.kind === 'gap' && before.gap.loading === isLoading) return before;
    return { kind: 'gap', key, gap: { ...gap, loading: isLoading } };
  }

  #pending(pending: PendingMessage): Row {
    const before = this.#rows.get(pending.nonce);
    if (before?.kind === 'pending' && before.pending === pending) return before;
    return { kind: 'pending', key: pending.nonce, pending };
  }

  /**
   * Waiting messages whose own copy has already come over the socket, because the acknowledgement was lost or is
   * slower: shown once, as the message. The acknowledgement of the retry settles it.
   */
  #cameBack(timeline: Timeline, waiting: readonly PendingRow[]): ReadonlySet<string> {
    const came = new Set<string>();
    const open = waiting.filter((one) => one.attempted && one.pending.status !== 'failed').map((one) => one.pending);
    if (open.length === 0) return came;
    const oldest = Math.min(...open.map((one) => one.at)) - CLOCKS_DIFFER_MS;
    const ids = timeline.ids;
    const mine: ChatMessage[] = [];
    for (let at = ids.length - 1; at >= 0 && idTime(ids[at] as Id) >= oldest; at -= 1) {
      const message = timeline.get(ids[at] as Id)?.message;
      if (message?.own === true) mine.unshift(message);
    }
    for (const pending of open) {
      const found = mine.findIndex((message) => {
        const key = this.#keys.get(message.id);
        if (key !== undefined) return key === pending.nonce;
        return message.text === pending.text && idTime(message.id) >= pending.at - CLOCKS_DIFFER_MS;
      });
      if (found < 0) continue;
      came.add(pending.nonce);
      this.#keys.set((mine[found] as ChatMessage).id, pending.nonce);
      mine.splice(found, 1);
    }
    return came;
  }
}

export function gapKey(gap: { readonly from: string; readonly to: string }): string {
  return `gap ${gap.from} ${gap.to}`;
}
