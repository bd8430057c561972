// Accounts: find, filter, disable, enable, make and unmake superusers, end sessions.

import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSettled } from '../ui/parts/hooks';
import { type Act, useActs } from './acts';
import { NAME_CHARS, PAGE, SEARCH_PAUSE } from './limits';
import { PanelHead, RowMenu, Search, Tag, When } from './parts';
import { type Column, Paged, Table } from './table';
import { type Account, type Accounts, api } from './wire';

const FILTERS = [
  ['all', 'All'],
  ['superusers', 'Superusers'],
  ['disabled', 'Disabled'],
] as const;

const COLUMNS: readonly Column<Account>[] = [
  { key: 'name', head: 'Name', cell: (user) => user.username, value: (user) => user.username.toLowerCase() },
  {
    key: 'state',
    head: 'State',
    cell: (user) => (
      <span className="tags">
        {user.disabled && <Tag kind="bad">Disabled</Tag>}
        {user.superuser && <Tag>Superuser</Tag>}
        {user.online && <Tag kind="good">Online</Tag>}
        {!user.disabled && !user.superuser && !user.online && <span className="soft">Offline</span>}
      </span>
    ),
    value: (user) => (user.disabled ? 0 : user.superuser ? 1 : user.online ? 2 : 3),
  },
  {
    key: 'seen',
    head: 'Last seen',
    cell: (user) => (user.online ? 'now' : user.last_seen === null ? 'never' : <When at={user.last_seen} />),
    value: (user) =>
      user.online ? Number.MAX_SAFE_INTEGER : user.last_seen === null ? null : Date.parse(user.last_seen),
  },
  {
    key: 'created',
    head: 'Registered',
    cell: (user) => <When at={user.created_at} />,
    value: (user) => Date.parse(user.created_at),
  },
];

export function Users({ me }: { readonly me: string }) {
  const [search, setSearch] = useState('');
  const [filter, setFilter] = useState('all');
  const q = useSettled(search.trim(), SEARCH_PAUSE);
  const { start } = useActs();
  const query = useInfiniteQuery({
    queryKey: ['users', q, filter],
    queryFn: ({ pageParam }) => api.adminUsers<Accounts>({ q: q || null, filter, after: pageParam, limit: PAGE }),
    // A row that fits the next search too stays where it is, with the menu that is open at it.
    placeholderData: keepPreviousData,
    initialPageParam: null as string | null,
    getNextPageParam: (page) => (page.has_more ? page.users.at(-1)?.username : undefined),
  });
  const users = query.data?.pages.flatMap((page) => page.users) ?? [];
  return (
    <>
      <PanelHead title="Users">
        <div className="tools">
          <Search label="Name begins with" value={search} onChange={setSearch} most={NAME_CHARS} />
          <label className="pick">
            <span className="visually-hidden">Which accounts</span>
            <select className="input" value={filter} onChange={(event) => setFilter(event.target.value)}>
              {FILTERS.map(([key, label]) => (
                <option key={key} value={key}>
                  {label}
                </option>
              ))}
            </select>
          </label>
        </div>
      </PanelHead>
      <Paged
        query={query}
        rows={users.length}
        empty="No account fits. Try fewer letters or another filter."
        more="More users"
      >
        <Table
          caption="Users"
          columns={COLUMNS}
          rows={users}
          rowKey={(user) => user.id}
          actions={(user) => <Actions user={user} self={user.id === me} start={start} />}
        />
      </Paged>
    </>
  );
}

interface ActionsProps {
  readonly user: Account;
  readonly self: boolean;
  readonly start: (act: Act) => void;
}

function Actions({ user, self, start }: ActionsProps) {
  // Nobody shuts themselves out: the server refuses it, so it isn't offered.
  if (self) return <span className="soft">This is you</span>;
  const acts = [
    user.disabled ? enable(user) : disable(user),
    user.superuser ? demote(user) : promote(user),
    endSessions(user),
  ];
  return (
    <RowMenu
      name={user.username}
      acts={acts.map((act) => ({
        label: act.label,
        harm: act.confirm?.harm ?? false,
        onAction: () => start(act),
      }))}
    />
  );
}

const changes = ['users'];

function disable(user: Account): Act {
  return {
    label: `Disable ${user.username}`,
    run: () => api.adminChangeUser(user.id, { disabled: true }),
    done: `${user.username} is disabled.`,
    confirm: {
      harm: true,
      consequence:
        'They are logged out everywhere at once and can’t log in again. Their messages stay. You can enable the account later.',
    },
    undo: () => enable(user),
    changes,
  };
}

function enable(user: Account): Act {
  return {
    label: `Enable ${user.username}`,
    run: () => api.adminChangeUser(user.id, { disabled: false }),
    done: `${user.username} is enabled and can log in again.`,
    undo: () => disable(user),
    changes,
  };
}

function promote(user: Account): Act {
  return {
    label: `Make ${user.username} a superuser`,
    run: () => api.adminChangeUser(user.id, { superuser: true }),
    done: `${user.username} is a superuser.`,
    confirm: {
      harm: false,
      consequence:
        'They may do everything that this page offers, to every account, room and message, private ones included. You can take it back.',
    },
    undo: () => demote(user),
    changes,
  };
}

function demote(user: Account): Act {
  return {
    label: `Take superuser rights from ${user.username}`,
    run: () => api.adminChangeUser(user.id, { superuser: false }),
    done: `${user.username} is no superuser any more.`,
    confirm: {
      harm: true,
      consequence:
        'They lose this page at once. Their account, rooms and messages stay. You can make them a superuser again.',
    },
    undo: () => promote(user),
    changes,
  };
}

function endSessions(user: Account): Act {
  return {
    label: `End all sessions of ${user.username}`,
    run: () => api.adminEndSessions(user.id),
    done: `${user.username} is logged out everywhere.`,
    confirm: {
      harm: true,
      consequence:
        'They are logged out on every device at once, and may log in again with their password. This can’t be undone.',
    },
    changes,
  };
}
