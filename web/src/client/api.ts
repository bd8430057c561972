// Every HTTP call of the protocol, typed. No state: what a call changes is learnt by the caller from its answer.

import { ApiError } from './errors';
import { HTTP_TIMEOUT_MS } from './limits';
import type {
  Ban,
  Info,
  Me,
  Member,
  MemberPage,
  MessagePage,
  Role,
  SessionInfo,
  UserProfile,
  UserRef,
  WireMessage,
  WireRoom,
} from './wire';

/** Part of an address after `/api`, with its query; undefined and null are left out. */
type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface PageQuery {
  readonly before?: string;
  readonly after?: string;
  readonly around?: string;
  /** 1 to 200; the server's default is 50. */
  readonly limit?: number;
}

export interface ApiOptions {
  /** Origin of the server without a trailing slash; empty for the page's own. */
  readonly baseUrl?: string;
  readonly fetch?: (input: string, init: RequestInit) => Promise<Response>;
  /** Called when an answer says that nobody is logged in, other than to a log-in. */
  readonly onUnauthorized?: (error: ApiError) => void;
}

export class Api {
  readonly #base: string;
  readonly #fetch: (input: string, init: RequestInit) => Promise<Response>;
  readonly #onUnauthorized: ((error: ApiError) => void) | undefined;

  constructor(options: ApiOptions = {}) {
    this.#base = (options.baseUrl ?? '').replace(/\/$/, '');
    this.#fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
    this.#onUnauthorized = options.onUnauthorized;
  }

  // Accounts and sessions.
  info = (): Promise<Info> => this.call('GET', '/info');
  register = (username: string, password: string, invite?: string): Promise<Me> =>
    this.call('POST', '/users', invite === undefined ? { username, password } : { username, password, invite });
  login = (username: string, password: string): Promise<Me> => this.call('POST', '/session', { username, password });
  session = (): Promise<Me> => this.call('GET', '/session');
  logout = (): Promise<void> => this.call('DELETE', '/session');
  sessions = (): Promise<{ sessions: SessionInfo[] }> => this.call('GET', '/sessions');
  endSession = (handle: string): Promise<void> => this.call('DELETE', path`/sessions/${handle}`);
  changePassword = (current: string, next: string): Promise<void> =>
    this.call('PUT', '/password', { current, new: next });

  // People.
  findUsers = (q: string, limit?: number): Promise<{ users: UserRef[] }> =>
    this.call('GET', `/users${query({ q, limit })}`);
  user = (user: string): Promise<UserProfile> => this.call('GET', path`/users/${user}`);

  // Rooms.
  rooms = (q?: string): Promise<{ rooms: WireRoom[]; public: WireRoom[] }> => this.call('GET', `/rooms${query({ q })}`);
  createRoom = (name: string, more: { visibility?: 'public' | 'private'; title?: string } = {}): Promise<WireRoom> =>
    this.call('POST', '/rooms', { name, ...more });
  room = (room: string): Promise<WireRoom> => this.call('GET', path`/rooms/${room}`);
  changeRoom = (room: string, change: { title?: string; visibility?: 'public' | 'private' }): Promise<WireRoom> =>
    this.call('PATCH', path`/rooms/${room}`, change);
  direct = (user: string): Promise<WireRoom> => this.call('PUT', path`/direct/${user}`);
  messages = (room: string, page: PageQuery = {}): Promise<MessagePage> =>
    this.call('GET', `${path`/rooms/${room}/messages`}${query({ ...page })}`);
  markRead = (room: string, id: string): Promise<{ id: string; unread: number }> =>
    this.call('PUT', path`/rooms/${room}/read`, { id });

  // Members and bans.
  members = (room: string, page: { after?: string; limit?: number; q?: string } = {}): Promise<MemberPage> =>
    this.call('GET', `${path`/rooms/${room}/members`}${query({ ...page })}`);
  putMember = (room: string, user: string, role?: Role): Promise<Member> =>
    this.call('PUT', path`/rooms/${room}/members/${user}`, role === undefined ? {} : { role });
  removeMember = (room: string, user: string): Promise<void> =>
    this.call('DELETE', path`/rooms/${room}/members/${user}`);
  bans = (room: string): Promise<{ bans: Ban[] }> => this.call('GET', path`/rooms/${room}/bans`);
  ban = (room: string, user: string): Promise<void> => this.call('PUT', path`/rooms/${room}/bans/${user}`);
  unban = (room: string, user: string): Promise<void> => this.call('DELETE', path`/rooms/${room}/bans/${user}`);

