// What each frame of the server does to the rooms. Requests are settled elsewhere (requests.ts); here is the rest.

import { time } from './decode';
import type { Joins } from './joins';
import type { Marks } from './marks';
import type { Outbox } from './outbox';
import type { Room, RoomInfo } from './room';
import type { RoomList } from './roomlist';
import type { Notice, Problem } from './types';
import type { InboxFrame, JoinedFrame, LeftReason, PresenceFrame, ServerFrame, WireMessage } from './wire';

export interface Parts {
  readonly rooms: RoomList;
  readonly joins: Joins;
  readonly outbox: Outbox;
  readonly marks: Marks;
  notice(notice: Notice): void;
  /** The room was reset under somebody's eyes: fetch anew what is held up to that id. */
  stale(room: Room, through: string): void;
  viewLoaded(room: Room): void;
}

const REASONS: Readonly<Record<string, string>> = {
  left: 'You have left this room.',
  kicked: 'You were removed from this room.',
  banned: 'You are banned from this room.',
  deleted: 'This room was deleted.',
};

export function dispatch(parts: Parts, frame: ServerFrame): void {
  if (frame.type === 'inbox') {
    inbox(parts, frame);
    return;
  }
  if (frame.type === 'joined') {
    joined(parts, frame);
    return;
  }
  const room = 'room_id' in frame ? parts.rooms.get(frame.room_id) : undefined;
  if (room === undefined) return;
  switch (frame.type) {
    case 'message':
      message(parts, room, frame);
      return;
    case 'edited':
      room.edited(frame);
      return;
    case 'deleted':
      room.deleted(frame);
      return;
    case 'reset':
      if (room.reset(frame.from, frame.to ?? null)) parts.stale(room, frame.from);
      return;
    case 'live':
      room.live(frame.cursor);
      parts.marks.flush(room.id);
      parts.outbox.pump(room.id);
      parts.viewLoaded(room);
      return;
    case 'left':
      left(parts, room, frame.reason);
      return;
    case 'typing':
      room.people.types(frame.user_id, frame.user);
      return;
    case 'presence':
      presence(room, frame);
      return;
    case 'read':
      room.read(frame.id);
      return;
    case 'degraded':
      room.degraded = frame.degraded;
      room.touch();
      return;
    default:
      return;
  }
}

function joined({ rooms, outbox }: Parts, frame: JoinedFrame): void {
  const room = rooms.ensure(frame.room_id);
  room.joined(frame);
  outbox.pump(room.id);
}

function message(parts: Parts, room: Room, frame: WireMessage): void {
  const live = room.status === 'live';
  const got = room.message(frame);
  if (got === null || got.inserted !== 'new' || !live || got.message.own || got.message.deleted) return;
  if (room.timeline.attempts(got.message)[0] !== got.message.id) return;
  parts.notice({ what: 'message', roomId: room.id, message: got.message });
}

function presence(room: Room, frame: PresenceFrame): void {
  if (frame.user_id === undefined || typeof frame.online !== 'boolean') {
    room.people.presence(frame);
    return;
  }
  const peer = room.info.with;
  if (peer === null || peer.id !== frame.user_id) return;
  const lastSeen = time(frame.last_seen) || peer.lastSeen;
  room.change({ with: { ...peer, online: frame.online, lastSeen } });
}

/** This connection no longer gets the room. */
function left(parts: Parts, room: Room, reason: LeftReason): void {
  parts.joins.unwant(room.id);
  if (reason === 'unsubscribed') {
    room.setStatus('idle');
    return;
  }
  if (reason === 'archived') {
    room.change({ archived: true });
    room.setStatus('idle');
    return;
  }
  gone(parts, room, reason);
}

export function gone(parts: Parts, room: Room, reason: 'left' | 'kicked' | 'banned' | 'deleted'): void {
  if (room.status === 'gone') return;
  const problem: Problem = { code: reason, detail: REASONS[reason] ?? '' };
  parts.joins.unwant(room.id);
  room.forget();
  room.change({ role: null });
  room.setStatus('gone', problem);
  parts.outbox.failRoom(room.id, problem);
  parts.notice({ what: 'removed', roomId: room.id, room: room.summary().label, reason });
}

/** What concerns us in rooms that this socket has not joined; some of it comes for joined rooms as well. */
function inbox(parts: Parts, frame: InboxFrame): void {
  const { rooms } = parts;
  const roomId = frame.room_id;
  if (typeof roomId !== 'string') return;
  const name = frame.room ?? roomId;
  const known = rooms.get(roomId);
  switch (frame.what) {
    case 'direct':
      if (known?.info.role == null) parts.notice({ what: 'direct', roomId, username: frame.with ?? '' });
      rooms.refreshSoon();
      return;
    case 'joined':
    case 'unbanned':
      rooms.refreshSoon();
      return;
    case 'invited':
      parts.notice({ what: 'invited', roomId, room: name, by: frame.by ?? '' });
      rooms.refreshSoon();
      return;
    case 'role':
      if (frame.role === undefined) return;
      known?.change({ role: frame.role });
      parts.notice({ what: 'role', roomId, role: frame.role });
      return;
    case 'left':
    case 'kicked':
    case 'banned':
      if (known !== undefined) gone(parts, known, frame.what);
      return;
    case 'changed':
      changed(known, frame);
      return;
    case 'mention': {
      const { id, author, message: text } = frame;
      if (known?.status !== 'live') rooms.refreshSoon();
      if (id === undefined || author === undefined) return;
      parts.notice({ what: 'mention', roomId, messageId: id, author, text: text ?? '' });
      return;
    }
    default:
      return;
  }
}

function changed(room: Room | undefined, frame: InboxFrame): void {
  if (room === undefined) return;
  const change: { -readonly [K in keyof RoomInfo]?: RoomInfo[K] } = {};
  if (frame.title !== undefined) change.title = frame.title ?? '';
  if (frame.kind !== undefined) change.kind = frame.kind;
  if (typeof frame.archived === 'boolean') change.archived = frame.archived;
  room.change(change);
}
