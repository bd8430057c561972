// What tests put in place of the browser: a clock that they move, seeded randomness, and sockets and HTTP that end in
// a small model of a server (server.ts).

import { setMaxListeners } from 'node:events';
import type { Environment, NetworkEvent, SocketLike } from '../env';

/** Mulberry32: small, seeded, good enough to choose with. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(list.length)];
  }

  hex(digits: number): string {
    return Array.from({ length: digits }, () => this.below(16).toString(16)).join('');
  }
}

/** Timers run only when the test moves the clock, in the order of their times. */
export class Clock {
  #now = Date.UTC(2026, 10, 23, 12);
  #next = 0;
  readonly #timers = new Map<number, { readonly at: number; readonly callback: () => void }>();

  now = (): number => this.#now;

  /** A millisecond passes and nothing falls due: two changes of one message are never made at the same time. */
  tick(): void {
    this.#now += 1;
  }

  after = (ms: number, callback: () => void): (() => void) => {
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + Math.max(0, ms), callback });
    return () => void this.#timers.delete(id);
  };

  /** Moves time, running what falls due; lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers]
        .filter(([, one]) => one.at <= end)
        .sort(([a, one], [b, two]) => one.at - two.at || a - b)[0];
      if (due === undefined) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].callback();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets everything that waits only for promises run. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** One end of a connection; frames wait in queues until the test lets them through. */
export class FakeSocket implements SocketLike {
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly url: string;
  readonly toServer: string[] = [];
  readonly toClient: string[] = [];
  closed = false;
  /** The client has let go of it. */
  closedByClient = false;
  /** What the server knows about this connection. */
  joined = new Set<string>();
  userId = '';

  constructor(url: string) {
    this.url = url;
  }

  send(data: string): void {
    if (!this.closed) this.toServer.push(data);
  }

  close(): void {
    this.closed = true;
    this.closedByClient = true;
  }

  /** The client gets one frame. */
  deliver(): boolean {
    const data = this.toClient.shift();
    if (data === undefined || this.closedByClient) return false;
    this.onmessage?.({ data });
    return true;
  }

  /** The connection ends; what is in the queues is lost. */
  cut(code = 1006, reason = ''): void {
    if (this.closed) return;
    this.closed = true;
    this.toServer.length = 0;
    this.toClient.length = 0;
    this.onclose?.({ code, reason });
  }
}

/** A lock manager shared by the tabs of a test. */
export class Locks {
  readonly #queues = new Map<string, (() => void)[]>();

  lock = (name: string, signal: AbortSignal): Promise<() => void> =>
    new Promise((granted, refused) => {
      const queue = this.#queues.get(name) ?? [];
      this.#queues.set(name, queue);
      setMaxListeners(0, signal);
      const abort = () => {
        refused(new Error('aborted'));
        release();
      };
      const release = () => {
        signal.removeEventListener('abort', abort);
        const at = queue.indexOf(mine);
        if (at < 0) return;
        queue.splice(at, 1);
        if (at === 0) queue[0]?.();
      };
      const mine = () => granted(release);
      signal.addEventListener('abort', abort);
      queue.push(mine);
      if (queue.length === 1) mine();
    });
}

export interface World {
  readonly env: Environment;
  /** Sends a network event to the client. */
  network(event: NetworkEvent): void;
  online: boolean;
}

export interface WorldParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly locks?: Locks;
  openSocket(url: string): SocketLike;
  fetch(input: string, init: RequestInit): Promise<Response>;
}

export function makeWorld({ clock, random, locks, openSocket, fetch }: WorldParts): World {
  const listeners = new Set<(event: NetworkEvent) => void>();
  const world: World = {
    online: true,
    network(event) {
      if (event === 'online' || event === 'offline') world.online = event === 'online';
      for (const listener of [...listeners]) listener(event);
    },
    env: {
      now: clock.now,
      after: clock.after,
      soon: (callback) => queueMicrotask(callback),
      random: () => random.next(),
      nonce: () => random.hex(32),
      fetch,
      openSocket,
      online: () => world.online,
      onNetwork(listener) {
        listeners.add(listener);
        return () => void listeners.delete(listener);
      },
      lock: locks?.lock ?? (() => Promise.resolve(() => undefined)),
    },
  };
  return world;
}
