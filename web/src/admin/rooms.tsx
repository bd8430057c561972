// Rooms: find, change the title, archive, open again, delete.

import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { type FormEvent, useId, useState } from 'react';
import { Dialog } from '../ui/parts/dialog';
import { useSettled } from '../ui/parts/hooks';
import { type Act, useActs } from './acts';
import { PAGE, SEARCH_PAUSE, TITLE_CHARS } from './limits';
import { count, plural, roomLabel } from './logic';
import { PanelHead, type RowAct, RowMenu, Search, Tag, When } from './parts';
import { type Column, Paged, Table } from './table';
import { type AdminRoom, type AdminRooms, api } from './wire';

const KINDS = { public: 'Public', private: 'Private', direct: 'Direct' } as const;

const COLUMNS: readonly Column<AdminRoom>[] = [
  { key: 'name', head: 'Name', cell: roomLabel, value: (room) => roomLabel(room).toLowerCase() },
  {
    key: 'title',
    head: 'Title',
    cell: (room) => (room.title === '' ? <span className="soft">none</span> : <bdi>{room.title}</bdi>),
    value: (room) => (room.title === '' ? null : room.title.toLowerCase()),
  },
  {
    key: 'kind',
    head: 'Kind',
    cell: (room) => (
      <span className="tags">
        <Tag>{KINDS[room.kind]}</Tag>
        {room.archived && <Tag kind="bad">Archived</Tag>}
      </span>
    ),
    value: (room) => `${room.kind}${room.archived ? 1 : 0}`,
  },
  {
    key: 'members',
    head: 'Members',
    numeric: true,
    cell: (room) => count(room.members),
    value: (room) => room.members,
  },
  {
    key: 'created',
    head: 'Made',
    cell: (room) => <When at={room.created_at} />,
    value: (room) => Date.parse(room.created_at),
  },
];

export function Rooms() {
  const [search, setSearch] = useState('');
  const [titled, setTitled] = useState<AdminRoom | null>(null);
  const q = useSettled(search.trim(), SEARCH_PAUSE);
  const { start } = useActs();
  const query = useInfiniteQuery({
    queryKey: ['rooms', q],
    queryFn: ({ pageParam }) => api.adminRooms<AdminRooms>({ q: q || null, after: pageParam, limit: PAGE }),
    // A row that fits the next search too stays where it is, with the menu that is open at it.
    placeholderData: keepPreviousData,
    initialPageParam: null as string | null,
    getNextPageParam: (page) => (page.has_more ? page.rooms.at(-1)?.id : undefined),
  });
  const rooms = query.data?.pages.flatMap((page) => page.rooms) ?? [];

  const acts = (room: AdminRoom): RowAct[] => {
    const label = roomLabel(room);
    const go = (act: Act) => ({ label: act.label, harm: act.confirm?.harm ?? false, onAction: () => start(act) });
    return [
      { label: `Messages of ${label}`, onAction: () => showMessages(room) },
      ...(room.kind === 'direct' ? [] : [{ label: `Change the title of ${label}`, onAction: () => setTitled(room) }]),
      go(room.archived ? unarchive(room) : archive(room)),
      go(remove(room)),
    ];
  };

  return (
    <>
      <PanelHead title="Rooms">
        <div className="tools">
          <Search label="Part of a name or title" value={search} onChange={setSearch} most={TITLE_CHARS} />
        </div>
      </PanelHead>
      <Paged query={query} rows={rooms.length} empty="No room fits. Try fewer letters." more="More rooms">
        <Table
          caption="Rooms"
          columns={COLUMNS}
          rows={rooms}
          rowKey={(room) => room.id}
          actions={(room) => <RowMenu name={roomLabel(room)} acts={acts(room)} />}
        />
      </Paged>
      {titled !== null && <TitleDialog room={titled} onClose={() => setTitled(null)} />}
    </>
  );
}

function showMessages(room: AdminRoom): void {
  window.location.hash = `messages/${encodeURIComponent(room.name ?? room.id)}`;
}

function TitleDialog({ room, onClose }: { readonly room: AdminRoom; readonly onClose: () => void }) {
  const { start } = useActs();
  const [title, setTitle] = useState(room.title);
  const id = useId();
  const label = roomLabel(room);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onClose();
    if (title.trim() !== room.title) start(retitle(room, title.trim(), room.title));
  };
  return (
    <Dialog title={`Change the title of ${label}`} onClose={onClose}>
      <form className="dialog-form" onSubmit={submit}>
        <div className="field">
          <label htmlFor={id}>Title</label>
          <input
            id={id}
            className="input"
            value={title}
            maxLength={TITLE_CHARS}
            dir="auto"
            aria-describedby={`${id}-hint`}
            onChange={(event) => setTitle(event.target.value)}
            autoFocus
          />
          <p id={`${id}-hint`} className="field-hint">
            At most {TITLE_CHARS} characters; empty for none. Everybody in the room sees it. The name stays {label}.
          </p>
        </div>
        <div className="dialog-actions">
          <button type="button" className="button" onClick={onClose}>
            Cancel
          </button>
          <button type="submit" className="button primary">
            Change the title
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const changes = ['rooms'];

function retitle(room: AdminRoom, title: string, before: string): Act {
  const label = roomLabel(room);
  return {
    label: before === '' ? `Give ${label} a title` : `Change the title of ${label}`,
    run: () => api.adminChangeRoom(room.id, { title }),
    done: title === '' ? `${label} has no title now.` : `${label} is titled “${title}”.`,
    undo: () => retitle(room, before, title),
    changes,
  };
}

function archive(room: AdminRoom): Act {
  const label = roomLabel(room);
  return {
    label: `Archive ${label}`,
    run: () => api.adminChangeRoom(room.id, { archived: true }),
    done: `${label} is archived: read-only.`,
    confirm: {
      harm: true,
      consequence: `Its ${plural(room.members, 'member', 'members')} can read it, but nobody can write until it is opened again.`,
    },
    undo: () => unarchive(room),
    changes,
  };
}

function unarchive(room: AdminRoom): Act {
  const label = roomLabel(room);
  return {
    label: `Open ${label} again`,
    run: () => api.adminChangeRoom(room.id, { archived: false }),
    done: `${label} is open again.`,
    undo: () => archive(room),
    changes,
  };
}

function remove(room: AdminRoom): Act {
  const label = roomLabel(room);
  return {
    label: `Delete ${label}`,
    run: () => api.adminDeleteRoom(room.id),
    done: `${label} is deleted.`,
    confirm: {
      harm: true,
      consequence: `It disappears for its ${plural(room.members, 'member', 'members')} at once, with all its messages. This can’t be undone: archive it instead to keep it readable.`,
    },
    changes,
  };
}
