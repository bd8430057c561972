// Messages on their way: kept in storage until acknowledged, sent in order and one at a time per room, and sent
// again with the same nonce whenever the outcome is not known. The nonce makes it once; the lock per message only
// spares two tabs from doing the same work.

import type { Environment } from './env';
import { ApiError, ClientError } from './errors';
import { OUTBOX_MAX, OUTBOX_MAX_AGE_MS, RETRY_CAP_MS, RETRY_FIRST_MS } from './limits';
import { problemOf } from './requests';
import type { PendingRow } from './rows';
import type { OutboxEntry, Storage } from './storage';
import type { PendingStatus, Problem } from './types';
import type { AckFrame, ServerFrame } from './wire';

export interface OutboxHooks {
  canSend(roomId: string): boolean;
  ask(frame: object): Promise<ServerFrame>;
  /** Called before the pending row goes, so that nothing flickers. */
  onAck(entry: OutboxEntry, ack: AckFrame): void;
  onFailed(entry: OutboxEntry, problem: Problem): void;
  /** The connection does not know the room (any more): join it. */
  onNotJoined(roomId: string): void;
  onChange(roomId: string): void;
}

interface Item {
  entry: OutboxEntry;
  status: PendingStatus;
  attempts: number;
  /** Retries that the server asked for since the last success, for the back-off. */
  delays: number;
  notBefore: number;
  underWay: boolean;
  release: (() => void) | null;
  row: PendingRow;
}

/** Outcomes after which the same frame is sent again by itself. */
const AGAIN = new Set(['unknown_outcome', 'refused', 'rate_limited', 'unavailable', 'network']);

export class Outbox {
  readonly #env: Environment;
  readonly #storage: Storage;
  readonly #hooks: OutboxHooks;
  readonly #items = new Map<string, Item>();
  readonly #adopting = new Set<string>();
  readonly #timers = new Map<string, () => void>();
  #abort = new AbortController();
  #userId: string | null = null;
  #seq = 0;

  constructor(env: Environment, storage: Storage, hooks: OutboxHooks) {
    this.#env = env;
    this.#storage = storage;
    this.#hooks = hooks;
  }

