// Everything that the client takes from the world round it, so that tests and other programs can put their own in.

/** The part of `WebSocket` that is used. */
export interface SocketLike {
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

/** `wake`: the page is shown again; `sleep`: it is hidden, and may never run again. */
export type NetworkEvent = 'online' | 'offline' | 'wake' | 'sleep';

export interface Environment {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back after `ms` milliseconds; returns what cancels it. */
  after(ms: number, callback: () => void): () => void;
  /** Calls back soon: notifications are batched up to then. */
  soon(callback: () => void): void;
  /** At least 0, below 1; for jitter only. */
  random(): number;
  /** A fresh nonce: unguessable, 1 to 64 of letters, digits, `_`, `-`. */
  nonce(): string;
  fetch(input: string, init: RequestInit): Promise<Response>;
  openSocket(url: string, protocol: string): SocketLike;
  /** False if the system is sure that there is no network. */
  online(): boolean;
  /** Listens to what the page and its network go through. Returns what ends it. */
  onNetwork(listener: (event: NetworkEvent) => void): () => void;
  /**
   * Waits until this name is ours among all tabs and resolves with what gives it back. Aborting rejects. Without
   * locks it resolves at once.
   */
  lock(name: string, signal: AbortSignal): Promise<() => void>;
}

interface BrowserGlobals {
  readonly addEventListener?: (type: string, listener: () => void) => void;
  readonly removeEventListener?: (type: string, listener: () => void) => void;
  readonly document?: Document;
  readonly navigator?: { readonly onLine?: boolean; readonly locks?: LockManager };
}

/** The environment of a browser, or as much of it as there is (Node has no page and may have no locks). */
export function defaultEnvironment(): Environment {
  const world = globalThis as unknown as BrowserGlobals;
  return {
    now: () => Date.now(),
    after(ms, callback) {
      // A longer time than the system can hold would fire at once.
      const timer = setTimeout(callback, Math.min(ms, 2 ** 31 - 1));
      return () => clearTimeout(timer);
    },
    soon: (callback) => queueMicrotask(callback),
    random: () => Math.random(),
    nonce: () =>
      [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join(''),
    fetch: (input, init) => globalThis.fetch(input, init),
    openSocket: (url, protocol) => new WebSocket(url, protocol) as unknown as SocketLike,
    online: () => world.navigator?.onLine !== false,
    onNetwork: (listener) => listenToNetwork(world, listener),
    lock: (name, signal) => lockIn(world.navigator?.locks, name, signal),
  };
}

function listenToNetwork(world: BrowserGlobals, listener: (event: NetworkEvent) => void): () => void {
  const add = world.addEventListener;
  const remove = world.removeEventListener;
  if (add === undefined || remove === undefined) return () => undefined;
  const online = () => listener('online');
  const offline = () => listener('offline');
  const wake = () => listener(world.document?.visibilityState === 'hidden' ? 'sleep' : 'wake');
  const sleep = () => listener('sleep');
  add.call(world, 'online', online);
  add.call(world, 'offline', offline);
  add.call(world, 'pageshow', wake);
  add.call(world, 'pagehide', sleep);
  world.document?.addEventListener('visibilitychange', wake);
  return () => {
    remove.call(world, 'online', online);
    remove.call(world, 'offline', offline);
    remove.call(world, 'pageshow', wake);
    remove.call(world, 'pagehide', sleep);
    world.document?.removeEventListener('visibilitychange', wake);
  };
}

function lockIn(locks: LockManager | undefined, name: string, signal: AbortSignal): Promise<() => void> {
  if (locks === undefined) return Promise.resolve(() => undefined);
  return new Promise((granted, refused) => {
    locks
      .request(name, { signal }, () => new Promise<void>((release) => granted(release)))
      .catch((error: unknown) => refused(error instanceof Error ? error : new Error(String(error))));
  });
}
