// Rooms and people, unread first; the search box above them finds what is not in the list.

import './sidebar.css';
import { type MouseEvent, memo, useCallback, useEffect, useRef, useState } from 'react';
import type { RoomSummary } from '../../client';
import { SIDEBAR_ROOMS } from '../logic/limits';
import { addressOf, go } from '../logic/route';
import { useChat } from '../parts/context';
import { Icon, Presence } from '../parts/icons';
import { FinderField, FinderList, useFinder } from './finder';
import { modKey } from './keys';
import type { Overlay } from './shell';

interface SidebarProps {
  /** In the order to show. */
  readonly rooms: readonly RoomSummary[];
  readonly currentId: string | null;
  readonly onOverlay: (overlay: Overlay) => void;
}

export function Sidebar({ rooms, currentId, onOverlay }: SidebarProps) {
  const { me, roomsLoaded } = useChat();
  const [query, setQuery] = useState('');
  const done = useCallback(() => setQuery(''), []);
  const finder = useFinder(query, done);
  const named = rooms.filter((room) => room.kind !== 'direct');
  const direct = rooms.filter((room) => room.kind === 'direct');
  const list = useRef<HTMLDivElement>(null);

  // The open room is always to be seen in the list, also after Alt and an arrow.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the change of the open room is what this waits for.
  useEffect(() => {
    list.current?.querySelector('[aria-current="page"]')?.scrollIntoView({ block: 'nearest' });
  }, [currentId]);

  return (
    <nav className="sidebar" aria-label="Rooms and people">
      <div className="sidebar-search">
        <Icon name="search" />
        <FinderField finder={finder} query={query} onQuery={setQuery} placeholder="Rooms and people" />
        {query === '' && <kbd>{modKey} K</kbd>}
      </div>
      {query.trim() !== '' ? (
        <FinderList finder={finder} />
      ) : (
        <div className="sidebar-list" ref={list}>
          <div className="sidebar-head">
            <h2>Rooms</h2>
            <button
              type="button"
              className="icon-button"
              aria-label="Make a room"
              title="Make a room"
              onClick={() => onOverlay('new-room')}
            >
              <Icon name="plus" />
            </button>
          </div>
          {!roomsLoaded && <ListSkeleton />}
          {roomsLoaded && named.length === 0 && <p className="sidebar-none">You are in no room yet.</p>}
          <RoomList rooms={named} currentId={currentId} all="all rooms" />
          <div className="sidebar-head">
            <h2>People</h2>
            <button
              type="button"
              className="icon-button"
              aria-label="Write to somebody"
              title="Write to somebody"
              onClick={() => onOverlay('switcher')}
            >
              <Icon name="plus" />
            </button>
          </div>
          {roomsLoaded && direct.length === 0 && <p className="sidebar-none">No conversations yet.</p>}
          <RoomList rooms={direct} currentId={currentId} all="everybody" />
        </div>
      )}
      <div className="sidebar-foot">
        <span className="sidebar-me">{me?.username}</span>
        {me?.superuser === true && (
          <a className="sidebar-admin" href="/admin">
            Admin
          </a>
        )}
        <button
          type="button"
          className="icon-button"
          aria-label="Keyboard shortcuts"
          title="Keyboard shortcuts (?)"
          onClick={() => onOverlay('help')}
        >
          <span aria-hidden="true">?</span>
        </button>
        <button
          type="button"
          className="icon-button"
          aria-label="Settings"
          title="Settings"
          onClick={() => onOverlay('settings')}
        >
          <Icon name="settings" />
        </button>
      </div>
    </nav>
  );
}

interface RoomListProps {
  readonly rooms: readonly RoomSummary[];
  readonly currentId: string | null;
  /** What the button that shows the rest calls it. */
  readonly all: string;
}

/** The first so many, and the open one; the rest on demand, so that hundreds of rooms don't hide the people. */
function RoomList({ rooms, currentId, all }: RoomListProps) {
  const [whole, setWhole] = useState(false);
  const tooMany = rooms.length > SIDEBAR_ROOMS + 3;
  const shown = whole || !tooMany ? rooms : rooms.filter((room, at) => at < SIDEBAR_ROOMS || room.id === currentId);
  return (
    <>
      <ul>
        {shown.map((room) => (
          <RoomLink key={room.id} room={room} current={room.id === currentId} />
        ))}
      </ul>
      {tooMany && (
        <button type="button" className="sidebar-more" aria-expanded={whole} onClick={() => setWhole(!whole)}>
          {whole ? 'Show fewer' : `Show ${all} (${rooms.length})`}
        </button>
      )}
    </>
  );
}

const RoomLink = memo(function RoomLink({ room, current }: { readonly room: RoomSummary; readonly current: boolean }) {
  const address = addressOf(room);
  const open = (event: MouseEvent) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(address);
  };
  const unread = room.unread > 0 && !current;
  const loud = room.mentions > 0 || room.kind === 'direct';
  return (
    <li>
      <a
        className={unread ? 'room-link unread' : 'room-link'}
        href={`/chat/${encodeURIComponent(address)}`}
        aria-current={current ? 'page' : undefined}
        onClick={open}
        title={room.label.length > 24 ? room.label : undefined}
      >
        <span className="room-link-mark">
          {room.kind === 'direct' ? (
            <Presence online={room.with?.online ?? false} />
          ) : (
            <Icon name={room.kind === 'private' ? 'lock' : 'hash'} />
          )}
        </span>
        <span className="room-link-label">{room.label}</span>
        {room.hasDraft && !current && <Draft />}
        {unread && <Badge room={room} loud={loud} />}
      </a>
    </li>
  );
});

function Draft() {
  return (
    <span className="room-link-draft" title="You have a draft here">
      <Icon name="edit" />
      <span className="visually-hidden">draft</span>
    </span>
  );
}

function Badge({ room, loud }: { readonly room: RoomSummary; readonly loud: boolean }) {
  const count = room.kind !== 'direct' && room.mentions > 0 ? room.mentions : room.unread;
  const shown = count >= 100 ? '99+' : String(count);
  const what = room.kind !== 'direct' && room.mentions > 0 ? `, ${room.mentions} for you` : '';
  return (
    <span className={loud ? 'badge loud' : 'badge'}>
      <span aria-hidden="true">{room.kind !== 'direct' && room.mentions > 0 ? `@ ${shown}` : shown}</span>
      <span className="visually-hidden">{`${room.unread >= 100 ? '100 or more' : room.unread} unread${what}`}</span>
    </span>
  );
}

export function ListSkeleton() {
  return (
    <div className="list-skeleton" aria-hidden="true">
      {[62, 45, 78, 52, 66].map((width) => (
        <div key={width} className="room-link">
          <span className="skeleton" style={{ width: `${width}%`, height: 12 }} />
        </div>
      ))}
    </div>
  );
}
