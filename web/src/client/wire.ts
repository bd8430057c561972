// Shapes on the wire, exactly as docs/protocol.md names them. Only what the client reads or writes; unknown fields
// are ignored.

export type RoomKind = 'public' | 'private' | 'direct';
export type Role = 'owner' | 'moderator' | 'member';

/** Codes of problem documents and `error` frames. Others may be added at any time. */
export type ErrorCode =
  | 'invalid_json'
  | 'invalid_frame'
  | 'invalid_request'
  | 'unknown_type'
  | 'invalid_name'
  | 'invalid_password'
  | 'message_empty'
  | 'message_too_long'
  | 'not_logged_in'
  | 'bad_credentials'
  | 'forbidden'
  | 'banned'
  | 'bad_origin'
  | 'registration_closed'
  | 'not_found'
  | 'not_joined'
  | 'name_taken'
  | 'nonce_reused'
  | 'archived'
  | 'room_limit'
  | 'too_large'
  | 'upgrade_required'
  | 'rate_limited'
  | 'refused'
  | 'unknown_outcome'
  | 'unavailable'
  | 'internal';

export interface Me {
  readonly id: string;
  readonly username: string;
  readonly superuser: boolean;
  readonly created_at: string;
  readonly session: { readonly handle: string; readonly expires_at: string };
}

export interface Info {
  readonly name: string;
  readonly version: string;
  readonly registration: 'open' | 'invite' | 'closed';
  readonly limits: Readonly<Record<string, number>>;
}

export interface SessionInfo {
  readonly handle: string;
  readonly created_at: string;
  readonly last_seen_at: string;
  readonly expires_at: string;
  readonly user_agent: string | null;
  readonly address: string | null;
  readonly current: boolean;
}

export interface UserRef {
  readonly id: string;
  readonly username: string;
}

export interface UserProfile extends UserRef {
  readonly created_at: string;
  readonly online?: boolean;
  readonly last_seen?: string | null;
}

/** `Room` of the HTTP side. */
export interface WireRoom {
  readonly id: string;
  readonly name: string | null;
  readonly title: string | null;
  readonly kind: RoomKind;
  readonly role: Role | null;
  readonly members: number;
  readonly unread: number;
  readonly mentions: number;
  readonly read: string | null;
  readonly last: string | null;
  readonly created_at: string;
  readonly archived: boolean;
  readonly with?: UserRef & { readonly online: boolean; readonly last_seen: string | null };
}

/** A public room that I am not in. */
export type PublicRoom = WireRoom;

export interface WireMessage {
  readonly room: string;
  readonly room_id: string;
  readonly id: string;
  readonly author: string;
  readonly author_id: string;
  readonly message: string;
  readonly at: string;
  readonly reply_to?: string | null;
  readonly mentions?: readonly string[];
  readonly edited_at?: string | null;
  readonly deleted?: boolean;
  readonly late?: boolean;
  readonly event_id?: string | null;
}

export interface MessagePage {
  readonly messages: readonly WireMessage[];
  readonly has_more: boolean;
}

export interface Member extends UserRef {
  readonly role: Role;
  readonly present: boolean;
  readonly joined_at: string;
}

export interface MemberPage {
  readonly members: readonly Member[];
  readonly has_more: boolean;
}

export interface Ban extends UserRef {
  readonly at: string;
  readonly by: string;
}

/** Frames from the server that the client acts on. */
export type ServerFrame =
  | {
      readonly type: 'hello';
      readonly connection: string;
      readonly user: string;
      readonly user_id: string;
      readonly superuser: boolean;
      readonly limits?: { readonly message_chars?: number; readonly frame_bytes?: number; readonly rooms?: number };
    }
  | AckFrame
  | JoinedFrame
  | ({ readonly type: 'message' } & WireMessage)
  | EditedFrame
  | DeletedFrame
  | {
      readonly type: 'reset';
      readonly room_id: string;
      readonly from: string /** Null if no message follows. */;
      readonly to: string | null;
    }
  | { readonly type: 'live'; readonly ref?: Ref; readonly room_id: string; readonly cursor: string | null }
  | {
      readonly type: 'left';
      readonly ref?: Ref;
      readonly room: string;
      readonly room_id: string;
      readonly reason: LeftReason;
    }
  | { readonly type: 'typing'; readonly room_id: string; readonly user: string; readonly user_id: string }
  | PresenceFrame
  | { readonly type: 'read'; readonly room_id: string; readonly id: string }
  | InboxFrame
  | { readonly type: 'degraded'; readonly room_id: string; readonly degraded: boolean }
  | { readonly type: 'bye'; readonly reason: string; readonly delay: number; readonly resume: boolean }
  | { readonly type: 'pong'; readonly ref?: Ref }
  | ErrorFrame;

export type Ref = string | number;

export type LeftReason = 'unsubscribed' | 'left' | 'kicked' | 'banned' | 'archived' | 'deleted';

export interface AckFrame {
  readonly type: 'ack';
  readonly ref?: Ref;
  readonly nonce?: string;
  readonly room: string;
  readonly room_id: string;
  readonly id: string;
  readonly at: string;
  readonly event_id?: string;
}

export interface JoinedFrame {
  readonly type: 'joined';
  readonly ref?: Ref;
  readonly room: string;
  readonly room_id: string;
  readonly kind: RoomKind;
  readonly title: string | null;
  readonly role: Role | null;
  readonly present_count: number;
  readonly present: readonly string[];
  readonly cursor: string | null;
  readonly read: string | null;
  readonly with?: string;
  readonly with_id?: string;
  readonly created: boolean;
}

export interface EditedFrame {
  readonly type: 'edited';
  readonly room_id: string;
  readonly id: string;
  readonly event_id: string;
  readonly author: string;
  readonly author_id: string;
  readonly message: string;
  readonly at: string;
  readonly mentions?: readonly string[];
}

export interface DeletedFrame {
  readonly type: 'deleted';
  readonly room_id: string;
  readonly id: string;
  readonly event_id: string;
  readonly at: string;
}

/** In rooms `count`, `joined`, `left`; in a direct conversation the other person's state. */
export interface PresenceFrame {
  readonly type: 'presence';
  readonly room_id: string;
  readonly count?: number;
  readonly joined?: readonly string[];
  readonly left?: readonly string[];
  readonly user?: string;
  readonly user_id?: string;
  readonly online?: boolean;
  readonly last_seen?: string | null;
}

export interface InboxFrame {
  readonly type: 'inbox';
  readonly what: string;
  readonly room?: string;
  readonly room_id?: string;
  readonly with?: string;
  readonly with_id?: string;
  readonly role?: Role;
  readonly by?: string;
  readonly title?: string | null;
  readonly kind?: RoomKind;
  readonly archived?: boolean;
  readonly id?: string;
  readonly author?: string;
  readonly message?: string;
}

export interface ErrorFrame {
  readonly type: 'error';
  readonly code: string;
  readonly detail: string;
  readonly retry_after?: number;
  readonly ref?: Ref;
  readonly nonce?: string;
  readonly room?: string;
}
