// Which rooms are joined on the socket, and in which order after a reconnect: the viewed room first, a bounded number
// at a time, each from its cursor.

import type { Environment } from './env';
import { ApiError } from './errors';
import { FIRST_PAGE, JOINS_AT_ONCE, RETRY_CAP_MS, RETRY_FIRST_MS } from './limits';
import { problemOf } from './requests';
import type { Room } from './room';
import type { Problem } from './types';
import type { ServerFrame } from './wire';

export interface JoinHooks {
  isLive(): boolean;
  ask(frame: object): Promise<ServerFrame>;
  room(roomId: string): Room | undefined;
  onRefused(room: Room, problem: Problem): void;
}

/** Errors after which the join is tried again by itself. */
const AGAIN = new Set(['rate_limited', 'unavailable', 'internal', 'refused']);

export class Joins {
  readonly #env: Environment;
  readonly #hooks: JoinHooks;
  /** Rooms to be heard on this socket, also after a reconnect. */
  readonly #wanted = new Set<string>();
  /** Rooms that are not wanted although they are listed, until somebody opens them. */
  readonly #unwanted = new Set<string>();
  readonly #queue: string[] = [];
  readonly #delays = new Map<string, number>();
  readonly #timers = new Set<() => void>();
  #underWay = 0;
  /** Counts sockets: an answer to a question of an earlier one no longer counts. */
  #socket = 0;

  constructor(env: Environment, hooks: JoinHooks) {
    this.#env = env;
    this.#hooks = hooks;
  }

  /** Joins a room now if there is a socket, and again on every later one. */
  want(roomId: string, first: boolean): void {
    this.#wanted.add(roomId);
    this.#unwanted.delete(roomId);
    const status = this.#hooks.room(roomId)?.status;
    if (status === 'joining' || status === 'catching_up' || status === 'live') return;
    // Without a socket there is nothing to queue for: the list that comes after the next `hello` names it again.
    if (!this.#hooks.isLive()) return;
    this.#enqueue(roomId, first);
  }

  unwant(roomId: string): void {
    this.#wanted.delete(roomId);
    this.#unwanted.add(roomId);
  }

  /** My rooms as the server lists them, in the order in which they are to be joined; at most so many are. */
  listed(roomIds: readonly string[], most: number): void {
    for (const roomId of roomIds) {
      const room = this.#wanted.has(roomId) || this.#wanted.size < most;
      if (room && !this.#unwanted.has(roomId)) this.want(roomId, false);
    }
  }

  /** Joins a room although it counts as joined: the server says that it is not. */
  again(roomId: string): void {
    this.#hooks.room(roomId)?.setStatus('idle');
    this.want(roomId, true);
  }

  lost(): void {
    this.#socket += 1;
    this.#queue.length = 0;
    this.#underWay = 0;
    this.#delays.clear();
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    for (const roomId of this.#wanted) {
      const room = this.#hooks.room(roomId);
      if (room !== undefined && room.status !== 'refused' && room.status !== 'gone') room.setStatus('idle');
    }
  }

  clear(): void {
    this.lost();
    this.#wanted.clear();
    this.#unwanted.clear();
  }

  #enqueue(roomId: string, first: boolean): void {
    const at = this.#queue.indexOf(roomId);
    if (at >= 0 && !first) return;
    if (at >= 0) this.#queue.splice(at, 1);
    if (first) this.#queue.unshift(roomId);
    else this.#queue.push(roomId);
    this.#pump();
  }

  #pump(): void {
    while (this.#hooks.isLive() && this.#underWay < JOINS_AT_ONCE) {
      const roomId = this.#queue.shift();
      if (roomId === undefined) return;
      const room = this.#hooks.room(roomId);
      if (room !== undefined && this.#wanted.has(roomId)) void this.#join(room);
    }
  }

  async #join(room: Room): Promise<void> {
    const socket = this.#socket;
    this.#underWay += 1;
    const latest = room.full ? FIRST_PAGE : 0;
    try {
      await this.#hooks.ask({ type: 'join', room: room.id, ...room.beginJoin(), latest });
      if (socket === this.#socket) this.#delays.delete(room.id);
    } catch (error) {
      if (socket === this.#socket) this.#failed(room, error);
    }
    if (socket !== this.#socket) return;
    this.#underWay -= 1;
    this.#pump();
  }

  #failed(room: Room, error: unknown): void {
    const problem = problemOf(error);
    if (problem.code === 'room_limit') {
      this.#wanted.delete(room.id);
      room.setStatus('idle', problem);
    } else if (AGAIN.has(problem.code) || problem.code === 'network') {
      room.setStatus('idle', problem);
      const delays = this.#delays.get(room.id) ?? 0;
      this.#delays.set(room.id, delays + 1);
      const step = Math.min(RETRY_CAP_MS, RETRY_FIRST_MS * 2 ** Math.min(delays, 10)) * (0.5 + this.#env.random() / 2);
      const asked = error instanceof ApiError ? error.retryAfter : null;
      this.#later(asked === null ? step : asked * 1000, () => this.want(room.id, room.full));
    } else {
      this.#wanted.delete(room.id);
      this.#hooks.onRefused(room, problem);
    }
  }

  #later(ms: number, action: () => void): void {
    const cancel = this.#env.after(ms, () => {
      this.#timers.delete(cancel);
      action();
    });
    this.#timers.add(cancel);
  }
}
