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