  // Superusers. The admin page types the answers that protocol.md leaves open.
  adminStats = <T = unknown>(): Promise<T> => this.call('GET', '/admin/stats');
  adminUsers = <T = unknown>(q: Query = {}): Promise<T> => this.call('GET', `/admin/users${query(q)}`);
  adminChangeUser = <T = unknown>(user: string, change: { disabled?: boolean; superuser?: boolean }): Promise<T> =>
    this.call('PATCH', path`/admin/users/${user}`, change);
  adminEndSessions = (user: string): Promise<void> => this.call('DELETE', path`/admin/users/${user}/sessions`);
  adminRooms = <T = unknown>(q: Query = {}): Promise<T> => this.call('GET', `/admin/rooms${query(q)}`);
  adminChangeRoom = <T = unknown>(room: string, change: { title?: string; archived?: boolean }): Promise<T> =>
    this.call('PATCH', path`/admin/rooms/${room}`, change);
  adminDeleteRoom = (room: string): Promise<void> => this.call('DELETE', path`/admin/rooms/${room}`);
  adminMessages = <T = MessagePage>(q: Query = {}): Promise<T> => this.call('GET', `/admin/messages${query(q)}`);
  adminMessage = <T = WireMessage>(id: string): Promise<T> => this.call('GET', path`/admin/messages/${id}`);
  adminDeleteMessage = (id: string): Promise<void> => this.call('DELETE', path`/admin/messages/${id}`);
  adminAudit = <T = unknown>(q: Query = {}): Promise<T> => this.call('GET', `/admin/audit${query(q)}`);
  adminInvites = <T = unknown>(): Promise<T> => this.call('GET', '/admin/invites');
  adminCreateInvite = <T = unknown>(invite: { uses?: number; days?: number } = {}): Promise<T> =>
    this.call('POST', '/admin/invites', invite);
  adminDeleteInvite = (code: string): Promise<void> => this.call('DELETE', path`/admin/invites/${code}`);

  /** Any call: resolves with the decoded body (undefined for 204), rejects with `ApiError` only. */
  async call<T>(method: string, address: string, body?: unknown): Promise<T> {
    const init: RequestInit = { method, credentials: 'same-origin', signal: AbortSignal.timeout(HTTP_TIMEOUT_MS) };
    if (body !== undefined) {
      init.headers = { 'content-type': 'application/json' };
      init.body = JSON.stringify(body);
    }
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(`${this.#base}/api${address}`, init);
      text = await response.text();
    } catch (error) {
      throw new ApiError({ status: 0, code: 'network', detail: `The server could not be reached: ${String(error)}` });
    }
    if (!response.ok) {
      const error = problem(response, text);
      if (error.code === 'not_logged_in') this.#onUnauthorized?.(error);
      throw error;
    }
    if (text === '') return undefined as T;
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError({
        status: response.status,
        code: 'internal',
        detail: 'The answer of the server is not JSON.',
      });
    }
  }
}

/** A template for paths: every value becomes exactly one segment. */
function path(parts: TemplateStringsArray, ...values: string[]): string {
  return parts.reduce((all, part, index) => all + encodeURIComponent(values[index - 1] ?? '') + part);
}

function query(fields: Query): string {
  const all = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== null) all.set(name, String(value));
  }
  const text = all.toString();
  return text === '' ? '' : `?${text}`;
}

function problem(response: Response, text: string): ApiError {
  let document: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) document = parsed as Record<string, unknown>;
  } catch {
    // A proxy in between answers in its own words: the status has to do.
  }
  const header = Number(response.headers.get('retry-after') ?? Number.NaN);
  const retryAfter =
    typeof document.retry_after === 'number' ? document.retry_after : Number.isFinite(header) ? header : null;
  return new ApiError({
    status: response.status,
    code: typeof document.code === 'string' ? document.code : codeOf(response.status),
    detail: typeof document.detail === 'string' ? document.detail : `The server answered ${response.status}.`,
    retryAfter,
    field: typeof document.field === 'string' ? document.field : null,
  });
}

function codeOf(status: number): string {
  if (status === 401) return 'not_logged_in';
  if (status === 403) return 'forbidden';
  if (status === 404) return 'not_found';
  if (status === 413) return 'too_large';
  if (status === 429) return 'rate_limited';
  return status >= 502 ? 'unavailable' : status >= 500 ? 'internal' : 'invalid_request';
}
