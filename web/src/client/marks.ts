// The two small frames that would otherwise be sent too often: `typing` and `read`.

import type { Environment } from './env';
import { READ_EVERY_MS, TYPING_EVERY_MS } from './limits';
import type { Id } from './types';
import type { ServerFrame } from './wire';

export interface MarkHooks {
  isLive(roomId: string): boolean;
  send(frame: object): boolean;
  ask(frame: object): Promise<ServerFrame>;
  onConfirmed(roomId: string): void;
}

export class Marks {
  readonly #env: Environment;
  readonly #hooks: MarkHooks;
  readonly #typedAt = new Map<string, number>();
  /** Read markers that the server has not confirmed. */
  readonly #unconfirmed = new Map<string, Id>();
  readonly #timers = new Map<string, () => void>();
  readonly #sentAt = new Map<string, number>();

  constructor(env: Environment, hooks: MarkHooks) {
    this.#env = env;
    this.#hooks = hooks;
  }

  typing(roomId: string): void {
    const now = this.#env.now();
    if (now - (this.#typedAt.get(roomId) ?? Number.NEGATIVE_INFINITY) < TYPING_EVERY_MS || !this.#hooks.isLive(roomId))
      return;
    this.#typedAt.set(roomId, now);
    this.#hooks.send({ type: 'typing', room: roomId });
  }

  /** After a message the next key press is news again. */
  wrote(roomId: string): void {
    this.#typedAt.delete(roomId);
  }

  read(roomId: string, id: Id): void {
    this.#unconfirmed.set(roomId, id);
    this.flush(roomId);
  }

  /** Sends what is not confirmed: at once, or when the time between two frames is over. */
  flush(roomId: string): void {
    const id = this.#unconfirmed.get(roomId);
    if (id === undefined || this.#timers.has(roomId) || !this.#hooks.isLive(roomId)) return;
    const wait = (this.#sentAt.get(roomId) ?? Number.NEGATIVE_INFINITY) + READ_EVERY_MS - this.#env.now();
    if (wait > 0) {
      const cancel = this.#env.after(wait, () => {
        this.#timers.delete(roomId);
        this.flush(roomId);
      });
      this.#timers.set(roomId, cancel);
      return;
    }
    this.#sentAt.set(roomId, this.#env.now());
    const confirm = () => {
      if (this.#unconfirmed.get(roomId) === id) this.#unconfirmed.delete(roomId);
      this.#hooks.onConfirmed(roomId);
    };
    this.#hooks
      .ask({ type: 'read', room: roomId, id })
      .then(confirm, (error: { code?: string; retryAfter?: number | null }) => {
        // Lost with the socket: sent again once the room is live. Refused for good: forgotten, nothing depends on it.
        if (error.code === 'network') return;
        if (error.code !== 'rate_limited' && error.code !== 'unavailable' && error.code !== 'refused') return confirm();
        this.#sentAt.set(roomId, this.#env.now() + (error.retryAfter ?? 1) * 1000);
        this.flush(roomId);
      });
  }

  clear(): void {
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#typedAt.clear();
    this.#unconfirmed.clear();
    this.#sentAt.clear();
  }
}
