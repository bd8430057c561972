// The public types of the protocol client: what a user interface reads and calls. Wire shapes (snake case, as the
// server sends them) live in wire.ts; everything here is what the client makes of them. All snapshots are immutable,
// and a snapshot object is replaced only when something in it has changed, so `===` tells whether to draw again.

import type { Api } from './api';
import type { Environment } from './env';
import type { Storage } from './storage';
import type { ErrorCode, Me, PublicRoom, Role, RoomKind } from './wire';

/** A message or event id: a UUIDv7 in lower case with hyphens. Comparing two as strings compares them in time. */
export type Id = string;

/** Why the client has stopped and will not come back by itself. */
export type StopReason =
  | 'not_started'
  | 'by_request'
  | 'logged_out'
  | 'session_expired'
  | 'sessions_lost'
  | 'account_disabled'
  | 'password_changed'
  | 'client_too_old'
  | 'refused';

/** The state of the one socket. Times are milliseconds since 1970 by the environment's clock. */
export type ConnectionState =
  | { readonly phase: 'connecting'; readonly attempt: number }
  | { readonly phase: 'live'; readonly since: number }
  /** Lost; the next attempt is made at `retryAt`, or at once with `reconnectNow()`. */
  | { readonly phase: 'waiting'; readonly retryAt: number; readonly attempt: number }
  /** The browser says that there is no network. */
  | { readonly phase: 'offline' }
  | { readonly phase: 'stopped'; readonly reason: StopReason; readonly detail: string };

/** The bounds that the server named in `hello`, or the protocol's own until then. */
export interface ServerLimits {
  /** Unicode scalar values in one message. */
  readonly messageChars: number;
  /** Bytes in one frame. */
  readonly frameBytes: number;
  /** Rooms on one socket. */
  readonly rooms: number;
}

export interface DirectPeer {
  readonly id: string;
  readonly username: string;
  readonly online: boolean;
  /** Milliseconds since 1970, or null if not known. */
  readonly lastSeen: number | null;
}

/**
 * How a room stands on this socket.
 * `idle`: not joined; `joining`: asked; `catching_up`: joined, the replay is coming; `live`; `refused`: the server
 * said no (see `problem`); `gone`: left, kicked, banned or deleted (see `problem.code`).
 */
export type RoomStatus = 'idle' | 'joining' | 'catching_up' | 'live' | 'refused' | 'gone';

/** What a list of rooms shows of one room. */
export interface RoomSummary {
  readonly id: string;
  /** null for a direct conversation. */
  readonly name: string | null;
  /** What to call it: the title, else the name, else the other person's name. */
  readonly label: string;
  readonly title: string;
  readonly kind: RoomKind;
  /** null if you are not in it. */
  readonly role: Role | null;
  readonly members: number;
  readonly archived: boolean;
  /** Others' messages after your read marker; 100 means 100 or more. */
  readonly unread: number;
  /** Those of them that name you. */
  readonly mentions: number;
  readonly readId: Id | null;
  readonly lastId: Id | null;
  /** Time of the newest message, for ordering the list; creation time of an empty room. */
  readonly lastAt: number;
  readonly with: DirectPeer | null;
  readonly hasDraft: boolean;
  readonly status: RoomStatus;
}

/** A message as shown. Replaced by a new object when it is edited or deleted, else the same object for ever. */
export interface ChatMessage {
  readonly id: Id;
  readonly roomId: string;
  readonly author: string;
  readonly authorId: string;
  /** Empty if deleted. Plain text: never put it into a page as HTML. */
  readonly text: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly replyTo: Id | null;
  /** Ids of members named in the text. */
  readonly mentions: readonly string[];
  readonly mentionsMe: boolean;
  readonly editedAt: number | null;
  readonly deleted: boolean;
  readonly own: boolean;
}

export type PendingStatus = 'queued' | 'sending' | 'failed';

