// One open room: header, messages, composer. What belongs to this visit lives here: the line before what is new,
// the message being edited, the one being answered.

import './conversation.css';
import './message.css';
import { lazy, Suspense, useCallback, useEffect, useMemo, useRef, useState } from 'react';
import type { ChatMessage, RoomSnapshot } from '../../client';
import { type NewLine, newestId } from '../logic/rows';
import { MARK_READ } from '../nav/keys';
import { useChat, useClient, useRoom } from '../parts/context';
import { explain } from '../parts/explain';
import { useAttention } from '../parts/hooks';
import { toast } from '../parts/toasts';
import { Banner } from './banner';
import { Composer } from './composer';
import { ConversationHead } from './conversation-head';
import type { Acts } from './message';
import { Timeline, type TimelineHandle } from './timeline';
import { MessagesSkeleton } from './timeline-ends';

const ConfirmDelete = lazy(() => import('./confirm-delete'));

interface ConversationProps {
  readonly roomId: string;
  readonly detailsOpen: boolean;
}

export function Conversation({ roomId, detailsOpen }: ConversationProps) {
  const room = useRoom(roomId);
  const ready = useFirstUnread(room);
  return (
    <section className="conversation" aria-label={room?.summary.label}>
      {room !== undefined && <ConversationHead room={room} detailsOpen={detailsOpen} />}
      <Banner degraded={room?.degraded ?? false} />
      {room === undefined || !ready ? (
        <>
          <div className="timeline">
            <div className="timeline-scroller" aria-busy="true">
              <MessagesSkeleton problem={null} onRetry={() => undefined} />
            </div>
          </div>
          <div id="composer" className="composer-space" />
        </>
      ) : (
        <OpenConversation room={room} />
      )}
    </section>
  );
}

/** True once what the room opens on is held: the first page, and where the reader left off. Then it stays true. */
function useFirstUnread(room: RoomSnapshot | undefined): boolean {
  const client = useClient();
  const { roomsLoaded, connection } = useChat();
  const [ready, setReady] = useState(false);
  const now = ready || room === undefined ? null : opening(room, roomsLoaded, connection.phase === 'live');
  // In the render itself: a room that is held shows at once, without a frame of skeleton.
  if (now?.is === 'ready') setReady(true);

  const roomId = room?.summary.id;
  const from = now?.is === 'fetch' ? now.from : null;
  useEffect(() => {
    if (roomId === undefined || from === null) return;
    const done = () => setReady(true);
    client.loadAround(roomId, from).then(done, done);
  }, [client, roomId, from]);
  return ready;
}

type Opening = { readonly is: 'waiting' } | { readonly is: 'fetch'; readonly from: string } | { readonly is: 'ready' };

function opening(room: RoomSnapshot, roomsLoaded: boolean, connected: boolean): Opening {
  if (room.status === 'refused' || room.status === 'gone') return { is: 'ready' };
  // While the replay comes, counts and rows are those of a moment. Without a connection what is held has to do.
  const catchingUp = connected && (room.status === 'joining' || room.status === 'catching_up');
  if (room.loading || !roomsLoaded || catchingUp) return { is: 'waiting' };
  const { readId, unread } = room.summary;
  const first = room.rows.find((row) => row.kind === 'message');
  const before = unread > 0 && readId !== null && room.hasOlder && first !== undefined && first.message.id > readId;
  return before ? { is: 'fetch', from: readId } : { is: 'ready' };
}

function OpenConversation({ room }: { readonly room: RoomSnapshot }) {
  const client = useClient();
  const { me } = useChat();
  const roomId = room.summary.id;
  const attentive = useAttention();
  const [atEnd, setAtEnd] = useState(true);
  const [newLine, setNewLine] = useState<(NewLine & { readonly seen: boolean }) | null>(() =>
    room.summary.unread > 0 && room.summary.readId !== null ? { after: room.summary.readId, seen: false } : null,
  );
  const [editing, setEditing] = useState<string | null>(null);
  const [replyTo, setReplyTo] = useState<ChatMessage | null>(null);
  const [removing, setRemoving] = useState<ChatMessage | null>(null);
  const timeline = useRef<TimelineHandle>(null);
  const newest = newestId(room.rows);

  // Whoever looks at the end has read it.
  useEffect(() => {
    if (!attentive || !atEnd || newest === null || room.summary.role === null) return;
    client.markRead(roomId, newest);
    setNewLine((line) => (line === null || line.seen ? line : { ...line, seen: true }));
  }, [client, roomId, attentive, atEnd, newest, room.summary.role]);

  // What comes while nobody looks gets its own line.
  const { unread, readId } = room.summary;
  useEffect(() => {
    if (attentive || unread === 0 || readId === null) return;
    setNewLine((line) => (line === null || line.seen ? { after: readId, seen: false } : line));
  }, [attentive, unread, readId]);

  useEffect(() => {
    const markRead = () => {
      client.markRead(roomId);
      setNewLine(null);
      timeline.current?.jumpToEnd();
    };
    window.addEventListener(MARK_READ, markRead);
    return () => window.removeEventListener(MARK_READ, markRead);
  }, [client, roomId]);

  const acts = useMemo<Acts>(
    () => ({
      reply: (message) => {
        setReplyTo(message);
        focusComposer();
      },
      edit: (id) => {
        setEditing(id);
        if (id === null) focusComposer();
      },
      save: async (id, text) => {
        await client.edit(roomId, id, text);
        setEditing(null);
        focusComposer();
      },
      remove: setRemoving,
      copy: (text) => {
        navigator.clipboard?.writeText(text).then(
          () => toast('Copied.'),
          () => toast('The browser did not allow copying.'),
        );
      },
      retry: (nonce) => client.retry(nonce),
      discard: (nonce) => client.discard(nonce),
      show: (id) => {
        client.loadAround(roomId, id).then(
          (found) => {
            if (!found) toast('That message is not there any more.');
            // The rows are in the page after the next render.
            else requestAnimationFrame(() => requestAnimationFrame(() => timeline.current?.show(id)));
          },
          (error: unknown) => toast(explain(error)),
        );
      },
    }),
    [client, roomId],
  );

  const sent = useCallback(() => {
    setNewLine(null);
    setReplyTo(null);
    timeline.current?.jumpToEnd();
  }, []);

  if (me === null) return null;
  return (
    <>
      <Timeline
        room={room}
        me={me}
        newLine={newLine}
        editing={editing}
        acts={acts}
        onAtEnd={setAtEnd}
        handle={timeline}
      />
      <Composer room={room} replyTo={replyTo} onReplyTo={setReplyTo} onSent={sent} onEdit={setEditing} />
      <Suspense>
        {removing !== null && (
          <ConfirmDelete
            message={removing}
            onClose={() => setRemoving(null)}
            onConfirm={() => {
              setRemoving(null);
              client.remove(roomId, removing.id).catch((error: unknown) => toast(explain(error)));
            }}
          />
        )}
      </Suspense>
    </>
  );
}

function focusComposer(): void {
  document.getElementById('composer')?.focus();
}
