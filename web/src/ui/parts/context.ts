// How React reads the protocol client: snapshots through useSyncExternalStore, nothing copied.

import { createContext, useCallback, useContext, useEffect, useRef, useSyncExternalStore } from 'react';
import type { ChatClient, ClientSnapshot, Notice, RoomSnapshot } from '../../client';
import { getRoute, type Route, subscribeRoute } from '../logic/route';

export const ClientContext = createContext<ChatClient | null>(null);

export function useClient(): ChatClient {
  const client = useContext(ClientContext);
  if (client === null) throw new Error('useClient needs a ClientContext around it.');
  return client;
}

export function useChat(): ClientSnapshot {
  const client = useClient();
  return useSyncExternalStore(
    useCallback((listener: () => void) => client.subscribe(listener), [client]),
    () => client.getSnapshot(),
  );
}

export function useRoom(roomId: string): RoomSnapshot | undefined {
  const client = useClient();
  return useSyncExternalStore(
    useCallback((listener: () => void) => client.subscribeRoom(roomId, listener), [client, roomId]),
    () => client.getRoom(roomId),
  );
}

export function useNotices(listener: (notice: Notice) => void): void {
  const client = useClient();
  const latest = useLatest(listener);
  useEffect(() => client.onNotice((notice) => latest.current(notice)), [client, latest]);
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribeRoute, getRoute);
}

/** A ref that holds the value of the last render: for listeners that outlive it. */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useEffect(() => {
    ref.current = value;
  });
  return ref;
}
