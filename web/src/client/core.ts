// The parts of the client put together: what each reports to the others, and the snapshots made of their state.

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
  ClientOptions,
  ClientSnapshot,
  ConnectionState,
  Notice,
  Problem,
  RoomSnapshot,
  ServerLimits,
} from './types';
import type { Me, ServerFrame } from './wire';

const LIMITS: ServerLimits = { messageChars: MESSAGE_CHARS, frameBytes: FRAME_BYTES, rooms: SERVER_ROOMS };

const NOT_IN_ROOM: Problem = { code: 'not_joined', detail: 'You are not in this room any more.' };

/** The parts and what they report; client.ts adds the methods that its users call. */
export abstract class Core {
  readonly api: Api;
  protected readonly env: Environment;
  protected readonly store: Store;
  protected readonly storage: Storage;
  protected readonly connection: Connection;
  protected readonly requests: Requests;
  protected readonly rooms: RoomList;
  protected readonly joins: Joins;
  protected readonly outbox: Outbox;
  protected readonly drafts: Drafts;
  protected readonly marks: Marks;
  protected readonly history: History;
  protected readonly parts: Parts;
  protected readonly notices = new Set<(notice: Notice) => void>();
  protected me: Me | null = null;
  protected limits: ServerLimits = LIMITS;
  protected snapshot: ClientSnapshot | undefined;
  protected fresh = false;
  /** Counts stops: what began before the last one must not go on. */
  protected epoch = 0;
  /** We end the session ourselves: the server's word for it is no news. */
  protected leaving = false;

  constructor(options: ClientOptions = {}) {
    const env: Environment = { ...defaultEnvironment(), ...options.env };
    this.env = env;
    const base = options.baseUrl ?? '';
    this.api = new Api({
      baseUrl: base,
      fetch: env.fetch,
      onUnauthorized: (error) => {
        if (this.connection.state.phase !== 'stopped') this.connection.stop('logged_out', error.detail);
      },
    });
    this.store = new Store(env.soon);
    this.storage = options.storage ?? new MemoryStorage();
    this.connection = new Connection(env, socketAddress(base), {
      onState: (state) => this.onState(state),
      onFrame: (frame) => this.onFrame(frame),
      onLost: () => this.onLost(),
      probeSession: () => this.api.session(),
    });
    const send = (frame: object) => this.connection.send(frame);
    this.requests = new Requests(env, send);
    const ask = (frame: object) => this.requests.ask(frame);
    this.rooms = new RoomList(env, this.api, {
      me: () => this.user(),
      changed: (roomId) => this.changed(roomId),
      waiting: (roomId) => this.outbox.rows(roomId),
      hasDraft: (roomId) => this.drafts.get(roomId) !== '',
      needsRefresh: () => this.rooms.refreshSoon(),
      onListed: (roomIds) => this.onListed(roomIds),
      onVanished: (room) => gone(this.parts, room, 'left'),
    });
    this.joins = new Joins(env, {
      isLive: () => this.connection.state.phase === 'live',
      ask,
      room: (roomId) => this.rooms.get(roomId),
      onRefused: (room, problem) => {
        room.forget();
        room.setStatus('refused', problem);
        this.outbox.failRoom(room.id, problem);
      },
    });
    const isLive = (roomId: string) => {
      const status = this.rooms.get(roomId)?.status;
      return this.connection.state.phase === 'live' && (status === 'live' || status === 'catching_up');
    };
    this.outbox = new Outbox(env, this.storage, {
      canSend: isLive,
      ask,
      onAck: (entry, ack) => this.rooms.ensure(entry.roomId).acked(entry.nonce, entry.text, entry.replyTo, ack),
      onFailed: ({ roomId, nonce }, problem) => this.notice({ what: 'failed', roomId, nonce, problem }),
      onNotJoined: (roomId) => this.joins.again(roomId),
      onChange: (roomId) => (this.rooms.get(roomId) ? this.rooms.get(roomId)?.touch() : this.changed()),
    });
    this.drafts = new Drafts(env, this.storage);
    this.marks = new Marks(env, { isLive, send, ask, onConfirmed: (roomId) => this.rooms.get(roomId)?.recount() });
    this.history = new History(this.api, () => this.user().id);
    this.parts = {
      rooms: this.rooms,
      joins: this.joins,
      outbox: this.outbox,
      marks: this.marks,
      notice: (notice) => this.notice(notice),
      stale: (room, through) => void this.history.refresh(room, through).catch(() => undefined),
      viewLoaded: (room) => this.loadFirstPage(room),
    };
  }

  // Reading.

  subscribe = (listener: () => void): (() => void) => this.store.subscribe(listener);

  subscribeRoom = (roomId: string, listener: () => void): (() => void) => this.store.subscribeRoom(roomId, listener);

