// The client as its users see it: puts the parts together and turns their state into snapshots.

import { Api } from './api';
import { Connection } from './connection';
import { dispatch, gone, type Parts } from './dispatch';
import { Drafts } from './drafts';
import { defaultEnvironment, type Environment } from './env';
import { ApiError, ClientError } from './errors';
import { History } from './history';
import { Joins } from './joins';
import { FRAME_BYTES, MESSAGE_CHARS, RETRY_CAP_MS, RETRY_FIRST_MS, SERVER_ROOMS } from './limits';
import { Marks } from './marks';
import { Outbox } from './outbox';
import { Requests } from './requests';
import type { Room } from './room';
import { RoomList } from './roomlist';
import { MemoryStorage, type Storage } from './storage';
import { keepIfSame, Store } from './store';
import type {
  ChatClient,
  ClientOptions,
  ClientSnapshot,
  ConnectionState,
  Gap,
  Id,
  Notice,
  Problem,
  RoomSnapshot,
  ServerLimits,
} from './types';
import type { Me, ServerFrame } from './wire';

const LIMITS: ServerLimits = { messageChars: MESSAGE_CHARS, frameBytes: FRAME_BYTES, rooms: SERVER_ROOMS };

const NOT_IN_ROOM: Problem = { code: 'not_joined', detail: 'You are not in this room any more.' };

export class Client implements ChatClient {
  readonly api: Api;
  readonly #env: Environment;
  readonly #store: Store;
  readonly #storage: Storage;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #rooms: RoomList;
  readonly #joins: Joins;
  readonly #outbox: Outbox;
  readonly #drafts: Drafts;
  readonly #marks: Marks;
  readonly #history: History;
  readonly #parts: Parts;
  readonly #notices = new Set<(notice: Notice) => void>();
  #me: Me | null = null;
  #limits: ServerLimits = LIMITS;
  #snapshot: ClientSnapshot | undefined;
  #fresh = false;

