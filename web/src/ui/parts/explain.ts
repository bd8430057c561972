// Errors in words: what happened, what was kept, what to do.

import { ApiError, ClientError, type StopReason } from '../../client';

const WORDS: Readonly<Record<string, string>> = {
  network: 'Couldn’t reach the server. Check your connection and try again.',
  bad_credentials: 'That name and password don’t go together. Check both and try again.',
  name_taken: 'That name is taken. Choose another.',
  invalid_name: 'A name has 1 to 32 letters, digits, “_” or “-”.',
  invalid_password: 'A password has 8 to 256 characters.',
  registration_closed: 'Registration needs a valid invite here. Ask for one.',
  forbidden: 'Your role here doesn’t allow that.',
  banned: 'You are banned from this room.',
  not_found: 'That isn’t there any more, or isn’t open to you.',
  archived: 'This room is read-only.',
  room_limit: 'You have too many rooms open at once. Leave some.',
  message_empty: 'There is nothing to send.',
  message_too_long: 'This message is too long. Shorten it.',
  expired: 'This message waited too long. Send it again if it still matters.',
  outbox_full: 'Too many messages wait to be sent. Wait until you are back online.',
  unavailable: 'The server can’t do that right now. Try again in a moment.',
  refused: 'The server can’t store messages right now. Try again in a moment.',
  internal: 'Something went wrong on the server. Try again.',
};

export function explain(error: unknown): string {
  if (error instanceof ApiError && error.code === 'rate_limited') {
    const wait = error.retryAfter === null ? 'a moment' : seconds(error.retryAfter);
    return `That was too often. Try again in ${wait}.`;
  }
  if (error instanceof ApiError || error instanceof ClientError) return WORDS[error.code] ?? error.message;
  return 'Something went wrong. Try again.';
}

/** The same for a code without its error, such as a failed message carries. */
export function explainCode(code: string, detail: string): string {
  return WORDS[code] ?? detail;
}

function seconds(count: number): string {
  const whole = Math.max(1, Math.ceil(count));
  if (whole < 90) return whole === 1 ? '1 second' : `${whole} seconds`;
  return `${Math.ceil(whole / 60)} minutes`;
}

/** Why the client stopped, and whether logging in helps. */
export function explainStop(reason: StopReason): { text: string; action: 'log_in' | 'reload' } {
  switch (reason) {
    case 'session_expired':
      return { text: 'Your session has expired. Log in again.', action: 'log_in' };
    case 'sessions_lost':
      return { text: 'The server has lost its sessions. Log in again.', action: 'log_in' };
    case 'account_disabled':
      return { text: 'This account is disabled.', action: 'log_in' };
    case 'password_changed':
      return { text: 'Your password was changed elsewhere. Log in with the new one.', action: 'log_in' };
    case 'logged_out':
      return { text: 'You were logged out.', action: 'log_in' };
    case 'client_too_old':
      return { text: 'The server has been updated. Reload to go on; what you wrote is kept.', action: 'reload' };
    default:
      return {
        text: 'The server has closed the connection. Reload to try again; what you wrote is kept.',
        action: 'reload',
      };
  }
}