/** One line of a timeline. `key` is stable, also when a pending row turns into a message. */
export type Row =
  | { readonly kind: 'message'; readonly key: string; readonly message: ChatMessage }
  | { readonly kind: 'gap'; readonly key: string; readonly gap: Gap }
  | { readonly kind: 'pending'; readonly key: string; readonly pending: PendingMessage };

/** A stretch of history that is not held: fetch it with `loadGap` when it comes into view. */
export interface Gap {
  /** Newest id held before the gap. */
  readonly from: Id;
  /** Oldest id held after the gap. */
  readonly to: Id;
  readonly loading: boolean;
}

/** A message of ours that is not acknowledged yet. Pending rows stand at the end, in the order sent. */
export interface PendingMessage {
  readonly nonce: string;
  readonly roomId: string;
  readonly text: string;
  readonly replyTo: Id | null;
  /** When it was written; milliseconds since 1970. */
  readonly at: number;
  readonly status: PendingStatus;
  /** Why it failed, if it did. */
  readonly problem: Problem | null;
}

export interface Problem {
  /** A code of the protocol, or of the client: `network`, `expired`, `unsubscribed`. */
  readonly code: ErrorCode | string;
  readonly detail: string;
}

export interface RoomSnapshot {
  readonly summary: RoomSummary;
  readonly status: RoomStatus;
  /** Why `refused` or `gone`. */
  readonly problem: Problem | null;
  readonly rows: readonly Row[];
  /** History before the first row can be fetched (`loadOlder`). False: the first row is the beginning. */
  readonly hasOlder: boolean;
  readonly loadingOlder: boolean;
  /** Why the last fetch of history failed; cleared by the next one. */
  readonly historyProblem: Problem | null;
  /** True until the first page has come: show a skeleton, not "no messages". */
  readonly loading: boolean;
  /** Names of those who type now, without you. */
  readonly typing: readonly string[];
  readonly presentCount: number;
  /** Names of people here; all of them only if as many as `presentCount`. */
  readonly present: readonly string[];
  /** The server holds this room back for now; nothing is lost. */
  readonly degraded: boolean;
}

/** Everything outside single rooms. */
export interface ClientSnapshot {
  readonly connection: ConnectionState;
  readonly me: Me | null;
  readonly limits: ServerLimits;
  /** My rooms, the most recently active first. */
  readonly rooms: readonly RoomSummary[];
  /** Public rooms that I am not in, as of the last `refreshRooms`. */
  readonly publicRooms: readonly PublicRoom[];
  /** True once the list of rooms has come. */
  readonly roomsLoaded: boolean;
  readonly unreadTotal: number;
  readonly mentionsTotal: number;
  /** Messages that wait to be sent, and those that failed, over all rooms. */
  readonly queued: number;
  readonly failed: number;
}

/** Things that happen once, for toasts, sounds and screen readers. */
export type Notice =
  | { readonly what: 'message'; readonly roomId: string; readonly message: ChatMessage }
  | {
      readonly what: 'mention';
      readonly roomId: string;
      readonly messageId: Id;
      readonly author: string;
      readonly text: string;
    }
  | { readonly what: 'direct'; readonly roomId: string; readonly username: string }
  | { readonly what: 'invited'; readonly roomId: string; readonly room: string; readonly by: string }
  | { readonly what: 'role'; readonly roomId: string; readonly role: Role }
  | {
      readonly what: 'removed';
      readonly roomId: string;
      readonly room: string;
      readonly reason: 'left' | 'kicked' | 'banned' | 'deleted' | 'archived';
    }
  | { readonly what: 'failed'; readonly roomId: string; readonly nonce: string; readonly problem: Problem }
  | { readonly what: 'stopped'; readonly reason: StopReason; readonly detail: string };

