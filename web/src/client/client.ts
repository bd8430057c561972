// The client as its users see it: what can be asked of it. How its parts work together is core.ts.

import { Core } from './core';
import { gone } from './dispatch';
import { ApiError, ClientError } from './errors';
import type { Room } from './room';
import type { ChatClient, ClientOptions, Gap, Id } from './types';
import type { Me } from './wire';

export class Client extends Core implements ChatClient {
  // Coming and going.

  async start(): Promise<Me> {
    const { epoch } = this;
    const goOn = () => {
      if (this.epoch !== epoch) throw new ClientError('not_started', 'The client was stopped meanwhile.');
    };
    const me = await this.api.session();
    goOn();
    if (this.me !== null && this.me.id !== me.id) {
      this.stop();
      return this.start();
    }
    this.me = me;
    this.changed();
    await Promise.all([this.drafts.load(me.id), this.outbox.load(me.id)]);
    goOn();
    this.connection.start();
    return me;
  }

  stop(): void {
    this.epoch += 1;
    this.connection.stop('by_request', '');
    this.joins.clear();
    this.marks.clear();
    this.outbox.unload();
    this.drafts.unload();
    this.rooms.clear();
    this.me = null;
    this.changed();
  }

  async logout(): Promise<void> {
    const userId = this.me?.id;
    this.leaving = true;
    try {
      await this.api.logout();
    } catch (error) {
      // The session has ended already, which is what was wanted.
      if (!(error instanceof ApiError && error.status === 401)) throw error;
    } finally {
      this.leaving = false;
    }
    this.stop();
    if (userId !== undefined) await this.storage.clear(userId).catch(() => undefined);
  }

  reconnectNow(): void {
    this.connection.reconnectNow();
  }

  // Rooms.

  async openRoom(wanted: string, options: { readonly create?: boolean } = {}): Promise<string> {
    this.user();
    let room = this.rooms.find(wanted);
    if (room === undefined || room.info.role === null) {
      room = await this.enter(wanted, options.create !== false);
    }
    this.rooms.view(room);
    this.joins.want(room.id, true);
    this.loadFirstPage(room);
    this.changed(room.id);
    return room.id;
  }

  /** Joins a room that is not in the list: by its name it is made if it is free. */
  private async enter(wanted: string, create: boolean): Promise<Room> {
    if (!create) await this.api.room(wanted);
    const { phase } = this.connection.state;
    if (phase === 'connecting') await this.untilConnected();
    const joined = await this.requests.ask({ type: 'join', room: wanted });
    if (joined.type !== 'joined')
      throw new ApiError({ status: 0, code: 'internal', detail: `A join was answered by ${joined.type}.` });
    this.rooms.refreshSoon();
    return this.rooms.ensure(joined.room_id);
  }

  private untilConnected(): Promise<void> {
    return new Promise((resolve) => {
      const end = this.subscribe(() => {
        if (this.connection.state.phase === 'connecting') return;
        end();
        resolve();
      });
    });
  }

  closeRoom(roomId: string): void {
    this.rooms.unview(roomId);
  }

  async createRoom(
    name: string,
    options: { readonly visibility?: 'public' | 'private'; readonly title?: string } = {},
  ): Promise<string> {
    return this.openRoom(this.rooms.put(await this.api.createRoom(name, options)).id);
  }

  async openDirect(user: string): Promise<string> {
    return this.openRoom(this.rooms.put(await this.api.direct(user)).id);
  }

  async unsubscribe(roomId: string): Promise<void> {
    this.joins.unwant(roomId);
    await this.requests.ask({ type: 'unsubscribe', room: roomId });
  }

  async leave(roomId: string): Promise<void> {
    const room = this.rooms.get(roomId);
    if (room?.status === 'live' || room?.status === 'catching_up') {
      await this.requests.ask({ type: 'leave', room: roomId });
    } else {
      await this.api.removeMember(roomId, this.user().username);
    }
    if (room !== undefined) gone(this.parts, room, 'left');
  }

  refreshRooms(query?: string): Promise<void> {
    return this.rooms.refresh(query);
  }

  // Messages.

  send(roomId: string, text: string, options: { readonly replyTo?: Id } = {}): string {
    if (text.trim() === '') throw new ClientError('message_empty', 'There is nothing but white space in it.');
    // Characters are Unicode scalar values, which is what iterating a string gives.
    const length = [...text].length;
    const most = this.limits.messageChars;
    if (length > most) throw new ClientError('message_too_long', `It has ${length} characters; ${most} are allowed.`);
    const room = this.room(roomId);
    this.marks.wrote(roomId);
    const nonce = this.outbox.add(roomId, text, options.replyTo ?? null);
    const over = room.status === 'refused' || room.status === 'gone';
    if (over && room.problem !== null) this.outbox.failRoom(roomId, room.problem);
    else this.joins.want(roomId, true);
    return nonce;
  }

  retry(nonce: string): void {
    this.outbox.retry(nonce);
  }

  discard(nonce: string): void {
    this.outbox.discard(nonce);
  }

  async edit(roomId: string, messageId: Id, text: string): Promise<void> {
    const ack = await this.requests.ask({ type: 'edit', room: roomId, id: messageId, message: text });
    if (ack.type !== 'ack' || ack.event_id === undefined) return;
    const { author, authorId } = this.rooms.get(roomId)?.timeline.get(messageId)?.message ?? {
      author: '',
      authorId: '',
    };
    this.rooms.get(roomId)?.ackedChange({
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
    const ack = await this.requests.ask({ type: 'delete', room: roomId, id: messageId });
    if (ack.type !== 'ack' || ack.event_id === undefined) return;
    this.rooms.get(roomId)?.ackedChange({ ...ack, event_id: ack.event_id, id: messageId, type: 'deleted' });
  }

  // History.

  async loadOlder(roomId: string): Promise<void> {
    await this.history.older(this.room(roomId));
  }

  async loadGap(roomId: string, gap: Gap, side: 'up' | 'down'): Promise<void> {
    await this.history.gap(this.room(roomId), gap, side);
  }

  async loadAround(roomId: string, messageId: Id): Promise<boolean> {
    return this.history.around(this.room(roomId), messageId);
  }

  setAnchor(roomId: string, messageId: Id | null): void {
    const room = this.rooms.get(roomId);
    if (room === undefined) return;
    room.anchor = messageId;
    room.trim();
  }

  // Small things.

  typing(roomId: string): void {
    this.marks.typing(roomId);
  }

  markRead(roomId: string, messageId?: Id): void {
    const room = this.rooms.get(roomId);
    const id = messageId ?? room?.timeline.newest ?? null;
    if (room !== undefined && id !== null && room.read(id)) this.marks.read(roomId, id);
  }

  draft(roomId: string): string {
    return this.drafts.get(roomId);
  }

  setDraft(roomId: string, text: string): void {
    const had = this.drafts.get(roomId) !== '';
    this.drafts.set(roomId, text);
    if (had !== (text !== '')) this.rooms.get(roomId)?.touch();
  }
}

export function createClient(options?: ClientOptions): ChatClient {
  return new Client(options);
}
