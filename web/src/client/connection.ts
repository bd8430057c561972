// One socket, kept alive: opens it, notices when it dies, and decides when and whether to come back. Knows nothing
// of rooms; frames go out and come in as objects.

import type { Environment, NetworkEvent, SocketLike } from './env';
import { ApiError } from './errors';
import {
  BACKOFF_CAP_MS,
  BACKOFF_FIRST_MS,
  DEAD_AFTER_MS,
  DEAD_AFTER_WAKE_MS,
  DELAY_CAP_MS,
  HELLO_TIMEOUT_MS,
  LATER_MS,
  OFFLINE_RETRY_MS,
  PING_AFTER_MS,
  STABLE_MS,
} from './limits';
import type { ConnectionState, StopReason } from './types';
import type { ServerFrame } from './wire';

export interface ConnectionHooks {
  onState(state: ConnectionState): void;
  /** The socket is of use from the call with `hello` on. */
  onFrame(frame: ServerFrame): void;
  /** The socket is gone; whatever was asked on it will not be answered. */
  onLost(): void;
  /** Asks the server who is logged in: resolves, or rejects with an `ApiError`. */
  probeSession(): Promise<unknown>;
}

const STOPS: Readonly<Record<number, StopReason>> = {
  4101: 'sessions_lost',
  4200: 'logged_out',
  4201: 'session_expired',
  4202: 'account_disabled',
  4205: 'client_too_old',
  4206: 'password_changed',
};

export class Connection {
  readonly #env: Environment;
  readonly #url: string;
  readonly #hooks: ConnectionHooks;
  #state: ConnectionState = { phase: 'stopped', reason: 'not_started', detail: '' };
  #socket: SocketLike | null = null;
  #attempt = 0;
  #bye: { readonly reason: string; readonly delay: number; readonly resume: boolean } | null = null;
  #lastFrameAt = 0;
  #askedAt: number | null = null;
  /** The server has named the wait: only the user may cut it short. */
  #mandated = false;
  #cancelTimer: () => void = () => undefined;
  #endNetwork: () => void = () => undefined;