  onNotice = (listener: (notice: Notice) => void): (() => void) => {
    this.notices.add(listener);
    return () => void this.notices.delete(listener);
  };

  getRoom = (roomId: string): RoomSnapshot | undefined => this.rooms.get(roomId)?.snapshot();

  getSnapshot = (): ClientSnapshot => {
    if (this.fresh && this.snapshot !== undefined) return this.snapshot;
    const rooms = this.rooms.mine();
    const sum = (field: 'unread' | 'mentions') => rooms.reduce((all, room) => all + room[field], 0);
    this.snapshot = keepIfSame(this.snapshot, {
      connection: this.connection.state,
      me: this.me,
      limits: this.limits,
      rooms,
      publicRooms: this.rooms.publicRooms,
      roomsLoaded: this.rooms.loaded,
      unreadTotal: sum('unread'),
      mentionsTotal: sum('mentions'),
      ...this.outbox.counts(),
    });
    this.fresh = true;
    return this.snapshot;
  };

  /** A viewed room that was joined in the background has no page yet. */
  protected loadFirstPage(room: Room): void {
    const { timeline } = room;
    if (!room.full || room.status !== 'live' || timeline.ids.length > 0 || timeline.coverage.fromStart) return;
    this.history.older(room).catch(() => undefined);
  }

  // What the parts report.

  protected onState(state: ConnectionState): void {
    if (state.phase === 'stopped' && state.reason !== 'by_request' && !this.leaving) {
      this.notice({ what: 'stopped', reason: state.reason, detail: state.detail });
    }
    this.changed();
  }

  protected onFrame(frame: ServerFrame): void {
    if (frame.type === 'hello') this.onHello(frame);
    // The room must have changed before whoever asked goes on.
    dispatch(this.parts, frame);
    this.requests.answer(frame);
  }

  protected onHello(frame: ServerFrame & { type: 'hello' }): void {
    const { message_chars, frame_bytes, rooms } = frame.limits ?? {};
    this.limits = keepIfSame(this.limits, {
      messageChars: message_chars ?? MESSAGE_CHARS,
      frameBytes: frame_bytes ?? FRAME_BYTES,
      rooms: rooms ?? SERVER_ROOMS,
    });
    if (this.me === null || frame.user_id !== this.me.id) {
      // Somebody else has logged in under this page: nothing of the old user may stay on screen.
      this.connection.stop('logged_out', 'Somebody else is logged in now.');
      return;
    }
    void this.listAndJoin(0);
  }

  protected onLost(): void {
    this.requests.lost();
    this.joins.lost();
  }

  /**
   * Rooms are joined only once the list has come: joining a public room makes a member, so a room that was left on
   * another device meanwhile must not be joined by habit.
   */
  protected async listAndJoin(failures: number): Promise<void> {
    const { state } = this.connection;
    if (state.phase !== 'live' || this.me === null) return;
    try {
      await this.outbox.load(this.me.id);
      await this.rooms.fetch();
    } catch (error) {
      const asked = error instanceof ApiError ? error.retryAfter : null;
      const wait = asked === null ? Math.min(RETRY_CAP_MS, RETRY_FIRST_MS * 2 ** Math.min(failures, 10)) : asked * 1000;
      this.env.after(wait, () => {
        if (this.connection.state === state) void this.listAndJoin(failures + 1);
      });
    }
  }

  protected onListed(roomIds: readonly string[]): void {
    const { viewing } = this.rooms;
    const waiting = this.outbox.roomIds();
    // The viewed room first, and rooms with waiting messages however long nobody has looked at them.
    const first = viewing !== null && this.rooms.isMine(viewing) ? [viewing] : [];
    const order = [...new Set([...first, ...roomIds, ...waiting.filter((id) => this.rooms.isMine(id))])];
    this.joins.listed(order, this.limits.rooms);
    for (const id of waiting) if (!this.rooms.isMine(id)) this.outbox.failRoom(id, NOT_IN_ROOM);
    this.changed();
  }

  protected changed(roomId?: string): void {
    this.fresh = false;
    this.store.changed(roomId);
  }

  protected notice(notice: Notice): void {
    for (const listener of [...this.notices]) listener(notice);
  }

  protected user(): Me {
    if (this.me === null) throw new ClientError('not_started', 'Nobody is logged in: call start() first.');
    return this.me;
  }

  protected room(roomId: string): Room {
    const room = this.rooms.get(roomId);
    if (room === undefined) throw new ApiError({ status: 0, code: 'not_found', detail: 'There is no such room here.' });
    return room;
  }
}

/** Our own messages are echoed, so that the cursor moves only with what the socket has delivered in order. */
function socketAddress(base: string): string {
  const origin = base === '' ? globalThis.location.origin : base.replace(/\/$/, '');
  return `${origin.replace(/^http/, 'ws')}/ws?echo=1`;
}
