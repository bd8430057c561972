// The two errors that callers of the client meet.

import type { ErrorCode } from './wire';

/** A request that the server refused, or that never got an answer (`status` 0, code `network`). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  /** HTTP status; 0 for a socket's `error` frame or if there was no answer. */
  readonly status: number;
  readonly code: ErrorCode | 'network' | string;
  readonly detail: string;
  /** Seconds to wait before trying again, if the server said so. */
  readonly retryAfter: number | null;
  /** The field of the request that is wrong, if the server named one. */
  readonly field: string | null;

  constructor(init: {
    status: number;
    code: string;
    detail: string;
    retryAfter?: number | null;
    field?: string | null;
  }) {
    super(`${init.code}: ${init.detail}`);
    this.status = init.status;
    this.code = init.code;
    this.detail = init.detail;
    this.retryAfter = init.retryAfter ?? null;
    this.field = init.field ?? null;
  }
}

/** A request that the client itself could not accept. */
export class ClientError extends Error {
  override readonly name = 'ClientError';
  readonly code: 'message_empty' | 'message_too_long' | 'outbox_full' | 'not_started';

  constructor(code: ClientError['code'], detail: string) {
    super(detail);
    this.code = code;
  }
}
