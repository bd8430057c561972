// One room as this client knows it: its timeline, its people, its counts, and the snapshot made of them. Frames come
// in, nothing goes out: asking the server is the business of joins.ts, history.ts and client.ts.

import { time, toChange, toHeld } from './decode';
import type { Environment } from './env';
import { justAfter, later, MAX_ID, MIN_ID } from './ids';
import { BACKGROUND_WINDOW, ROOM_WINDOW, TRIM_SLACK } from './limits';
import { People } from './people';
import { type PendingRow, RowBuilder } from './rows';
import { keepIfSame } from './store';
import { type Change, type Inserted, Timeline, UNCHANGED } from './timeline';
import type { ChatMessage, DirectPeer, Id, Problem, RoomSnapshot, RoomStatus, RoomSummary } from './types';
import { activity, countUnread, type UnreadBase } from './unread';
import type {
  AckFrame,
  DeletedFrame,
  EditedFrame,
  JoinedFrame,
  Me,
  Role,
  RoomKind,
  WireMessage,
  WireRoom,
} from './wire';

export interface RoomHooks {
  me(): Me;
  changed(roomId: string): void;
  waiting(roomId: string): readonly PendingRow[];
  hasDraft(roomId: string): boolean;
  /** Counts or fields can only be had from the server. */
  needsRefresh(): void;
}

export interface RoomInfo {
  readonly name: string | null;
  readonly title: string;
  readonly kind: RoomKind;
  readonly role: Role | null;
  readonly members: number;
  readonly archived: boolean;
  readonly createdAt: number;
  readonly with: DirectPeer | null;
}

const UNKNOWN: RoomInfo = {
  name: null,
  title: '',
  kind: 'public',
  role: null,
  members: 0,
  archived: false,
  createdAt: 0,
  with: null,
};

export class Room {
  readonly id: string;
  readonly timeline = new Timeline();
  readonly people: People;
  readonly rowBuilder = new RowBuilder();
  /** Keys of gaps that are being fetched; the empty key stands for older history. */
  readonly loading = new Set<string>();
  /** Changes when pages that are on their way must not be merged any more. */
  generation = 0;
  info: RoomInfo = UNKNOWN;
  status: RoomStatus = 'idle';
  problem: Problem | null = null;
  historyProblem: Problem | null = null;
  degraded = false;
  readId: Id | null = null;
  anchor: Id | null = null;
  /** It keeps a full window: it is viewed, or among those viewed last. */
  full = false;
  readonly #hooks: RoomHooks;
  #base: UnreadBase | null = null;
  #lastId: Id | null = null;
  #unread = { unread: 0, mentions: 0 };
  #summary: RoomSummary | undefined;
  #snapshot: RoomSnapshot | undefined;

  constructor(id: string, env: Environment, hooks: RoomHooks) {
    this.id = id;
    this.#hooks = hooks;
    this.people = new People(env, () => this.touch());
  }

  /** Something has changed: the snapshot is made anew when it is next asked for. */
  touch(): void {
    this.#snapshot = undefined;
    this.#hooks.changed(this.id);
  }

  setStatus(status: RoomStatus, problem: Problem | null = null): void {
    this.status = status;
    this.problem = problem;
    if (status !== 'live' && status !== 'catching_up') this.people.clear();
    this.touch();
  }

  describe(wire: WireRoom): void {
    const peer = wire.with;
    this.info = {
      name: wire.name,
      title: wire.title ?? '',
      kind: wire.kind,
      role: wire.role,
      members: wire.members,
      archived: wire.archived,
      createdAt: time(wire.created_at),
      with: peer
        ? { id: peer.id, username: peer.username, online: peer.online, lastSeen: time(peer.last_seen) || null }
        : null,
    };
    this.readId = later(this.readId, wire.read);
    this.#lastId = later(this.#lastId, wire.last);
    this.#base = { unread: wire.unread, mentions: wire.mentions, read: wire.read, last: wire.last };
    this.#count(true);
    this.touch();
  }

