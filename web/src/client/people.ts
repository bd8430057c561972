// Who is in a room now and who types: short-lived, bounded, never stored.

import type { Environment } from './env';
import { PRESENT_NAMES, TYPING_NAMES, TYPING_SHOWN_MS } from './limits';
import type { PresenceFrame } from './wire';

export class People {
  readonly #env: Environment;
  readonly #changed: () => void;
  readonly #typing = new Map<string, { readonly name: string; readonly until: number }>();
  #present = new Set<string>();
  #count = 0;
  #cancel: (() => void) | null = null;

  constructor(env: Environment, changed: () => void) {
    this.#env = env;
    this.#changed = changed;
  }

  get count(): number {
    return this.#count;
  }

  present(): readonly string[] {
    return [...this.#present].sort((a, b) => a.localeCompare(b));
  }

  typing(): readonly string[] {
    return [...this.#typing.values()].map((one) => one.name);
  }

  joined(count: number, names: readonly string[]): void {
    this.#count = count;
    this.#present = new Set(names.slice(0, PRESENT_NAMES));
  }

  presence(frame: PresenceFrame): void {
    if (typeof frame.count === 'number') this.#count = frame.count;
    for (const name of frame.left ?? []) this.#present.delete(name);
    for (const name of frame.joined ?? []) if (this.#present.size < PRESENT_NAMES) this.#present.add(name);
    this.#changed();
  }

  types(userId: string, name: string): void {
    if (!this.#typing.has(userId) && this.#typing.size >= TYPING_NAMES) return;
    this.#typing.set(userId, { name, until: this.#env.now() + TYPING_SHOWN_MS });
    this.#watch();
    this.#changed();
  }

  /** A message of somebody ends their typing. */
  wrote(userId: string): void {
    if (this.#typing.delete(userId)) this.#changed();
  }

  clear(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#typing.clear();
    this.#present.clear();
    this.#count = 0;
  }

  #watch(): void {
    this.#cancel?.();
    this.#cancel = null;
    const first = Math.min(...[...this.#typing.values()].map((one) => one.until));
    if (!Number.isFinite(first)) return;
    this.#cancel = this.#env.after(Math.max(0, first - this.#env.now()), () => {
      for (const [id, one] of this.#typing) if (one.until <= this.#env.now()) this.#typing.delete(id);
      this.#changed();
      this.#watch();
    });
  }
}
