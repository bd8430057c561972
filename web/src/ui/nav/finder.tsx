// Finding rooms and people: one search, used by the sidebar's box and by the quick switcher. A combo box in the sense
// of WAI-ARIA: the focus stays in the field, the arrows move through the list.

import { useQuery } from '@tanstack/react-query';
import { type KeyboardEvent, type ReactNode, useEffect, useId, useMemo, useState } from 'react';
import { RESULTS, SEARCH_PAUSE } from '../logic/limits';
import { isName, people } from '../logic/names';
import { addressOf, go } from '../logic/route';
import { best } from '../logic/sort';
import { useChat, useClient } from '../parts/context';
import { explain } from '../parts/explain';
import { useSettled } from '../parts/hooks';
import { Icon, Presence } from '../parts/icons';
import { toast } from '../parts/toasts';

export interface Option {
  readonly key: string;
  readonly group: string;
  readonly mark: ReactNode;
  readonly label: string;
  readonly detail: string;
  readonly run: () => void;
}

export interface Finder {
  readonly listId: string;
  readonly options: readonly Option[];
  readonly active: number;
  readonly setActive: (index: number) => void;
  readonly searching: boolean;
  readonly query: string;
  readonly onDone: () => void;
}

export function useFinder(query: string, onDone: () => void): Finder {
  const client = useClient();
  const { rooms, me } = useChat();
  const listId = useId();
  const [active, setActive] = useState(0);
  const wanted = query.trim().replace(/^[#@]/, '');
  const settled = useSettled(wanted, SEARCH_PAUSE);
  const ask = settled !== '' && isName(settled);
  const found = useQuery({ queryKey: ['find-rooms', settled], queryFn: () => client.api.rooms(settled), enabled: ask });
  const users = useQuery({
    queryKey: ['find-users', settled],
    queryFn: () => client.api.findUsers(settled, RESULTS),
    enabled: ask,
  });

  // biome-ignore lint/correctness/useExhaustiveDependencies: another question begins at its first answer.
  useEffect(() => setActive(0), [wanted]);

  const options = useMemo(() => {
    const mine = best(rooms, (room) => [room.label, room.name ?? ''], wanted, wanted === '' ? 200 : RESULTS);
    const withIds = new Set(rooms.map((room) => room.with?.id));
    const open = (address: string) => () => {
      go(address);
      onDone();
    };
    const list: Option[] = mine.map((room) => ({
      key: room.id,
      group: 'Yours',
      mark:
        room.with !== null ? (
          <Presence online={room.with.online} />
        ) : (
          <Icon name={room.kind === 'private' ? 'lock' : 'hash'} />
        ),
      label: room.label,
      detail: room.unread > 0 ? `${room.unread >= 100 ? '99+' : room.unread} unread` : '',
      run: open(addressOf(room)),
    }));
    if (wanted === '') return list;
    const publicRooms = (found.data?.public ?? []).filter((room) => !rooms.some((own) => own.id === room.id));
    for (const room of publicRooms.slice(0, RESULTS)) {
      list.push({
        key: `public-${room.id}`,
        group: 'Rooms to join',
        mark: <Icon name="hash" />,
        label: room.title || room.name || '',
        detail: people(room.members),
        run: () => {
          client.openRoom(room.id).then(
            () => open(room.name ?? room.id)(),
            (error: unknown) => toast(explain(error)),
          );
        },
      });
    }
    const others = (users.data?.users ?? []).filter((user) => user.id !== me?.id && !withIds.has(user.id));
    for (const user of others) {
      list.push({
        key: `user-${user.id}`,
        group: 'People',
        mark: <Icon name="people" />,
        label: user.username,
        detail: 'Write to',
        run: () => {
          client.openDirect(user.id).then(
            (roomId) => open(roomId)(),
            (error: unknown) => toast(explain(error)),
          );
        },
      });
    }
    const lower = wanted.toLowerCase();
    const taken = [...rooms, ...publicRooms].some((room) => room.name?.toLowerCase() === lower);
    if (isName(wanted) && !taken && !found.isFetching && settled === wanted) {
      list.push({
        key: 'make',
        group: 'Something new',
        mark: <Icon name="plus" />,
        label: `Make the room “${wanted}”`,
        detail: 'public',
        run: () => {
          client.createRoom(wanted).then(
            () => open(wanted)(),
            (error: unknown) => toast(explain(error)),
          );
        },
      });
    }
    return list;
  }, [rooms, wanted, settled, found.data, found.isFetching, users.data, me, client, onDone]);

  const last = Math.max(0, options.length - 1);
  return {
    listId,
    options,
    active: Math.min(active, last),
    setActive,
    searching: ask && (found.isFetching || users.isFetching || settled !== wanted),
    query: wanted,
    onDone,
  };
}

interface FieldProps {
  readonly finder: Finder;
  readonly query: string;
  readonly onQuery: (query: string) => void;
  readonly placeholder: string;
  readonly alwaysOpen?: boolean;
}

export function FinderField({ finder, query, onQuery, placeholder, alwaysOpen = false }: FieldProps) {
  const { options, active, setActive, listId } = finder;
  const open = alwaysOpen || query.trim() !== '';
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.nativeEvent.isComposing || event.altKey) return;
    const count = options.length;
    if (event.key === 'ArrowDown' && open && count > 0) setActive((active + 1) % count);
    else if (event.key === 'ArrowUp' && open && count > 0) setActive((active + count - 1) % count);
    else if (event.key === 'Enter' && open) options[active]?.run();
    else if (event.key === 'Escape' && query !== '' && !alwaysOpen) onQuery('');
    else return;
    event.preventDefault();
  };
  return (
    <input
      className="finder-field"
      type="text"
      role="combobox"
      aria-label={placeholder}
      aria-expanded={open}
      aria-controls={open ? listId : undefined}
      aria-autocomplete="list"
      aria-activedescendant={open && options[active] !== undefined ? `${listId}-${active}` : undefined}
      placeholder={placeholder}
      value={query}
      onChange={(event) => onQuery(event.target.value)}
      onKeyDown={onKeyDown}
      autoComplete="off"
      autoCapitalize="none"
      spellCheck={false}
      enterKeyHint="go"
      // biome-ignore lint/a11y/noAutofocus: in the switcher the field is what was asked for.
      autoFocus={alwaysOpen}
    />
  );
}

export function FinderList({ finder }: { readonly finder: Finder }) {
  const { options, active, setActive, listId, searching, query } = finder;
  useEffect(() => {
    document.getElementById(`${listId}-${active}`)?.scrollIntoView({ block: 'nearest' });
  }, [listId, active]);
  return (
    <div className="finder-list" id={listId} role="listbox" aria-label="Results" aria-busy={searching}>
      {options.map((option, index) => (
        <div key={option.key} role="presentation">
          {option.group !== options[index - 1]?.group && query !== '' && (
            <div className="finder-group" role="presentation">
              {option.group}
            </div>
          )}
          {/* biome-ignore lint/a11y/useKeyWithClickEvents: keys belong to the field. */}
          <div
            id={`${listId}-${index}`}
            className="finder-option"
            role="option"
            tabIndex={-1}
            aria-selected={index === active}
            onPointerMove={() => index !== active && setActive(index)}
            onMouseDown={(event) => event.preventDefault()}
            onClick={option.run}
          >
            <span className="room-link-mark">{option.mark}</span>
            <span className="finder-label">{option.label}</span>
            <span className="finder-detail">{option.detail}</span>
          </div>
        </div>
      ))}
      {options.length === 0 && !searching && <p className="finder-none">Nothing found for “{query}”.</p>}
    </div>
  );
}
