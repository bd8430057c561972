// Addresses of the client: `/` and `/chat/{room}`. What lies over a room (details on a phone) is in the history's
// state, so that the back gesture closes it first.

export interface Route {
  /** Name or id of the room in the address, or null at `/`. */
  readonly room: string | null;
  readonly panel: 'details' | null;
}

/** The room in a path, or null. */
export function roomOfPath(path: string): string | null {
  const match = /^\/chat\/([^/]+)\/?$/.exec(path);
  if (match?.[1] === undefined) return null;
  try {
    return decodeURIComponent(match[1]);
  } catch {
    return null;
  }
}

export function pathOfRoom(room: string | null): string {
  return room === null ? '/' : `/chat/${encodeURIComponent(room)}`;
}

/** What a room is called in the address: its name, or the id of a direct conversation. */
export function addressOf(room: { readonly id: string; readonly name: string | null }): string {
  return room.name ?? room.id;
}

let current: Route | null = null;
const listeners = new Set<() => void>();

function read(): Route {
  const state = window.history.state as { panel?: unknown } | null;
  return { room: roomOfPath(window.location.pathname), panel: state?.panel === 'details' ? 'details' : null };
}

export function getRoute(): Route {
  current ??= read();
  return current;
}

function changed(): void {
  const next = read();
  if (current?.room === next.room && current.panel === next.panel) return;
  current = next;
  for (const listener of listeners) listener();
}

export function subscribeRoute(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener('popstate', changed);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener('popstate', changed);
  };
}

/** Goes to a room (null: the list). `replace` leaves no step to come back to. */
export function go(room: string | null, options: { replace?: boolean; panel?: 'details' | null } = {}): void {
  const panel = options.panel ?? null;
  const same = getRoute().room === room && getRoute().panel === panel;
  const method = options.replace === true || same ? 'replaceState' : 'pushState';
  window.history[method]({ panel }, '', pathOfRoom(room));
  changed();
}
