// All rooms that the client knows, and the list made of them: who is in it, in which order, with which totals.

import type { Api } from './api';
import type { Environment } from './env';
import { ApiError } from './errors';
import { AUTO_JOIN_ROOMS, FULL_ROOMS, REFRESH_SOON_MS } from './limits';
import { Room, type RoomHooks } from './room';
import type { RoomSummary } from './types';
import type { PublicRoom, WireRoom } from './wire';

export interface RoomListHooks extends RoomHooks {
  /** These rooms should be heard; the most recent first. */
  onListed(roomIds: readonly string[]): void;
  /** A room is no longer mine: it was left, or taken away, while nobody was connected. */
  onVanished(room: Room): void;
}

export class RoomList {
  readonly #env: Environment;
  readonly #api: Api;
  readonly #hooks: RoomListHooks;
  readonly #rooms = new Map<string, Room>();
  /** Rooms with a full window, the one viewed last at the end. */
  #viewed: string[] = [];
  #viewing: string | null = null;
  #mine: readonly RoomSummary[] = [];
  #public: readonly PublicRoom[] = [];
  #query: string | undefined;
  #loaded = false;
  #cancel: (() => void) | null = null;
  #fetching: Promise<void> | null = null;
  #epoch = 0;

  constructor(env: Environment, api: Api, hooks: RoomListHooks) {
    this.#env = env;
    this.#api = api;
    this.#hooks = hooks;
  }

  get loaded(): boolean {
    return this.#loaded;
  }

  get publicRooms(): readonly PublicRoom[] {
    return this.#public;
  }

  get viewing(): string | null {
    return this.#viewing;
  }

  get(roomId: string): Room | undefined {
    return this.#rooms.get(roomId);
  }

  all(): Iterable<Room> {
    return this.#rooms.values();
  }

  isMine(roomId: string): boolean {
    const room = this.#rooms.get(roomId);
    return room !== undefined && room.info.role !== null && room.status !== 'gone' && room.status !== 'refused';
  }

  /** By id or by name; names differ without regard to case. */
  find(room: string): Room | undefined {
    const wanted = room.toLowerCase();
    const byId = this.#rooms.get(wanted);
    if (byId !== undefined) return byId;
    return [...this.#rooms.values()].find((one) => one.info.name?.toLowerCase() === wanted && one.status !== 'gone');
  }

  ensure(roomId: string): Room {
    const before = this.#rooms.get(roomId);
    if (before !== undefined) return before;
    const room = new Room(roomId, this.#env, this.#hooks);
    this.#rooms.set(roomId, room);
    return room;
  }

  put(wire: WireRoom): Room {
    const room = this.ensure(wire.id);
    if (room.status === 'gone' || room.status === 'refused') room.setStatus('idle');
    room.describe(wire);
    return room;
  }

  remove(roomId: string): void {
    this.#rooms.get(roomId)?.people.clear();
    this.#rooms.delete(roomId);
  }

  /** Makes a room the viewed one; the room viewed longest ago gives up its full window. */
  view(room: Room): void {
    this.#viewing = room.id;
    this.#viewed = [...this.#viewed.filter((id) => id !== room.id), room.id];
    room.full = true;
    while (this.#viewed.length > FULL_ROOMS) {
      const old = this.#rooms.get(this.#viewed.shift() as string);
      if (old === undefined) continue;
      old.full = false;
      old.anchor = null;
      old.trim();
    }
  }

  unview(roomId: string): void {
    if (this.#viewing === roomId) this.#viewing = null;
    const room = this.#rooms.get(roomId);
    if (room !== undefined) room.anchor = null;
  }

  /** Mine, the most recently active first. The same array as before if nothing has changed. */
  mine(): readonly RoomSummary[] {
    const now = [...this.#rooms.values()]
      .filter((room) => room.status !== 'gone' && room.info.role !== null)
      .map((room) => room.summary());
    now.sort((a, b) => b.lastAt - a.lastAt || (a.id < b.id ? -1 : 1));
    const same = now.length === this.#mine.length && now.every((one, at) => one === this.#mine[at]);
    if (!same) this.#mine = now;
    return this.#mine;
  }

  /** Soon and once, however many reasons there are. */
  refreshSoon(): void {
    this.#cancel ??= this.#env.after(REFRESH_SOON_MS, () => {
      this.#cancel = null;
      // A fetch that is under way may have begun before the reason for this one.
      const before = this.#fetching?.catch(() => undefined) ?? Promise.resolve();
      before.then(() => this.#fetch(undefined)).catch(() => undefined);
    });
  }

  /** Anew, whatever is under way: what has begun before this call may be too old. Rejects with `ApiError`. */
  fetch(): Promise<void> {
    return this.#fetch(undefined);
  }

  /** Rejects with `ApiError`. */
  refresh(query: string | undefined): Promise<void> {
    if (this.#fetching !== null && query === this.#query) return this.#fetching;
    this.#query = query;
    const fetching = this.#fetch(query).finally(() => {
      if (this.#fetching === fetching) this.#fetching = null;
    });
    this.#fetching = fetching;
    return fetching;
  }

  async #fetch(query: string | undefined): Promise<void> {
    const epoch = this.#epoch;
    const before = new Set(this.#rooms.keys());
    const answer = await this.#api.rooms(query === '' ? undefined : query);
    if (epoch !== this.#epoch)
      throw new ApiError({ status: 0, code: 'network', detail: 'Nobody is logged in any more.' });
    const listed = answer.rooms.map((wire) => this.put(wire).id);
    if (query === this.#query) this.#public = answer.public;
    this.#loaded = true;
    const mine = new Set(listed);
    // A room that is missing from the whole list is not mine any more, unless it came while that was under way.
    for (const id of query === undefined ? before : []) {
      const room = this.#rooms.get(id);
      if (room !== undefined && !mine.has(id) && room.status === 'idle' && room.info.role !== null)
        this.#hooks.onVanished(room);
    }
    const recent = this.mine().map((room) => room.id);
    this.#hooks.onListed(recent.filter((id) => mine.has(id)).slice(0, AUTO_JOIN_ROOMS));
  }

  clear(): void {
    this.#epoch += 1;
    this.#cancel?.();
    this.#cancel = null;
    this.#fetching = null;
    for (const room of this.#rooms.values()) {
      room.people.clear();
      this.#hooks.changed(room.id);
    }
    this.#rooms.clear();
    this.#viewed = [];
    this.#viewing = null;
    this.#public = [];
    this.#query = undefined;
    this.#loaded = false;
  }
}