  change(info: Partial<RoomInfo>): void {
    this.info = { ...this.info, ...info };
    this.touch();
  }

  /** Before a join is sent. A first join starts with an empty timeline; a resume goes on from the cursor. */
  beginJoin(): { readonly since?: Id; readonly have?: string } {
    const since = this.timeline.cursor;
    if (since === null) {
      this.timeline.clear();
      this.generation += 1;
    }
    const have = this.timeline.digest();
    this.setStatus('joining');
    return { ...(since === null ? {} : { since }), ...(have === undefined ? {} : { have }) };
  }

  joined(frame: JoinedFrame): void {
    this.people.joined(frame.present_count, frame.present ?? []);
    const name = frame.kind === 'direct' ? null : frame.room;
    const known = this.info.with;
    const peer = frame.with_id !== undefined && frame.with !== undefined && known === null;
    this.info = {
      ...this.info,
      name,
      title: frame.title ?? '',
      kind: frame.kind,
      role: frame.role,
      with: peer
        ? { id: frame.with_id as string, username: frame.with as string, online: false, lastSeen: null }
        : known,
    };
    this.degraded = false;
    this.readId = later(this.readId, frame.read);
    this.setStatus('catching_up');
    if (this.#base === null) this.#hooks.needsRefresh();
  }

  live(cursor: Id | null): void {
    const { coverage } = this.timeline;
    if (coverage.tail === undefined) coverage.add(cursor === null ? MIN_ID : justAfter(cursor), MAX_ID);
    this.timeline.see(cursor);
    // The server answers again: what failed for want of it may be tried again.
    this.historyProblem = null;
    this.setStatus('live');
    // A room joined without a page does not show what came between the list of rooms and the join.
    if (this.timeline.newest === null && cursor !== null && cursor > (this.#base?.last ?? MIN_ID))
      this.#hooks.needsRefresh();
    this.#count(false);
  }

  message(wire: WireMessage): { readonly inserted: Inserted; readonly message: ChatMessage } | null {
    const held = toHeld(wire, this.id, this.#hooks.me().id);
    if (held === null) return null;
    const { coverage } = this.timeline;
    // The first message of a first join's page is where the gap-free tail begins.
    if (coverage.tail === undefined) coverage.add(held.message.id, MAX_ID);
    const inserted = this.timeline.insert(held.message, held.version);
    this.timeline.see(wire.late === true ? (wire.event_id ?? wire.id) : wire.id);
    this.people.wrote(held.message.authorId);
    this.#lastId = later(this.#lastId, wire.id);
    if (inserted === 'new') {
      this.#count(false);
      this.trim();
    }
    this.touch();
    return { inserted, message: held.message };
  }

  /** Our own message is stored: show it under its id and time. */
  acked(nonce: string, text: string, replyTo: Id | null, ack: AckFrame): void {
    const me = this.#hooks.me();
    const id = ack.id;
    this.#lastId = later(this.#lastId, id);
    if (this.timeline.get(id) === undefined) {
      const base = { id, roomId: this.id, author: me.username, authorId: me.id, text, at: time(ack.at), replyTo };
      const message = { ...base, mentions: [], mentionsMe: false, editedAt: null, deleted: false, own: true };
      this.timeline.insert(message, UNCHANGED);
    }
    this.rowBuilder.keep(id, nonce);
    this.#count(false);
    this.trim();
    this.touch();
  }

  /** Our own change is done: applied at once, without moving the cursor past what others wrote meanwhile. */
  ackedChange(frame: EditedFrame | DeletedFrame): void {
    const { cursor } = this.timeline;
    if (cursor !== null && frame.event_id <= cursor) return;
    if (frame.type === 'edited') this.timeline.change(frame.id, toChange(frame, this.#hooks.me().id));
    else this.timeline.change(frame.id, erasure(frame));
    this.#count(false);
    this.touch();
  }

  edited(frame: EditedFrame): void {
    this.timeline.see(frame.event_id);
    if (this.timeline.change(frame.id, toChange(frame, this.#hooks.me().id))) this.#count(false);
    this.touch();
  }

  deleted(frame: DeletedFrame): void {
    this.timeline.see(frame.event_id);
    if (this.timeline.change(frame.id, erasure(frame))) this.#count(false);
    this.touch();
  }

  /**
   * The replay has a gap. What is held below it may have missed edits: it is dropped, unless somebody is reading
   * there; then true says that it has to be fetched anew.
   */
  reset(from: Id, to: Id | null): boolean {
    this.generation += 1;
    // No page follows if the room holds no message: then nothing that is held is certain.
    if (to !== null) this.timeline.reset(from, to);
    const stale = to === null ? MAX_ID : from < to ? justAfter(from) : to;
    const reading = to !== null && this.full && this.anchor !== null && this.anchor < stale;
    if (!reading) this.timeline.dropBefore(stale);
    this.#hooks.needsRefresh();
    this.touch();
    return reading;
  }

  /** Moves the read marker forward; false if it is there already. */
  read(id: Id): boolean {
    const moved = later(this.readId, id) !== this.readId;
    if (!moved) return false;
    this.readId = id;
    this.#count(false);
    this.touch();
    return true;
  }

  /** After history was merged: counts may be exact now, and the window has to be kept. */
  merged(near: Id | null): void {
    this.#count(false);
    this.trim(near);
    this.touch();
  }

  trim(near: Id | null = null): void {
    const window = this.full ? ROOM_WINDOW : BACKGROUND_WINDOW;
    if (this.timeline.ids.length <= window + TRIM_SLACK) return;
    if (this.timeline.trim(window, this.anchor ?? near)) this.touch();
  }

  /** Forgets the messages: we are not in the room any more. */
  forget(): void {
    this.generation += 1;
    this.timeline.clear();
    this.touch();
  }

  /** After the server has taken our read marker: only now does its count help. */
  recount(): void {
    this.#count(false);
    this.touch();
  }

  #count(fromServer: boolean): void {
    const live = this.status === 'live' || this.status === 'catching_up';
    const now = countUnread(this.timeline, this.#base, this.readId, live);
    if (now.known) {
      this.#unread = { unread: now.unread, mentions: now.mentions };
    } else if (fromServer) {
      this.#unread = { unread: this.#base?.unread ?? 0, mentions: this.#base?.mentions ?? 0 };
    } else if (this.#base !== null) {
      this.#hooks.needsRefresh();
    }
  }

  summary(): RoomSummary {
    const { name, title, kind, role, members, archived, createdAt, with: peer } = this.info;
    const now: RoomSummary = {
      id: this.id,
      name,
      label: kind === 'direct' ? (peer?.username ?? '') : title || (name ?? ''),
      title,
      kind,
      role,
      members,
      archived,
      ...this.#unread,
      readId: this.readId,
      lastId: this.#lastId,
      lastAt: activity(this.#lastId, createdAt),
      with: peer,
      hasDraft: this.#hooks.hasDraft(this.id),
      status: this.status,
    };
    this.#summary = keepIfSame(this.#summary, now);
    return this.#summary;
  }

  snapshot(): RoomSnapshot {
    if (this.#snapshot !== undefined) return this.#snapshot;
    const { fromStart } = this.timeline.coverage;
    const over = this.status === 'refused' || this.status === 'gone';
    const rows = this.rowBuilder.build(this.timeline, this.#hooks.waiting(this.id), this.loading);
    this.#snapshot = {
      summary: this.summary(),
      status: this.status,
      problem: this.problem,
      rows,
      hasOlder: !fromStart && !over,
      loadingOlder: this.loading.has(''),
      historyProblem: this.historyProblem,
      loading: this.timeline.ids.length === 0 && !fromStart && !over && this.historyProblem === null,
      typing: this.people.typing(),
      presentCount: this.people.count,
      present: this.people.present(),
      degraded: this.degraded,
    };
    return this.#snapshot;
  }
}

function erasure(frame: DeletedFrame): Change {
  const version = { at: time(frame.at), eventId: frame.event_id };
  return { text: null, mentions: [], mentionsMe: false, version };
}
