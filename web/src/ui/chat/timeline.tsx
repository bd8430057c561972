// The list of messages and everything about its scrolling: where it opens, what it fetches, when it sticks to the
// end. Rows are native blocks in one scroller, as many as the client holds (a window of pages), and never virtual.

import { memo, useCallback, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { ChatMessage, RoomSnapshot } from '../../client';
import { FLASH_TIME, PREFETCH } from '../logic/limits';
import { countAfter, type Item, layout, type NewLine, newestId } from '../logic/rows';
import { dayLabel, exactDay, since } from '../logic/time';
import { useClient, useLatest } from '../parts/context';
import { useToday } from '../parts/hooks';
import { Icon } from '../parts/icons';
import { Keeper } from './keeper';
import { type Acts, MessageRow } from './message';
import { Beginning, MessagesSkeleton } from './timeline-ends';

export interface TimelineHandle {
  jumpToEnd(): void;
  /** Brings a message into view and marks it for a moment. */
  show(id: string): void;
}

interface TimelineProps {
  readonly room: RoomSnapshot;
  readonly me: { readonly id: string; readonly username: string };
  readonly newLine: NewLine | null;
  readonly editing: string | null;
  readonly acts: Acts;
  readonly onAtEnd: (atEnd: boolean) => void;
  readonly handle: React.Ref<TimelineHandle>;
}

export function Timeline({ room, me, newLine, editing, acts, onAtEnd, handle }: TimelineProps) {
  const client = useClient();
  const roomId = room.summary.id;
  const now = useToday();
  const scroller = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const keeper = useRef<Keeper>(null);
  const [atEnd, setAtEnd] = useState(true);
  const [leftAt, setLeftAt] = useState<string | null>(null);
  // The row with the focus, or the one last touched.
  const [focused, setFocused] = useState<string | null>(null);
  const [flash, setFlash] = useState<string | null>(null);
  const latest = useLatest({ room, newLine, onAtEnd, atEnd });

  const items = useMemo(() => layout(room.rows, newLine, me.id), [room.rows, newLine, me.id]);
  const byId = useMemo(() => {
    const map = new Map<string, ChatMessage>();
    for (const row of room.rows) if (row.kind === 'message') map.set(row.message.id, row.message);
    return map;
  }, [room.rows]);

  const fetchNear = useCallback(() => {
    const view = scroller.current;
    const { room: current } = latest.current;
    if (view === null) return;
    if (current.hasOlder && !current.loadingOlder && current.historyProblem === null && view.scrollTop < PREFETCH) {
      client.loadOlder(roomId).catch(() => undefined);
    }
    const box = view.getBoundingClientRect();
    for (const row of current.rows) {
      if (row.kind !== 'gap' || row.gap.loading || current.historyProblem !== null) continue;
      const place = list.current?.querySelector(`[data-gap="${CSS.escape(row.key)}"]`)?.getBoundingClientRect();
      if (place === undefined || place.bottom < box.top - PREFETCH || place.top > box.bottom + PREFETCH) continue;
      const side = place.top < box.top + box.height / 2 ? 'up' : 'down';
      client.loadGap(roomId, row.gap, side).catch(() => undefined);
    }
  }, [client, roomId, latest]);

  const onScroll = useCallback(() => {
    const keep = keeper.current;
    if (keep === null) return;
    const end = keep.settle();
    const was = latest.current;
    if (end !== was.atEnd) {
      if (!end) setLeftAt(newestId(was.room.rows));
      setAtEnd(end);
      was.onAtEnd(end);
    }
    const first = keep.firstVisible();
    client.setAnchor(roomId, end ? null : (byKey(was.room, first) ?? null));
    fetchNear();
  }, [client, roomId, latest, fetchNear]);

  // Opens on the line before what is new if not all of it fits, else at the end. Once, before the first paint.
  const placed = useRef(false);
  useLayoutEffect(() => {
    const view = scroller.current;
    const keep = keeper.current;
    if (placed.current || view === null || keep === null) return;
    placed.current = true;
    keep.jumpToEnd();
    const line = list.current?.querySelector('[data-new]');
    if (line === null || line === undefined) return;
    const above = line.getBoundingClientRect().top - view.getBoundingClientRect().top;
    if (above >= 0) return;
    view.scrollTop += above - 40;
    setLeftAt(latest.current.newLine?.after ?? null);
    const end = keep.settle();
    setAtEnd(end);
    latest.current.onAtEnd(end);
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: new rows are what may need more rows.
  useEffect(fetchNear, [fetchNear, room.rows, room.hasOlder, room.loadingOlder]);

  const show = useCallback(
    (id: string) => {
      const row = list.current?.querySelector(`[data-id="${CSS.escape(id)}"]`);
      if (row === null || row === undefined) return;
      row.scrollIntoView({ block: 'center' });
      onScroll();
      setFlash(id);
      setTimeout(() => setFlash((current) => (current === id ? null : current)), FLASH_TIME);
    },
    [onScroll],
  );

  const jumpToEnd = useCallback(() => {
    keeper.current?.jumpToEnd();
    setAtEnd(true);
    latest.current.onAtEnd(true);
    client.setAnchor(roomId, null);
  }, [client, roomId, latest]);

  useImperativeHandle(handle, () => ({ jumpToEnd, show }), [jumpToEnd, show]);

  const onKeyDown = (event: React.KeyboardEvent) => {
    if (event.altKey || (event.key !== 'ArrowUp' && event.key !== 'ArrowDown')) return;
    if (event.target instanceof HTMLTextAreaElement) return;
    const rows = Array.from(list.current?.querySelectorAll<HTMLElement>('[data-anchor]') ?? []);
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const next = rows[at + (event.key === 'ArrowDown' ? 1 : -1)];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: 'nearest' });
    onScroll();
  };

  const lastKey = items.findLast((item) => item.kind === 'message' || item.kind === 'pending')?.key;
  const tabStop = items.some((item) => item.key === focused) ? focused : lastKey;
  const waiting = atEnd ? 0 : countAfter(room.rows, leftAt);

  return (
    <div className="timeline">
      {/* biome-ignore lint/a11y/noStaticElementInteractions: the arrows move between the rows inside. */}
      <div
        className="timeline-scroller"
        ref={scroller}
        onScroll={onScroll}
        onKeyDown={onKeyDown}
        onBlur={(event) => !event.currentTarget.contains(event.relatedTarget) && setFocused(null)}
      >
        <Keeper ref={keeper} list={list}>
          <ol className="timeline-list" ref={list} aria-label={`Messages in ${room.summary.label}`}>
            <li className="timeline-top">
              {room.hasOlder ? (
                <MessagesSkeleton
                  problem={room.historyProblem}
                  onRetry={() => void client.loadOlder(roomId).catch(() => undefined)}
                />
              ) : (
                room.status !== 'gone' && <Beginning room={room.summary} empty={room.rows.length === 0} />
              )}
            </li>
            {items.map((item) => (
              <ItemRow
                key={item.key}
                item={item}
                now={now}
                me={me}
                focused={item.key === focused}
                tabStop={item.key === tabStop}
                editing={item.kind === 'message' && item.message.id === editing}
                flash={item.kind === 'message' && item.message.id === flash}
                replied={repliedTo(item, byId)}
                canModerate={room.summary.role === 'owner' || room.summary.role === 'moderator'}
                readOnly={room.summary.archived}
                acts={acts}
                onFocus={setFocused}
              />
            ))}
          </ol>
        </Keeper>
      </div>
      {!atEnd && (
        <button type="button" className="jump popover" onClick={jumpToEnd}>
          <Icon name="down" />
          Jump to latest
          {waiting > 0 && (
            <span className="badge loud">
              {waiting > 99 ? '99+' : waiting}
              <span className="visually-hidden"> new</span>
            </span>
          )}
        </button>
      )}
    </div>
  );
}

interface ItemRowProps {
  readonly item: Item;
  readonly now: number;
  readonly me: { readonly id: string; readonly username: string };
  readonly focused: boolean;
  readonly tabStop: boolean;
  readonly editing: boolean;
  readonly flash: boolean;
  readonly replied: ChatMessage | null | undefined;
  readonly canModerate: boolean;
  readonly readOnly: boolean;
  readonly acts: Acts;
  readonly onFocus: (key: string) => void;
}

const ItemRow = memo(
  function ItemRow(props: ItemRowProps) {
    const { item, now } = props;
    if (item.kind === 'day') {
      return (
        <li className="day-line" title={exactDay(item.at)}>
          <span>{dayLabel(item.at, now)}</span>
        </li>
      );
    }
    if (item.kind === 'new') {
      return (
        <li className="new-line" data-new="">
          <span>New since {since(item.at, now)}</span>
        </li>
      );
    }
    if (item.kind === 'gap') {
      return (
        <li className="timeline-gap" data-gap={item.key}>
          <MessagesSkeleton problem={null} onRetry={() => undefined} />
        </li>
      );
    }
    return <MessageRow {...props} item={item} />;
  },
  (a, b) =>
    sameItem(a.item, b.item) &&
    Object.keys(a).every((key) => key === 'item' || a[key as keyof ItemRowProps] === b[key as keyof ItemRowProps]),
);

/** Items are made anew with every change of the rows; what they hold mostly is not. */
function sameItem(a: Item, b: Item): boolean {
  if (a.kind !== b.kind || a.key !== b.key) return false;
  if (a.kind === 'message' && b.kind === 'message') return a.message === b.message && a.head === b.head;
  if (a.kind === 'pending' && b.kind === 'pending') return a.pending === b.pending && a.head === b.head;
  if (a.kind === 'gap' && b.kind === 'gap') return a.gap === b.gap;
  return (a.kind === 'day' || a.kind === 'new') && (b.kind === 'day' || b.kind === 'new') && a.at === b.at;
}

/** null: it answers a message that is not held; undefined: it answers none. */
function repliedTo(item: Item, byId: ReadonlyMap<string, ChatMessage>): ChatMessage | null | undefined {
  const id = item.kind === 'message' ? item.message.replyTo : item.kind === 'pending' ? item.pending.replyTo : null;
  return id === null ? undefined : (byId.get(id) ?? null);
}

/** The id of the message that a row's anchor names, if it has one yet. */
function byKey(room: RoomSnapshot, anchor: string | null): string | null {
  if (anchor === null) return null;
  const row = room.rows.find((entry) => entry.key === anchor);
  return row?.kind === 'message' ? row.message.id : null;
}
