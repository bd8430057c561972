// Listeners of the client, called in batches: however many frames arrive in one turn, each listener is called once.

type Listener = () => void;

export class Store {
  readonly #soon: (callback: () => void) => void;
  readonly #global = new Set<Listener>();
  readonly #rooms = new Map<string, Set<Listener>>();
  readonly #dirty = new Set<string>();
  #scheduled = false;

  constructor(soon: (callback: () => void) => void) {
    this.#soon = soon;
  }

  subscribe(listener: Listener): () => void {
    this.#global.add(listener);
    return () => void this.#global.delete(listener);
  }

  subscribeRoom(roomId: string, listener: Listener): () => void {
    const listeners = this.#rooms.get(roomId) ?? new Set();
    listeners.add(listener);
    this.#rooms.set(roomId, listeners);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#rooms.get(roomId) === listeners) this.#rooms.delete(roomId);
    };
  }

  /** Something has changed, in one room or (without one) elsewhere. */
  changed(roomId?: string): void {
    if (roomId !== undefined) this.#dirty.add(roomId);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#soon(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const rooms = [...this.#dirty];
    this.#dirty.clear();
    for (const room of rooms) for (const listener of [...(this.#rooms.get(room) ?? [])]) listener();
    for (const listener of [...this.#global]) listener();
  }
}

/** Keeps the old object if the new one has the same fields, so that `===` means "nothing to draw". */
export function keepIfSame<T extends object>(before: T | undefined, now: T): T {
  if (before === undefined) return now;
  const keys = Object.keys(now) as (keyof T)[];
  if (keys.length !== Object.keys(before).length) return now;
  return keys.every((key) => Object.is(before[key], now[key]) || sameList(before[key], now[key])) ? before : now;
}

function sameList(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((item, index) => Object.is(item, b[index]));
}
