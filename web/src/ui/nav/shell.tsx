// The frame of the client: sidebar, conversation, details; what the keyboard does everywhere; what lies on top.

import './shell.css';
import { lazy, Suspense, useEffect, useMemo, useState } from 'react';
import type { RoomSummary } from '../../client';
import { Conversation } from '../chat/conversation';
import { addressOf, go } from '../logic/route';
import { sidebarOrder } from '../logic/sort';
import { useChat, useClient, useRoute } from '../parts/context';
import { usePhone } from '../parts/hooks';
import { read, write } from '../parts/theme';
import { Toasts } from '../parts/toasts';
import { Announcer } from './announcer';
import { NoRoom, RoomProblem } from './empty';
import { useKeys } from './keys';
import { Sidebar } from './sidebar';
import { useOpenRoom } from './use-open-room';

const Switcher = lazy(() => import('./switcher'));
const Help = lazy(() => import('./help'));
const Settings = lazy(() => import('../account/settings'));
const NewRoom = lazy(() => import('./new-room'));
const Details = lazy(() => import('../chat/details'));

export type Overlay = 'switcher' | 'help' | 'settings' | 'new-room' | null;

export function Shell({ onLoggedOut }: { readonly onLoggedOut: () => void }) {
  const client = useClient();
  const chat = useChat();
  const route = useRoute();
  const phone = usePhone();
  const [overlay, setOverlay] = useState<Overlay>(null);
  const opened = useOpenRoom(route.room);
  const roomId = opened.roomId;

  // The open room keeps its place in the list while it is open, unread or not.
  const [openedUnread, setOpenedUnread] = useState<string | null>(null);
  useEffect(() => {
    const summary = roomId === null ? undefined : client.getRoom(roomId)?.summary;
    setOpenedUnread(summary !== undefined && summary.unread > 0 ? summary.id : null);
  }, [client, roomId]);
  // Rooms, then people, as the sidebar shows them: the arrows follow it.
  const ordered = useMemo(() => {
    const all = sidebarOrder(chat.rooms, openedUnread);
    return [...all.filter((room) => room.kind !== 'direct'), ...all.filter((room) => room.kind === 'direct')];
  }, [chat.rooms, openedUnread]);

  useLastRoom(route.room, phone, chat.me?.id ?? null, chat.rooms, chat.roomsLoaded);
  useTitle(chat.rooms.find((room) => room.id === roomId)?.label ?? null, chat.mentionsTotal, chat.unreadTotal);

  useKeys({
    openSwitcher: () => setOverlay('switcher'),
    openHelp: () => setOverlay('help'),
    step: (by, unreadOnly) => step(ordered, roomId, by, unreadOnly),
    blocked: overlay !== null,
  });

  const pane = route.room === null ? 'list' : route.panel === 'details' ? 'details' : 'room';
  const close = () => setOverlay(null);
  return (
    <div className="shell" data-pane={pane}>
      {roomId !== null && opened.problem === null && (
        <a className="skip" href="#composer">
          Skip to the message field
        </a>
      )}
      <Sidebar rooms={ordered} currentId={roomId} onOverlay={setOverlay} />
      <main className="shell-main">
        {roomId !== null && opened.problem === null ? (
          <Conversation key={roomId} roomId={roomId} detailsOpen={route.panel === 'details'} />
        ) : opened.problem !== null && route.room !== null ? (
          <RoomProblem room={route.room} problem={opened.problem} onRetry={opened.retry} />
        ) : (
          <NoRoom
            hasRooms={chat.rooms.length > 0}
            loading={!chat.roomsLoaded || route.room !== null}
            onOverlay={setOverlay}
          />
        )}
      </main>
      {route.panel === 'details' && roomId !== null && opened.problem === null && (
        <Suspense fallback={<aside className="details" aria-label="Details" />}>
          <Details key={roomId} roomId={roomId} />
        </Suspense>
      )}
      <Suspense>
        {overlay === 'switcher' && <Switcher onClose={close} />}
        {overlay === 'help' && <Help onClose={close} />}
        {overlay === 'settings' && <Settings onClose={close} onLoggedOut={onLoggedOut} />}
        {overlay === 'new-room' && <NewRoom onClose={close} />}
      </Suspense>
      <Announcer currentId={roomId} />
      <Toasts />
    </div>
  );
}

function step(rooms: readonly RoomSummary[], currentId: string | null, by: 1 | -1, unreadOnly: boolean): void {
  const count = rooms.length;
  if (count === 0) return;
  const at = rooms.findIndex((room) => room.id === currentId);
  for (let moved = 1; moved <= count; moved += 1) {
    const start = at < 0 && by < 0 ? 0 : at;
    const next = rooms[(((start + by * moved) % count) + count) % count];
    if (next === undefined || (unreadOnly && next.unread === 0)) continue;
    go(addressOf(next));
    return;
  }
}

/** `/` leads to the last room on a wide screen; on a phone it is the list. */
function useLastRoom(
  room: string | null,
  phone: boolean,
  me: string | null,
  rooms: readonly RoomSummary[],
  loaded: boolean,
): void {
  const key = `natter.last.${me}`;
  useEffect(() => {
    if (me === null) return;
    if (room !== null) {
      write(key, room);
      return;
    }
    if (phone || !loaded) return;
    const last = read(key);
    const mine = rooms.filter((entry) => entry.role !== null);
    const known = mine.find((entry) => addressOf(entry) === last) ?? mine[0];
    if (known !== undefined) go(addressOf(known), { replace: true });
  }, [room, phone, me, rooms, loaded, key]);
}

function useTitle(label: string | null, mentions: number, unread: number): void {
  useEffect(() => {
    const count = mentions > 0 ? `(${mentions}) ` : unread > 0 ? '• ' : '';
    document.title = `${count}${label === null ? 'Natter' : `${label} · Natter`}`;
  }, [label, mentions, unread]);
}
