// From wire shapes to what the client keeps. The server is trusted to keep the contract, but a page must survive a
// message that does not: what can't be read is left out.

import type { Held, Version } from './timeline';
import type { ChatMessage } from './types';
import type { EditedFrame, WireMessage } from './wire';

export function toHeld(wire: WireMessage, roomId: string, meId: string): Held | null {
  if (typeof wire.id !== 'string' || typeof wire.author_id !== 'string') return null;
  const deleted = wire.deleted === true;
  const editedAt = wire.edited_at ? time(wire.edited_at) : null;
  const mentions = deleted ? [] : (wire.mentions ?? []);
  const message: ChatMessage = {
    id: wire.id,
    roomId,
    author: wire.author,
    authorId: wire.author_id,
    text: deleted ? '' : String(wire.message ?? ''),
    at: time(wire.at),
    replyTo: wire.reply_to ?? null,
    mentions,
    mentionsMe: mentions.includes(meId),
    editedAt,
    deleted,
    own: wire.author_id === meId,
  };
  // The event id of a late message is its place in the replay, not a change of it.
  const changed = wire.late !== true && (editedAt !== null || deleted);
  const version: Version = { at: editedAt ?? 0, eventId: changed ? (wire.event_id ?? null) : null };
  return { message, version };
}

export function toChange(frame: EditedFrame, meId: string) {
  const mentions = frame.mentions ?? [];
  const version: Version = { at: time(frame.at), eventId: frame.event_id };
  return { text: frame.message, mentions, mentionsMe: mentions.includes(meId), version };
}

/** Milliseconds since 1970; 0 for what is no time. */
export function time(text: string | null | undefined): number {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? 0 : at;
}
