// A model of a server, naive on purpose: it keeps every message in one list and answers by filtering it. Written from
// docs/protocol.md, without any code of the client but the types.

import type { WireMessage, WireRoom } from '../wire';
import { type Clock, FakeSocket, type Random } from './world';

const SPAN_MS = 30_000;

interface Stored {
  message: WireMessage & { edited_event?: string };
  nonce: string | null;
}

interface Event {
  readonly id: string;
  readonly frame: Record<string, unknown>;
}

export class ModelRoom {
  readonly id: string;
  readonly name: string;
  readonly members = new Set<string>();
  readonly reads = new Map<string, string>();
  readonly stored = new Map<string, Stored>();
  readonly events: Event[] = [];
  visibility: 'public' | 'private' = 'public';

  constructor(id: string, name: string) {
    this.id = id;
    this.name = name;
  }

  ids(): string[] {
    return [...this.stored.keys()].sort();
  }

  at(id: string): WireMessage {
    return (this.stored.get(id) as Stored).message;
  }
}

export class ModelServer {
  readonly clock: Clock;
  readonly random: Random;
  readonly rooms = new Map<string, ModelRoom>();
  readonly users = new Map<string, string>();
  sockets: FakeSocket[] = [];
  /** More events than this beyond a cursor make a reset. */
  resetBeyond = 1_000;
  /** Answers for the next sends, by code, instead of doing them. */
  refuse: { readonly code: string; readonly retry_after?: number; readonly store?: boolean }[] = [];
  /** HTTP answers nothing while true. */
  httpDown = false;
  loggedIn = true;
  requests: string[] = [];
  frames: Record<string, unknown>[] = [];
  /** HTTP answers are made at once, but arrive only when released. */
  holdHttp = false;
  #held: (() => void)[] = [];
  #counter = 0;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  user(name: string): string {
    const id = `00000000-0000-7000-8000-${this.random.hex(12)}`;
    this.users.set(id, name);
    return id;
  }

  room(name: string, ...members: string[]): ModelRoom {
    const room = new ModelRoom(this.id(), name);
    for (const member of members) room.members.add(member);
    this.rooms.set(room.id, room);
    return room;
  }

  /** A fresh id; `ago` makes it older, `tail` gives the 62 bits of an attempt. */
  id(ago = 0, tail?: string): string {
    this.#counter = (this.#counter + 1) % 4096;
    const time = (this.clock.now() - ago).toString(16).padStart(12, '0');
    const low = `${'89ab'.charAt(this.random.below(4))}${this.random.hex(15)}`;
    const rest = tail ?? low;
    const counter = this.#counter.toString(16).padStart(3, '0');
    return `${time.slice(0, 8)}-${time.slice(8)}-7${counter}-${rest.slice(0, 4)}-${rest.slice(4)}`;
  }

  /** Stores a message and tells the room. `late` gives it an old id and an event under a fresh one. */
  post(
    room: ModelRoom,
    authorId: string,
    text: string,
    more: { ago?: number; late?: boolean; tail?: string; mentions?: string[] } = {},
  ): WireMessage {
    const id = this.id(more.ago ?? 0, more.tail);
    return this.store(room, authorId, text, id, null, more).message;
  }

  private store(
    room: ModelRoom,
    authorId: string,
    text: string,
    id: string,
    nonce: string | null,
    more: { late?: boolean; mentions?: string[]; replyTo?: string } = {},
    from?: FakeSocket,
  ): Stored {
    const message: WireMessage = {
      room: room.name,
      room_id: room.id,
      id,
      author: this.users.get(authorId) ?? '?',
      author_id: authorId,
      message: text,
      at: new Date(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toISOString(),
      ...(more.mentions ? { mentions: more.mentions } : {}),
      ...(more.replyTo ? { reply_to: more.replyTo } : {}),
    };
    const stored = { message, nonce };
    room.stored.set(id, stored);
    if (more.late) {
      const event = { id: this.id(), frame: {} as Record<string, unknown> };
      Object.assign(event.frame, { type: 'message', ...message, late: true, event_id: event.id });
      room.events.push(event);
      this.tell(room, event.frame, from);
    } else {
      this.tell(room, { type: 'message', ...message }, from);
    }
    return stored;
  }

  edit(room: ModelRoom, id: string, text: string): string {
    this.clock.tick();
    const stored = room.stored.get(id) as Stored;
    const eventId = this.id();
    const at = new Date(this.clock.now()).toISOString();
    if (!stored.message.deleted)
      stored.message = { ...stored.message, message: text, edited_at: at, edited_event: eventId };
    const { author, author_id } = stored.message;
    const frame = {
      type: 'edited',
      room: room.name,
      room_id: room.id,
      id,
      event_id: eventId,
      author,
      author_id,
      message: text,
      at,
    };
    room.events.push({ id: eventId, frame });
    this.tell(room, frame);
    return eventId;
  }

  remove(room: ModelRoom, id: string): string {
    const stored = room.stored.get(id) as Stored;
    const eventId = this.id();
    stored.message = { ...stored.message, message: '', deleted: true };
    const frame = {
      type: 'deleted',
      room: room.name,
      room_id: room.id,
      id,
      event_id: eventId,
      at: new Date(this.clock.now()).toISOString(),
    };
    room.events.push({ id: eventId, frame });
    this.tell(room, frame);
    return eventId;
  }

  private tell(room: ModelRoom, frame: Record<string, unknown>, except?: FakeSocket): void {
    for (const socket of this.sockets) {
      if (socket.joined.has(room.id) && !socket.closed && (socket !== except || socket.url.includes('echo=1')))
        this.push(socket, frame);
    }
  }

  push(socket: FakeSocket, frame: Record<string, unknown>): void {
    socket.toClient.push(JSON.stringify(frame));
  }

  open(url: string, userId: string): FakeSocket {
    const socket = new FakeSocket(url);
    socket.userId = userId;
    this.sockets = [...this.sockets.filter((one) => !one.closed), socket];
    this.push(socket, {
      type: 'hello',
      connection: 'c',
      user: this.users.get(userId),
      user_id: userId,
      superuser: false,
      server: 'model',
      limits: { message_chars: 4000, frame_bytes: 65_536, rooms: 500 },
    });
    return socket;
  }

  /** Takes one frame of a socket. */
  step(socket: FakeSocket): boolean {
    const data = socket.toServer.shift();
    if (data === undefined || socket.closed) return false;
    const frame = JSON.parse(data) as Record<string, unknown>;
    this.frames.push(frame);
    const answer = (more: Record<string, unknown>) => this.push(socket, { ref: frame.ref, ...more });
    const wanted = String(frame.room).toLowerCase();
    let room = [...this.rooms.values()].find((one) => one.id === wanted || one.name.toLowerCase() === wanted);
    if (frame.type === 'join') {
      const created = room === undefined;
      room ??= this.room(String(frame.room));
      this.join(socket, room, frame, created);
      return true;
    }
    if (room === undefined || !socket.joined.has(room.id)) {
      answer(frame.type === 'ping' ? { type: 'pong' } : { type: 'error', code: 'not_joined', detail: 'join first' });
      return true;
    }
    const named = { room: room.name, room_id: room.id };
    if (frame.type === 'send') this.send(socket, room, frame);
    if (frame.type === 'edit' || frame.type === 'delete') {
      const id = String(frame.id);
      const eventId = frame.type === 'edit' ? this.edit(room, id, String(frame.message)) : this.remove(room, id);
      answer({ type: 'ack', ...named, id, event_id: eventId, at: new Date(this.clock.now()).toISOString() });
    }
    if (frame.type === 'read') {
      room.reads.set(socket.userId, String(frame.id));
      answer({ type: 'ack', ...named, id: frame.id, at: '' });
    }
    if (frame.type === 'unsubscribe' || frame.type === 'leave') {
      socket.joined.delete(room.id);
      if (frame.type === 'leave') room.members.delete(socket.userId);
      answer({ type: 'left', ...named, reason: frame.type === 'leave' ? 'left' : 'unsubscribed' });
    }
    return true;
  }

  private send(socket: FakeSocket, room: ModelRoom, frame: Record<string, unknown>): void {
    const nonce = String(frame.nonce);
    const named = { room: room.name, room_id: room.id, nonce };
    const before = frame.retry === true ? [...room.stored.values()].find((one) => one.nonce === nonce) : undefined;
    const refusal = before === undefined ? this.refuse.shift() : undefined;
    if (refusal !== undefined) {
      if (refusal.store) this.store(room, socket.userId, String(frame.message), this.id(), nonce, {}, socket);
      this.push(socket, {
        type: 'error',
        ref: frame.ref,
        ...named,
        code: refusal.code,
        detail: 'refused by the test',
        ...(refusal.retry_after === undefined ? {} : { retry_after: refusal.retry_after }),
      });
      return;
    }
    const more = frame.reply_to ? { replyTo: String(frame.reply_to) } : {};
    const stored = before ?? this.store(room, socket.userId, String(frame.message), this.id(), nonce, more, socket);
    this.push(socket, { type: 'ack', ref: frame.ref, ...named, id: stored.message.id, at: stored.message.at });
  }

  private join(socket: FakeSocket, room: ModelRoom, frame: Record<string, unknown>, created: boolean): void {
    room.members.add(socket.userId);
    socket.joined.add(room.id);
    const named = { room: room.name, room_id: room.id };
    const cursor = [...room.ids(), ...room.events.map((event) => event.id)].sort().at(-1) ?? null;
    this.push(socket, {
      type: 'joined',
      ref: frame.ref,
      ...named,
      kind: room.visibility,
      title: '',
      role: created ? 'owner' : 'member',
      present_count: 1,
      present: [this.users.get(socket.userId)],
      cursor,
      read: room.reads.get(socket.userId) ?? null,
      created,
    });
    for (const one of this.replay(room, frame)) this.push(socket, { ...one, ...named });
    this.push(socket, { type: 'live', ref: frame.ref, ...named, cursor });
  }

  private replay(room: ModelRoom, frame: Record<string, unknown>): Record<string, unknown>[] {
    const since = frame.since as string | undefined;
    const page = (count: number) =>
      (count === 0 ? [] : room.ids().slice(-count)).map((id) => ({ type: 'message', ...this.wire(room, id) }));
    if (since === undefined) return page(Number(frame.latest ?? 50));
    const time = (id: string) => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
    const start = time(since) - SPAN_MS;
    const all: Event[] = [
      ...room.ids().map((id) => ({ id, frame: { type: 'message', ...this.wire(room, id) } })),
      ...room.events,
    ];
    all.sort((a, b) => (a.id < b.id ? -1 : 1));
    const beyond = all.filter((event) => event.id > since);
    if (beyond.length > this.resetBeyond) {
      const latest = page(50);
      return [
        { type: 'reset', from: since, to: String((latest[0] as { id?: unknown } | undefined)?.id ?? since) },
        ...latest,
      ];
    }
    const [count, xor, from] = String(frame.have ?? '').split('.');
    const mine = room.ids().filter((id) => id <= since && time(id) >= start && (from === undefined || id >= from));
    const sum = mine.reduce((all, id) => all ^ BigInt(`0x${id.replaceAll('-', '')}`), 0n);
    const equal =
      frame.have !== undefined && Number(count) === mine.length && xor === sum.toString(16).padStart(32, '0');
    return (equal ? beyond : all.filter((event) => time(event.id) >= start)).map((event) => event.frame);
  }

  private wire(room: ModelRoom, id: string): WireMessage {
    const { edited_event, ...message } = (room.stored.get(id) as Stored).message;
    return message;
  }

  /** Lets held answers arrive, one or all. */
  release(all = true): void {
    for (const arrive of this.#held.splice(0, all ? this.#held.length : 1)) arrive();
  }

  /** The HTTP side, for one user. */
  fetch = async (userId: string, input: string, init: RequestInit): Promise<Response> => {
    const answer = await this.answer(userId, input, init);
    if (this.holdHttp) await new Promise<void>((arrive) => this.#held.push(arrive));
    return answer;
  };

  private answer = async (userId: string, input: string, init: RequestInit): Promise<Response> => {
    const url = new URL(input, 'http://model');
    this.requests.push(`${init.method} ${url.pathname}${url.search}`);
    if (this.httpDown) throw new TypeError('the model is down');
    const json = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
    if (!this.loggedIn) return json({ code: 'not_logged_in', detail: 'log in', status: 401 }, 401);
    const parts = url.pathname.split('/').slice(2);
    if (parts[0] === 'session') {
      return json({
        id: userId,
        username: this.users.get(userId),
        superuser: false,
        created_at: '',
        session: { handle: 'h', expires_at: '' },
      });
    }
    if (parts[0] === 'rooms' && parts.length === 1) {
      const all = [...this.rooms.values()];
      const of = (mine: boolean) =>
        all.filter((room) => room.members.has(userId) === mine).map((room) => this.describe(room, userId));
      return json({ rooms: of(true), public: of(false) });
    }
    const room = this.rooms.get(parts[1] ?? '');
    if (room === undefined) return json({ code: 'not_found', detail: 'no such room' }, 404);
    if (parts[2] === 'messages') return json(this.page(room, url.searchParams));
    return json(this.describe(room, userId));
  };

  private describe(room: ModelRoom, userId: string): WireRoom {
    const read = room.reads.get(userId) ?? null;
    const after = room
      .ids()
      .filter((id) => (read === null || id > read) && room.at(id).author_id !== userId && !room.at(id).deleted);
    const mentions = after.filter((id) => room.at(id).mentions?.includes(userId)).length;
    return {
      id: room.id,
      name: room.name,
      title: '',
      kind: room.visibility,
      role: room.members.has(userId) ? 'member' : null,
      members: room.members.size,
      unread: Math.min(100, after.length),
      mentions,
      read,
      last: room.ids().at(-1) ?? null,
      created_at: '2026-01-01T00:00:00.000Z',
      archived: false,
    };
  }

  private page(room: ModelRoom, query: URLSearchParams) {
    const limit = Number(query.get('limit') ?? 50);
    const [before, after, around] = [query.get('before'), query.get('after'), query.get('around')];
    const ids = room.ids();
    let chosen: string[];
    let hasMore: boolean;
    if (after !== null) {
      const all = ids.filter((id) => id > after);
      chosen = all.slice(0, limit);
      hasMore = all.length > limit;
    } else if (around !== null) {
      const at = ids.findIndex((id) => id >= around);
      chosen = ids.slice(Math.max(0, at - limit / 2), at + limit / 2);
      hasMore = chosen.length < ids.length;
    } else {
      const all = ids.filter((id) => before === null || id < before);
      chosen = all.slice(-limit);
      hasMore = all.length > limit;
    }
    return { messages: chosen.map((id) => this.wire(room, id)), has_more: hasMore };
  }
}