  constructor(env: Environment, url: string, hooks: ConnectionHooks) {
    this.#env = env;
    this.#url = url;
    this.#hooks = hooks;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  start(): void {
    if (this.#state.phase !== 'stopped') return;
    this.#endNetwork();
    this.#endNetwork = this.#env.onNetwork((event) => this.#network(event));
    this.#attempt = 0;
    this.#open();
  }

  stop(reason: StopReason, detail: string): void {
    this.#endNetwork();
    this.#endNetwork = () => undefined;
    this.#abandon(1000);
    this.#enter({ phase: 'stopped', reason, detail });
  }

  /** Tries at once, unless a socket is live or being opened. */
  reconnectNow(): void {
    if (this.#state.phase === 'waiting' || this.#state.phase === 'offline') this.#open();
  }

  /** False if there is no live socket: nothing was sent. */
  send(frame: object): boolean {
    if (this.#state.phase !== 'live' || this.#socket === null) return false;
    try {
      this.#socket.send(JSON.stringify(frame));
      return true;
    } catch {
      return false;
    }
  }

  #enter(state: ConnectionState): void {
    this.#state = state;
    this.#hooks.onState(state);
  }

  #timer(ms: number, callback: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#env.after(ms, callback);
  }

  #open(): void {
    this.#cancelTimer();
    this.#bye = null;
    this.#attempt += 1;
    this.#enter({ phase: 'connecting', attempt: this.#attempt });
    let socket: SocketLike;
    try {
      socket = this.#env.openSocket(this.#url, 'natter.v1');
    } catch (error) {
      this.stop('refused', `The socket could not be opened: ${String(error)}`);
      return;
    }
    this.#socket = socket;
    // Events of a socket that was given up must not touch its successor.
    const current = (action: () => void) => {
      if (this.#socket === socket) action();
    };
    socket.onmessage = (event) => current(() => this.#received(event.data));
    socket.onclose = (event) => current(() => this.#closed(event.code, event.reason));
    this.#timer(HELLO_TIMEOUT_MS, () => this.#dead());
  }

  #received(data: unknown): void {
    this.#lastFrameAt = this.#env.now();
    this.#askedAt = null;
    const frame = decode(data);
    if (frame === null) return;
    if (frame.type === 'hello') {
      this.#enter({ phase: 'live', since: this.#env.now() });
      this.#watch();
    } else if (frame.type === 'bye') {
      const { reason, delay, resume } = frame;
      this.#bye = {
        reason: String(reason ?? ''),
        delay: Math.max(0, Number(delay) || 0) * 1000,
        resume: resume !== false,
      };
    }
    this.#hooks.onFrame(frame);
  }

  /** Asks when it has been silent, and gives the socket up when the question goes unanswered. */
  #watch(): void {
    const now = this.#env.now();
    const due = this.#askedAt === null ? this.#lastFrameAt + PING_AFTER_MS : this.#askedAt + DEAD_AFTER_MS;
    this.#timer(Math.max(0, due - now), () => {
      const later = this.#env.now();
      if (this.#askedAt !== null) {
        if (later - this.#askedAt >= DEAD_AFTER_MS) return this.#dead();
      } else if (later - this.#lastFrameAt >= PING_AFTER_MS) {
        this.#ask(later);
      }
      this.#watch();
    });
  }

  #ask(askedAt: number): void {
    this.#askedAt = askedAt;
    this.send({ type: 'ping' });
  }

  #network(event: NetworkEvent): void {
    const { phase } = this.#state;
    if (event === 'sleep') return;
    if (event === 'offline') {
      if (phase === 'stopped' || phase === 'offline') return;
      this.#abandon(1000);
      this.#rest();
    } else if (phase === 'live') {
      // Asking in the past leaves the short time for an answer that a likely dead socket deserves.
      if (this.#askedAt === null) this.#ask(this.#env.now() - DEAD_AFTER_MS + DEAD_AFTER_WAKE_MS);
      this.#watch();
    } else if (phase !== 'waiting' || !this.#mandated) {
      this.reconnectNow();
    }
  }

  /** Lets go of the socket without waiting for it. */
  #abandon(code: number): void {
    this.#cancelTimer();
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    this.#askedAt = null;
    try {
      socket.close(code);
    } catch {
      // A socket that is still connecting may refuse; it is not listened to any more.
    }
    this.#hooks.onLost();
  }

  #dead(): void {
    this.#settleBackoff();
    this.#abandon(1000);
    this.#wait(this.#backoff());
  }

  #settleBackoff(): void {
    if (this.#state.phase === 'live' && this.#env.now() - this.#state.since >= STABLE_MS) this.#attempt = 0;
  }

  #closed(code: number, reason: string): void {
    const refusedHandshake = this.#state.phase === 'connecting' && code === 1006;
    this.#settleBackoff();
    this.#cancelTimer();
    this.#socket = null;
    this.#askedAt = null;
    this.#hooks.onLost();
    const bye = this.#bye;
    if (code >= 4200 && code < 4300) {
      this.stop(STOPS[code] ?? 'refused', reason || (bye?.reason ?? ''));
      return;
    }
    if (bye !== null && !bye.resume) {
      this.stop(reasonOf(bye.reason), reason || bye.reason);
      return;
    }
    if (code === 4101) {
      this.#probe(bye?.delay ?? this.#backoff());
      return;
    }
    if (refusedHandshake) {
      this.#probe(this.#backoff());
      return;
    }
    const shortest = code >= 4100 && code < 4200 ? LATER_MS : 0;
    this.#wait(bye?.delay ?? Math.max(shortest, this.#backoff()), bye !== null || shortest > 0);
  }

  /** A page can't read why a handshake was refused; whether we are still logged in tells what to do. */
  #probe(wait: number): void {
    this.#wait(wait);
    const waiting = this.#state;
    const still = () => this.#state === waiting;
    this.#hooks.probeSession().then(undefined, (error: unknown) => {
      if (!still() || !(error instanceof ApiError)) return;
      if (error.status === 401) this.stop('logged_out', error.detail);
      else if (error.retryAfter !== null) this.#wait(Math.max(wait, error.retryAfter * 1000), true);
    });
  }

  /** Full jitter: anything from nothing to the step, so that a crowd cut off at once does not return at once. */
  #backoff(): number {
    const step = Math.min(BACKOFF_CAP_MS, BACKOFF_FIRST_MS * 2 ** Math.min(this.#attempt, 10));
    return this.#env.random() * step;
  }

  #wait(ms: number, mandated = false): void {
    this.#mandated = mandated;
    if (!this.#env.online()) {
      this.#rest();
      return;
    }
    const wait = Math.min(ms, DELAY_CAP_MS);
    this.#enter({ phase: 'waiting', retryAt: this.#env.now() + wait, attempt: this.#attempt });
    this.#timer(wait, () => this.#open());
  }

  #rest(): void {
    this.#enter({ phase: 'offline' });
    this.#timer(OFFLINE_RETRY_MS, () => this.#open());
  }
}

function decode(data: unknown): ServerFrame | null {
  if (typeof data !== 'string') return null;
  try {
    const frame: unknown = JSON.parse(data);
    const typed = typeof frame === 'object' && frame !== null && typeof (frame as { type?: unknown }).type === 'string';
    return typed ? (frame as ServerFrame) : null;
  } catch {
    return null;
  }
}

function reasonOf(reason: string): StopReason {
  const known = Object.values(STOPS).find((one) => one === reason);
  return known ?? 'refused';
}