  constructor(options: ClientOptions = {}) {
    const env: Environment = { ...defaultEnvironment(), ...options.env };
    this.#env = env;
    const base = options.baseUrl ?? '';
    this.api = new Api({
      baseUrl: base,
      fetch: env.fetch,
      onUnauthorized: (error) => {
        if (this.#connection.state.phase !== 'stopped') this.#connection.stop('logged_out', error.detail);
      },
    });
    this.#store = new Store(env.soon);
    this.#storage = options.storage ?? new MemoryStorage();
    this.#connection = new Connection(env, socketAddress(base), {
      onState: (state) => this.#onState(state),
      onFrame: (frame) => this.#onFrame(frame),
      onLost: () => this.#onLost(),
      probeSession: () => this.api.session(),
    });
    const send = (frame: object) => this.#connection.send(frame);
    this.#requests = new Requests(env, send);
    const ask = (frame: object) => this.#requests.ask(frame);
    this.#rooms = new RoomList(env, this.api, {
      me: () => this.#user(),
      changed: (roomId) => this.#changed(roomId),
      waiting: (roomId) => this.#outbox.rows(roomId),
      hasDraft: (roomId) => this.#drafts.get(roomId) !== '',
      needsRefresh: () => this.#rooms.refreshSoon(),
      onListed: (roomIds) => this.#onListed(roomIds),
      onVanished: (room) => gone(this.#parts, room, 'left'),
    });
    this.#joins = new Joins(env, {
      isLive: () => this.#connection.state.phase === 'live',
      ask,
      room: (roomId) => this.#rooms.get(roomId),
      onRefused: (room, problem) => {
        room.forget();
        room.setStatus('refused', problem);
        this.#outbox.failRoom(room.id, problem);
      },
    });
    const isLive = (roomId: string) => {
      const status = this.#rooms.get(roomId)?.status;
      return this.#connection.state.phase === 'live' && (status === 'live' || status === 'catching_up');
    };
    this.#outbox = new Outbox(env, this.#storage, {
      canSend: isLive,
      ask,
      onAck: (entry, ack) => this.#rooms.ensure(entry.roomId).acked(entry.nonce, entry.text, entry.replyTo, ack),
      onFailed: ({ roomId, nonce }, problem) => this.#notice({ what: 'failed', roomId, nonce, problem }),
      onNotJoined: (roomId) => this.#joins.again(roomId),
      onChange: (roomId) => (this.#rooms.get(roomId) ? this.#rooms.get(roomId)?.touch() : this.#changed()),
    });
    this.#drafts = new Drafts(env, this.#storage);
    this.#marks = new Marks(env, { isLive, send, ask, onConfirmed: (roomId) => this.#rooms.get(roomId)?.recount() });
    this.#history = new History(this.api, () => this.#user().id);
    this.#parts = {
      rooms: this.#rooms,
      joins: this.#joins,
      outbox: this.#outbox,
      marks: this.#marks,
      notice: (notice) => this.#notice(notice),
      stale: (room, through) => void this.#history.refresh(room, through).catch(() => undefined),
      viewLoaded: (room) => this.#loadFirstPage(room),
    };
  }

  // Reading.

  subscribe = (listener: () => void): (() => void) => this.#store.subscribe(listener);

  subscribeRoom = (roomId: string, listener: () => void): (() => void) => this.#store.subscribeRoom(roomId, listener);

  onNotice = (listener: (notice: Notice) => void): (() => void) => {
    this.#notices.add(listener);
    return () => void this.#notices.delete(listener);
  };

  getRoom = (roomId: string): RoomSnapshot | undefined => this.#rooms.get(roomId)?.snapshot();

  getSnapshot = (): ClientSnapshot => {
    if (this.#fresh && this.#snapshot !== undefined) return this.#snapshot;
    const rooms = this.#rooms.mine();
    const sum = (field: 'unread' | 'mentions') => rooms.reduce((all, room) => all + room[field], 0);
    this.#snapshot = keepIfSame(this.#snapshot, {
      connection: this.#connection.state,
      me: this.#me,
      limits: this.#limits,
      rooms,
      publicRooms: this.#rooms.publicRooms,
      roomsLoaded: this.#rooms.loaded,
      unreadTotal: sum('unread'),
      mentionsTotal: sum('mentions'),
      ...this.#outbox.counts(),
    });
    this.#fresh = true;
    return this.#snapshot;
  };

  // Coming and going.

  async start(): Promise<Me> {
    const me = await this.api.session();
    if (this.#me !== null && this.#me.id !== me.id) this.stop();
    this.#me = me;
    this.#changed();
    await Promise.all([this.#drafts.load(me.id), this.#outbox.load(me.id)]);
    if (this.#me?.id !== me.id)
      throw new ApiError({ status: 0, code: 'network', detail: 'The client was stopped meanwhile.' });
    this.#connection.start();
    return me;
  }

  stop(): void {
    this.#connection.stop('by_request', '');
    this.#joins.clear();
    this.#marks.clear();
    this.#outbox.unload();
    this.#drafts.unload();
    this.#rooms.clear();
    this.#me = null;
    this.#changed();
  }

  async logout(): Promise<void> {
    const userId = this.#me?.id;
    await this.api.logout();
    this.stop();
    if (userId !== undefined) await this.#storage.clear(userId).catch(() => undefined);
  }

  reconnectNow(): void {
    this.#connection.reconnectNow();
  }

  // Rooms.

  async openRoom(wanted: string, options: { readonly create?: boolean } = {}): Promise<string> {
    this.#user();
    let room = this.#rooms.find(wanted);
    if (room === undefined || room.info.role === null) {
      room = await this.#enter(wanted, options.create !== false);
    }
    this.#rooms.view(room);
    this.#joins.want(room.id, true);
    this.#loadFirstPage(room);
    this.#changed(room.id);
    return room.id;
  }

  /** Joins a room that is not in the list: by its name it is made if it is free. */
  async #enter(wanted: string, create: boolean): Promise<Room> {
    if (!create) await this.api.room(wanted);
    const { phase } = this.#connection.state;
    if (phase === 'connecting') await this.#untilConnected();
    const joined = await this.#requests.ask({ type: 'join', room: wanted });
    if (joined.type !== 'joined')
      throw new ApiError({ status: 0, code: 'internal', detail: `A join was answered by ${joined.type}.` });
    this.#rooms.refreshSoon();
    return this.#rooms.ensure(joined.room_id);
  }

  #untilConnected(): Promise<void> {
    return new Promise((resolve) => {
      const end = this.subscribe(() => {
        if (this.#connection.state.phase === 'connecting') return;
        end();
        resolve();
      });
    });
  }

  closeRoom(roomId: string): void {
    this.#rooms.unview(roomId);
  }

  async createRoom(
    name: string,
    options: { readonly visibility?: 'public' | 'private'; readonly title?: string } = {},
  ): Promise<string> {
    return this.openRoom(this.#rooms.put(await this.api.createRoom(name, options)).id);
  }

  async openDirect(user: string): Promise<string> {
    return this.openRoom(this.#rooms.put(await this.api.direct(user)).id);
  }

  async unsubscribe(roomId: string): Promise<void> {
    this.#joins.unwant(roomId);
    await this.#requests.ask({ type: 'unsubscribe', room: roomId });
  }

  async leave(roomId: string): Promise<void> {
    const room = this.#rooms.get(roomId);
    if (room?.status === 'live' || room?.status === 'catching_up') {
      await this.#requests.ask({ type: 'leave', room: roomId });
    } else {
      await this.api.removeMember(roomId, this.#user().username);
    }
    if (room !== undefined) gone(this.#parts, room, 'left');
  }

  refreshRooms(query?: string): Promise<void> {
    return this.#rooms.refresh(query);
  }

  // Messages.

  send(roomId: string, text: string, options: { readonly replyTo?: Id } = {}): string {
    if (text.trim() === '') throw new ClientError('message_empty', 'There is nothing but white space in it.');
    // Characters are Unicode scalar values, which is what iterating a string gives.
    const length = [...text].length;
    const most = this.#limits.messageChars;
    if (length > most) throw new ClientError('message_too_long', `It has ${length} characters; ${most} are allowed.`);
    const room = this.#room(roomId);
    this.#marks.wrote(roomId);
    const nonce = this.#outbox.add(roomId, text, options.replyTo ?? null);
    const over = room.status === 'refused' || room.status === 'gone';
    if (over && room.problem !== null) this.#outbox.failRoom(roomId, room.problem);
    else this.#joins.want(roomId, true);
    return nonce;
  }

  retry(nonce: string): void {
    this.#outbox.retry(nonce);
  }

  discard(nonce: string): void {
    this.#outbox.discard(nonce);
  }

  async edit(roomId: string, messageId: Id, text: string): Promise<void> {
    const ack = await this.#requests.ask({ type: 'edit', room: roomId, id: messageId, message: text });
    if (ack.type !== 'ack' || ack.event_id === undefined) return;
    const { author, authorId } = this.#rooms.get(roomId)?.timeline.get(messageId)?.message ?? {
      author: '',
      authorId: '',
    };
    this.#rooms.get(roomId)?.ackedChange({
      ...ack,
      event_id: ack.event_id,
      id: messageId,
      author,
      author_id: authorId,
      message: text,
      type: 'edited',
    });
  }

  async remove(roomId: string, messageId: Id): Promise<void> {
    const ack = await this.#requests.ask({ type: 'delete', room: roomId, id: messageId });
    if (ack.type !== 'ack' || ack.event_id === undefined) return;
    this.#rooms.get(roomId)?.ackedChange({ ...ack, event_id: ack.event_id, id: messageId, type: 'deleted' });
  }

  // History.

  async loadOlder(roomId: string): Promise<void> {
    await this.#history.older(this.#room(roomId));
  }

  async loadGap(roomId: string, gap: Gap, side: 'up' | 'down'): Promise<void> {
    await this.#history.gap(this.#room(roomId), gap, side);
  }

  async loadAround(roomId: string, messageId: Id): Promise<boolean> {
    return this.#history.around(this.#room(roomId), messageId);
  }

  setAnchor(roomId: string, messageId: Id | null): void {
    const room = this.#rooms.get(roomId);
    if (room === undefined) return;
    room.anchor = messageId;
    room.trim();
  }

  /** A viewed room that was joined in the background has no page yet. */
  #loadFirstPage(room: Room): void {
    const { timeline } = room;
    if (!room.full || room.status !== 'live' || timeline.ids.length > 0 || timeline.coverage.fromStart) return;
    this.#history.older(room).catch(() => undefined);
  }

  // Small things.

  typing(roomId: string): void {
    this.#marks.typing(roomId);
  }

  markRead(roomId: string, messageId?: Id): void {
    const room = this.#rooms.get(roomId);
    const id = messageId ?? room?.timeline.newest ?? null;
    if (room !== undefined && id !== null && room.read(id)) this.#marks.read(roomId, id);
  }

  draft(roomId: string): string {
    return this.#drafts.get(roomId);
  }

  setDraft(roomId: string, text: string): void {
    const had = this.#drafts.get(roomId) !== '';
    this.#drafts.set(roomId, text);
    if (had !== (text !== '')) this.#rooms.get(roomId)?.touch();
  }

  // What the parts report.

  #onState(state: ConnectionState): void {
    if (state.phase === 'stopped' && state.reason !== 'by_request') {
      this.#notice({ what: 'stopped', reason: state.reason, detail: state.detail });
    }
    this.#changed();
  }

  #onFrame(frame: ServerFrame): void {
    if (frame.type === 'hello') this.#onHello(frame);
    // The room must have changed before whoever asked goes on.
    dispatch(this.#parts, frame);
    this.#requests.answer(frame);
  }

  #onHello(frame: ServerFrame & { type: 'hello' }): void {
    const { message_chars, frame_bytes, rooms } = frame.limits ?? {};
    this.#limits = keepIfSame(this.#limits, {
      messageChars: message_chars ?? MESSAGE_CHARS,
      frameBytes: frame_bytes ?? FRAME_BYTES,
      rooms: rooms ?? SERVER_ROOMS,
    });
    if (this.#me === null || frame.user_id !== this.#me.id) {
      // Somebody else has logged in under this page: nothing of the old user may stay on screen.
      this.#connection.stop('logged_out', 'Somebody else is logged in now.');
      return;
    }
    void this.#listAndJoin(0);
  }

  #onLost(): void {
    this.#requests.lost();
    this.#joins.lost();
  }

  /**
   * Rooms are joined only once the list has come: joining a public room makes a member, so a room that was left on
   * another device meanwhile must not be joined by habit.
   */
  async #listAndJoin(failures: number): Promise<void> {
    const { state } = this.#connection;
    if (state.phase !== 'live' || this.#me === null) return;
    try {
      await this.#outbox.load(this.#me.id);
      await this.#rooms.fetch();
    } catch (error) {
      const asked = error instanceof ApiError ? error.retryAfter : null;
      const wait = asked === null ? Math.min(RETRY_CAP_MS, RETRY_FIRST_MS * 2 ** Math.min(failures, 10)) : asked * 1000;
      this.#env.after(wait, () => {
        if (this.#connection.state === state) void this.#listAndJoin(failures + 1);
      });
    }
  }

  #onListed(roomIds: readonly string[]): void {
    const { viewing } = this.#rooms;
    const waiting = this.#outbox.roomIds();
    // The viewed room first, and rooms with waiting messages however long nobody has looked at them.
    const first = viewing !== null && this.#rooms.isMine(viewing) ? [viewing] : [];
    const order = [...new Set([...first, ...roomIds, ...waiting.filter((id) => this.#rooms.isMine(id))])];
    this.#joins.listed(order, this.#limits.rooms);
    for (const id of waiting) if (!this.#rooms.isMine(id)) this.#outbox.failRoom(id, NOT_IN_ROOM);
    this.#changed();
  }

  #changed(roomId?: string): void {
    this.#fresh = false;
    this.#store.changed(roomId);
  }

  #notice(notice: Notice): void {
    for (const listener of [...this.#notices]) listener(notice);
  }

  #user(): Me {
    if (this.#me === null) throw new ClientError('not_started', 'Nobody is logged in: call start() first.');
    return this.#me;
  }

  #room(roomId: string): Room {
    const room = this.#rooms.get(roomId);
    if (room === undefined) throw new ApiError({ status: 0, code: 'not_found', detail: 'There is no such room here.' });
    return room;
  }
}

export function createClient(options?: ClientOptions): ChatClient {
  return new Client(options);
}

/** Our own messages are echoed, so that the cursor moves only with what the socket has delivered in order. */
function socketAddress(base: string): string {
  const origin = base === '' ? globalThis.location.origin : base.replace(/\/$/, '');
  return `${origin.replace(/^http/, 'ws')}/ws?echo=1`;
}
