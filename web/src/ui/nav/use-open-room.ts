// From the room in the address to the room that the client holds. A room already known shows at once.

import { useCallback, useEffect, useState } from 'react';
import { ApiError, type Problem } from '../../client';
import { useChat, useClient } from '../parts/context';

export interface OpenRoom {
  readonly roomId: string | null;
  readonly problem: Problem | null;
  readonly retry: () => void;
}

interface Answer {
  readonly room: string;
  readonly roomId: string | null;
  readonly problem: Problem | null;
}

export function useOpenRoom(room: string | null): OpenRoom {
  const client = useClient();
  const { rooms } = useChat();
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [attempt, setAttempt] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt is another run.
  useEffect(() => {
    if (room === null) return;
    let current = true;
    let opened: string | null = null;
    client.openRoom(room, { create: false }).then(
      (roomId) => {
        opened = roomId;
        if (current) setAnswer({ room, roomId, problem: null });
        else client.closeRoom(roomId);
      },
      (error: unknown) => {
        if (current) setAnswer({ room, roomId: null, problem: problemOf(error) });
      },
    );
    return () => {
      current = false;
      if (opened !== null) client.closeRoom(opened);
    };
  }, [client, room, attempt]);

  const retry = useCallback(() => {
    setAnswer(null);
    setAttempt((count) => count + 1);
  }, []);

  if (room === null) return { roomId: null, problem: null, retry };
  if (answer !== null && answer.room === room) return { roomId: answer.roomId, problem: answer.problem, retry };
  const lower = room.toLowerCase();
  const known = rooms.find((entry) => entry.id === lower || entry.name?.toLowerCase() === lower);
  return { roomId: known?.id ?? null, problem: null, retry };
}

function problemOf(error: unknown): Problem {
  if (error instanceof ApiError) return { code: error.code, detail: error.detail };
  return { code: 'internal', detail: 'Something went wrong.' };
}