  /** Takes over what an earlier page or a closed tab has left. Called at the start and after each reconnect. */
  async load(userId: string): Promise<void> {
    this.#userId = userId;
    const signal = this.#abort.signal;
    const stored = await this.#storage.loadOutbox(userId).catch(() => []);
    if (signal.aborted) return;
    stored.sort(inOrder);
    const fresh = stored.filter((entry) => !this.#items.has(entry.nonce) && !this.#adopting.has(entry.nonce));
    for (const entry of fresh.slice(0, OUTBOX_MAX)) this.#adopt(entry, signal);
  }

  /** Stops and forgets what is in memory; storage keeps it. */
  unload(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    for (const item of this.#items.values()) item.release?.();
    this.#items.clear();
    this.#adopting.clear();
    this.#userId = null;
  }

  add(roomId: string, text: string, replyTo: string | null): string {
    if (this.#userId === null) throw new ClientError('not_started', 'Nobody is logged in.');
    if (this.#items.size >= OUTBOX_MAX)
      throw new ClientError('outbox_full', `More than ${OUTBOX_MAX} messages wait already.`);
    this.#seq += 1;
    const entry: OutboxEntry = {
      nonce: this.#env.nonce(),
      userId: this.#userId,
      roomId,
      text,
      replyTo,
      createdAt: this.#env.now(),
      seq: this.#seq,
      problem: null,
    };
    const item = this.#take(entry, 0);
    this.#save(entry);
    const signal = this.#abort.signal;
    this.#env.lock(lockName(entry.nonce), signal).then(
      (release) => {
        if (signal.aborted || this.#items.get(entry.nonce) !== item) release();
        else item.release = release;
      },
      () => undefined,
    );
    this.pump(roomId);
    return entry.nonce;
  }

  retry(nonce: string): void {
    const item = this.#items.get(nonce);
    if (item === undefined || item.underWay) return;
    if (item.status !== 'failed') {
      item.notBefore = 0;
    } else if (item.entry.problem?.code === 'nonce_reused' || this.#expired(item.entry)) {
      // The old nonce can't be used any more: this is a new message with the same words.
      const { roomId, text, replyTo } = item.entry;
      this.#forget(item);
      this.add(roomId, text, replyTo);
      return;
    } else {
      item.entry = { ...item.entry, problem: null };
      item.notBefore = 0;
      this.#save(item.entry);
      this.#show(item, 'queued');
    }
    this.pump(item.entry.roomId);
  }

  discard(nonce: string): void {
    const item = this.#items.get(nonce);
    if (item === undefined) return;
    this.#forget(item);
    this.pump(item.entry.roomId);
  }

  /** Pending rows of a room, in the order of sending. */
  rows(roomId: string): readonly PendingRow[] {
    return this.#of(roomId).map((item) => item.row);
  }

  roomIds(): readonly string[] {
    return [
      ...new Set([...this.#items.values()].filter((item) => item.status !== 'failed').map((item) => item.entry.roomId)),
    ];
  }

  counts(): { readonly queued: number; readonly failed: number } {
    const failed = [...this.#items.values()].filter((item) => item.status === 'failed').length;
    return { queued: this.#items.size - failed, failed };
  }

  /** The room can't be written to any more: nothing in it will be sent. */
  failRoom(roomId: string, problem: Problem): void {
    for (const item of this.#of(roomId)) if (item.status !== 'failed' && !item.underWay) this.#fail(item, problem);
  }

  /** Sends the next message of a room if it is time. */
  pump(roomId: string): void {
    const head = this.#of(roomId).find((item) => item.status !== 'failed');
    if (head === undefined || head.underWay) return;
    if (this.#expired(head.entry)) {
      this.#fail(head, { code: 'expired', detail: 'It could not be sent for 20 hours.' });
      this.pump(roomId);
      return;
    }
    if (!this.#hooks.canSend(roomId)) return;
    const wait = head.notBefore - this.#env.now();
    if (wait > 0) {
      this.#timers.get(roomId)?.();
      this.#timers.set(
        roomId,
        this.#env.after(wait, () => this.pump(roomId)),
      );
      return;
    }
    void this.#attempt(head);
  }

  async #attempt(item: Item): Promise<void> {
    const { nonce, roomId, text, replyTo } = item.entry;
    const frame = {
      type: 'send',
      room: roomId,
      message: text,
      nonce,
      ...(replyTo === null ? {} : { reply_to: replyTo }),
      ...(item.attempts > 0 ? { retry: true } : {}),
    };
    item.attempts += 1;
    item.underWay = true;
    this.#show(item, 'sending');
    try {
      const answer = await this.#hooks.ask(frame);
      if (this.#items.get(nonce) !== item) return;
      if (answer.type !== 'ack')
        throw new ApiError({ status: 0, code: 'internal', detail: `A send was answered by ${answer.type}.` });
      this.#hooks.onAck(item.entry, answer);
      this.#forget(item);
    } catch (error) {
      if (this.#items.get(nonce) !== item) return;
      item.underWay = false;
      this.#refused(item, error);
    }
    this.pump(roomId);
  }

  #refused(item: Item, error: unknown): void {
    const problem = problemOf(error);
    if (problem.code === 'not_joined' && item.delays < 3) {
      item.delays += 1;
      this.#hooks.onNotJoined(item.entry.roomId);
    } else if (problem.code === 'not_logged_in') {
      // The connection is about to end for the same reason; the message waits for the next log-in.
    } else if (!AGAIN.has(problem.code)) {
      this.#fail(item, problem);
      return;
    } else if (problem.code !== 'network') {
      const step = Math.min(RETRY_CAP_MS, RETRY_FIRST_MS * 2 ** Math.min(item.delays, 10));
      const asked = error instanceof ApiError ? error.retryAfter : null;
      item.notBefore = this.#env.now() + (asked === null ? step * (0.5 + this.#env.random() / 2) : asked * 1000);
      item.delays += 1;
    }
    this.#show(item, 'queued');
  }

  #fail(item: Item, problem: Problem): void {
    item.entry = { ...item.entry, problem };
    this.#save(item.entry);
    this.#show(item, 'failed');
    this.#hooks.onFailed(item.entry, problem);
  }

  #adopt(entry: OutboxEntry, signal: AbortSignal): void {
    this.#adopting.add(entry.nonce);
    const take = async () => {
      const release = await this.#env.lock(lockName(entry.nonce), signal);
      const now = await this.#storage.getOutbox(entry.nonce).catch(() => entry);
      if (signal.aborted || now === undefined || this.#items.has(entry.nonce)) return release();
      // It may have been sent before the reload, so from here on it is a retry.
      this.#take(now, 1).release = release;
      this.pump(entry.roomId);
    };
    take()
      .catch(() => undefined)
      .finally(() => {
        if (!signal.aborted) this.#adopting.delete(entry.nonce);
      });
  }

  #take(entry: OutboxEntry, attempts: number): Item {
    const status: PendingStatus = entry.problem === null ? 'queued' : 'failed';
    const item: Item = {
      entry,
      status,
      attempts,
      delays: 0,
      notBefore: 0,
      underWay: false,
      release: null,
      row: rowOf(entry, status, attempts),
    };
    this.#seq = Math.max(this.#seq, entry.seq);
    this.#items.set(entry.nonce, item);
    this.#hooks.onChange(entry.roomId);
    return item;
  }

  #forget(item: Item): void {
    this.#items.delete(item.entry.nonce);
    this.#storage
      .deleteOutbox(item.entry.nonce)
      .catch(() => undefined)
      .finally(() => item.release?.());
    this.#hooks.onChange(item.entry.roomId);
  }

  #show(item: Item, status: PendingStatus): void {
    item.status = status;
    item.row = rowOf(item.entry, status, item.attempts);
    this.#hooks.onChange(item.entry.roomId);
  }

  #save(entry: OutboxEntry): void {
    // Without room in storage the message still goes out; it only would not survive a reload.
    this.#storage.putOutbox(entry).catch(() => undefined);
  }

  #of(roomId: string): Item[] {
    const items = [...this.#items.values()].filter((item) => item.entry.roomId === roomId);
    return items.sort((a, b) => inOrder(a.entry, b.entry));
  }

  #expired(entry: OutboxEntry): boolean {
    return this.#env.now() - entry.createdAt > OUTBOX_MAX_AGE_MS;
  }
}

function lockName(nonce: string): string {
  return `natter-send-${nonce}`;
}

function inOrder(a: OutboxEntry, b: OutboxEntry): number {
  return a.createdAt - b.createdAt || a.seq - b.seq;
}

function rowOf(entry: OutboxEntry, status: PendingStatus, attempts: number): PendingRow {
  const { nonce, roomId, text, replyTo, createdAt, problem } = entry;
  return { pending: { nonce, roomId, text, replyTo, at: createdAt, status, problem }, attempted: attempts > 0 };
}