export interface ClientOptions {
  /** Origin of the server, such as `https://chat.example.org`; by default the page's own. */
  readonly baseUrl?: string;
  /** Outbox and drafts; by default in memory. Browsers: `await openIdbStorage()` from outbox-idb.ts. */
  readonly storage?: Storage;
  /** Clock, randomness, sockets, fetch, locks, network events; each may be replaced. */
  readonly env?: Partial<Environment>;
}

/**
 * One user's chat over one socket. Reading is by snapshots, doing by methods; methods that return nothing never
 * throw for the network's sake, promises reject with `ApiError`.
 */
export interface ChatClient {
  readonly api: Api;

  /** For `useSyncExternalStore`. Listeners are called at most once per batch of changes. */
  subscribe(listener: () => void): () => void;
  getSnapshot(): ClientSnapshot;
  /** Called only if that room's snapshot has changed. */
  subscribeRoom(roomId: string, listener: () => void): () => void;
  /** undefined if the room is not known. */
  getRoom(roomId: string): RoomSnapshot | undefined;
  onNotice(listener: (notice: Notice) => void): () => void;

  /** Asks who is logged in (rejects with `not_logged_in`), loads outbox and drafts, connects. Safe to call again. */
  start(): Promise<Me>;
  /** Closes the socket and forgets all rooms; outbox and drafts stay stored. */
  stop(): void;
  /** Ends the session on the server, then `stop()`; drafts and outbox of this user are forgotten. */
  logout(): Promise<void>;
  reconnectNow(): void;

  /**
   * Makes a room the viewed one (it keeps a full window and is caught up first) and joins it if need be: by name or
   * id. A free name makes a public room with you as owner, unless `create` is false. Resolves with the room's id.
   */
  openRoom(room: string, options?: { readonly create?: boolean }): Promise<string>;
  /** The room is no longer viewed. It stays joined. */
  closeRoom(roomId: string): void;
  createRoom(
    name: string,
    options?: { readonly visibility?: 'public' | 'private'; readonly title?: string },
  ): Promise<string>;
  openDirect(user: string): Promise<string>;
  /** Stays a member, hears nothing more of it until it is opened again. */
  unsubscribe(roomId: string): Promise<void>;
  /** Ends the membership. */
  leave(roomId: string): Promise<void>;
  /** Fetches the lists of rooms anew. `query` narrows the public ones to names beginning so. */
  refreshRooms(query?: string): Promise<void>;

  /**
   * Shows the message at once as pending and sends it when possible, once. Returns its nonce.
   * Throws `ClientError` (`message_empty`, `message_too_long`, `outbox_full`) if it can't be accepted.
   */
  send(roomId: string, text: string, options?: { readonly replyTo?: Id }): string;
  /** Tries a failed message again, or a waiting one now. */
  retry(nonce: string): void;
  /** Forgets a failed or waiting message. One that is under way may still arrive. */
  discard(nonce: string): void;
  edit(roomId: string, messageId: Id, text: string): Promise<void>;
  remove(roomId: string, messageId: Id): Promise<void>;

  /** Fetches the page before the first row. Resolves when it is merged; concurrent calls share one fetch. */
  loadOlder(roomId: string): Promise<void>;
  /** Fetches a page of a gap, from its newer end (`up`, as when scrolling back) or its older end (`down`). */
  loadGap(roomId: string, gap: Gap, side: 'up' | 'down'): Promise<void>;
  /** Makes sure that a message and its surroundings are held; false if there is no such message. */
  loadAround(roomId: string, messageId: Id): Promise<boolean>;
  /**
   * Says where the reader is, so that the bounded window keeps what is on screen: the id of a visible message, or
   * null at the end of the timeline (the default).
   */
  setAnchor(roomId: string, messageId: Id | null): void;

  /** Call on every key press; frames are throttled. */
  typing(roomId: string): void;
  /** Moves the read marker forward to this message (default: the newest held); throttled, never backward. */
  markRead(roomId: string, messageId?: Id): void;
  draft(roomId: string): string;
  setDraft(roomId: string, text: string): void;
}
