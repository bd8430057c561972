// What the calls for superusers answer, as docs/openapi.json has it, and the one `Api` of this page.

import { QueryCache, QueryClient } from '@tanstack/react-query';
import { Api, ApiError } from '../client';
import type { Me, UserRef } from '../client/wire';

export interface Figures {
  readonly users: number;
  readonly rooms: number;
  readonly messages: number;
  readonly connections: number;
  readonly people: number;
  readonly messages_this_minute: number;
  /** One value for each minute of the last hour, oldest first. */
  readonly curves: {
    readonly messages: readonly number[];
    readonly connections: readonly number[];
    readonly people: readonly number[];
  };
  readonly memory_bytes: number | null;
  readonly cpu_seconds: number | null;
  readonly open_files: number | null;
  readonly started_at: string;
  readonly uptime_seconds: number;
  readonly version: string;
}

export interface Account extends UserRef {
  readonly superuser: boolean;
  readonly disabled: boolean;
  readonly created_at: string;
  readonly last_seen: string | null;
  readonly online: boolean;
}

export interface Accounts {
  readonly users: readonly Account[];
  readonly has_more: boolean;
}

export interface AdminRoom {
  readonly id: string;
  /** Null for a direct conversation. */
  readonly name: string | null;
  readonly title: string;
  readonly kind: 'public' | 'private' | 'direct';
  readonly members: number;
  readonly created_at: string;
  readonly archived: boolean;
  /** The two people of a direct conversation. */
  readonly pair?: readonly UserRef[];
}

export interface AdminRooms {
  readonly rooms: readonly AdminRoom[];
  readonly has_more: boolean;
}

export interface AuditLine {
  readonly id: string;
  readonly at: string;
  readonly actor: string;
  /** Null for the command line. */
  readonly actor_id: string | null;
  readonly action: string;
  readonly target: string;
  readonly detail: string;
}

export interface AuditPage {
  readonly entries: readonly AuditLine[];
  readonly has_more: boolean;
}

export interface Invite {
  readonly code: string;
  readonly by: string;
  readonly by_id: string;
  readonly uses_left: number;
  readonly expires_at: string;
}

/** A session that ended under the page shows itself in the first call that is refused. */
export const queries = new QueryClient({
  queryCache: new QueryCache({
    onError: (error) => {
      if (error instanceof ApiError && error.status === 403) void queries.invalidateQueries({ queryKey: ['session'] });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      refetchOnWindowFocus: false,
      // Only what may be different a moment later is asked again.
      retry: (count, error) =>
        count < 1 && error instanceof ApiError && (error.status === 0 || error.status >= 500) && error.status !== 503,
    },
  },
});

export const api = new Api({ onUnauthorized: () => queries.setQueryData<Me | null>(['session'], null) });

/** Who is logged in; null if nobody is. */
export async function whoAmI(): Promise<Me | null> {
  try {
    return await api.session();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}
