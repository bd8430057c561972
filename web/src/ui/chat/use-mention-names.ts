// Whom an @ may mean: who is here and who has written, at once; the server's members of that beginning after them.

import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { RoomSnapshot } from '../../client';
import { COMPLETIONS, SEARCH_PAUSE } from '../logic/limits';
import { completions, type MentionQuery } from '../logic/mention';
import { useChat, useClient } from '../parts/context';
import { useSettled } from '../parts/hooks';

const NONE: readonly string[] = [];

export function useMentionNames(room: RoomSnapshot, mention: MentionQuery | null): readonly string[] {
  const client = useClient();
  const { me } = useChat();
  const roomId = room.summary.id;
  const query = mention?.query ?? null;
  const settled = useSettled(query, SEARCH_PAUSE);
  const found = useQuery({
    queryKey: ['mention', roomId, settled],
    queryFn: () => client.api.members(roomId, { q: settled ?? '', limit: COMPLETIONS }),
    enabled: settled !== null && settled === query,
  });
  return useMemo(() => {
    if (query === null) return NONE;
    const near: string[] = [];
    for (let index = room.rows.length - 1; index >= 0; index -= 1) {
      const row = room.rows[index];
      if (row?.kind === 'message') near.push(row.message.author);
    }
    const known = [...near, ...room.present, ...(found.data?.members ?? []).map((member) => member.username)];
    return completions(
      known.filter((name) => name !== me?.username),
      query,
    );
  }, [query, room.rows, room.present, found.data, me]);
}
