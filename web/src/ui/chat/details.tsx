// The panel on the right: what the room is, who is in it, and leaving it.

import './details.css';
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useEffect, useState } from 'react';
import type { Member, RoomSnapshot } from '../../client';
import { MEMBER_PAGE, SEARCH_PAUSE } from '../logic/limits';
import { people } from '../logic/names';
import { addressOf, go } from '../logic/route';
import { useChat, useClient, useRoom } from '../parts/context';
import { explain } from '../parts/explain';
import { usePhone, useSettled } from '../parts/hooks';
import { Icon, Presence } from '../parts/icons';
import { Name } from '../parts/name';
import { toast } from '../parts/toasts';
import { AddMember } from './add-member';
import { ConfirmLeave } from './confirm-leave';

export default function Details({ roomId }: { readonly roomId: string }) {
  const phone = usePhone();
  const room = useRoom(roomId);
  if (room === undefined) return <aside className="details" aria-label="Details" />;
  const { summary } = room;
  const close = () => (phone ? window.history.back() : go(addressOf(summary), { replace: true }));
  return (
    // Escape closes the panel from wherever the focus is in it.
    <aside
      className="details"
      aria-label={`About ${summary.label}`}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || event.defaultPrevented) return;
        event.preventDefault();
        close();
      }}
    >
      <header className="details-head">
        <button type="button" className="icon-button only-phone" aria-label="Back to the messages" onClick={close}>
          <Icon name="back" />
        </button>
        <h2>About {summary.name ?? summary.label}</h2>
        <button type="button" className="icon-button not-phone" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div className="details-body">
        <About room={room} />
        <Members room={room} />
        <Leave room={room} />
      </div>
    </aside>
  );
}

function About({ room }: { readonly room: RoomSnapshot }) {
  const client = useClient();
  const { summary } = room;
  const owner = summary.role === 'owner';
  const [title, setTitle] = useState<string | null>(null);
  const change = useMutation({
    mutationFn: (fields: { title?: string; visibility?: 'public' | 'private' }) =>
      client.api.changeRoom(summary.id, fields),
    onSuccess: () => client.refreshRooms(),
    onError: (error) => toast(explain(error)),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (title !== null) change.mutate({ title: title.trim() }, { onSuccess: () => setTitle(null) });
  };
  return (
    <section className="details-section">
      {title === null ? (
        <p className="details-title" dir="auto">
          {summary.title === '' ? <span className="field-hint">No title</span> : summary.title}
          {owner && (
            <button type="button" className="link-button" onClick={() => setTitle(summary.title)}>
              {summary.title === '' ? 'Add one' : 'Change'}
            </button>
          )}
        </p>
      ) : (
        <form className="details-form" onSubmit={submit}>
          <input
            className="input"
            aria-label="Title"
            value={title}
            maxLength={100}
            dir="auto"
            // biome-ignore lint/a11y/noAutofocus: it stands where the button was that asked for it.
            autoFocus
            onChange={(event) => setTitle(event.target.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Escape') return;
              event.preventDefault();
              setTitle(null);
            }}
          />
          <button type="submit" className="button" disabled={change.isPending}>
            Save
          </button>
        </form>
      )}
      <p className="details-kind">
        <Icon name={summary.kind === 'private' ? 'lock' : 'hash'} />
        <span>
          {summary.kind === 'private' ? 'Private: only members can see it.' : 'Public: everybody here can join.'}
        </span>
      </p>
      {owner && (
        <div>
          <button
            type="button"
            className="button"
            disabled={change.isPending}
            onClick={() => change.mutate({ visibility: summary.kind === 'private' ? 'public' : 'private' })}
          >
            {summary.kind === 'private' ? 'Make it public' : 'Make it private'}
          </button>
        </div>
      )}
    </section>
  );
}

function Members({ room }: { readonly room: RoomSnapshot }) {
  const client = useClient();
  const queries = useQueryClient();
  const { summary, presentCount } = room;
  const [query, setQuery] = useState('');
  const settled = useSettled(query.trim(), SEARCH_PAUSE);
  const pages = useInfiniteQuery({
    queryKey: ['members', summary.id, settled],
    queryFn: ({ pageParam }) =>
      client.api.members(summary.id, {
        limit: MEMBER_PAGE,
        ...(settled === '' ? {} : { q: settled }),
        ...(pageParam === '' ? {} : { after: pageParam }),
      }),
    initialPageParam: '',
    getNextPageParam: (page) => (page.has_more ? page.members.at(-1)?.username : undefined),
  });
  // Who came or went changes the list; it is fetched anew, not more than once a second as the server tells no oftener.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the counts are what this waits for.
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ['members', summary.id] });
  }, [queries, summary.id, presentCount, summary.members]);

  const members = pages.data?.pages.flatMap((page) => page.members) ?? [];
  const here = members.filter((member) => member.present);
  const away = members.filter((member) => !member.present);
  const canAdd =
    summary.role === 'owner' || summary.role === 'moderator' || (summary.kind === 'public' && summary.role !== null);
  return (
    <section className="details-section">
      <div className="details-row">
        <h3>{people(summary.members)}</h3>
        {presentCount > 0 && <span className="field-hint">{presentCount.toLocaleString()} here now</span>}
      </div>
      {canAdd && <AddMember roomId={summary.id} />}
      {(summary.members > 12 || query !== '') && (
        <input
          className="input"
          type="search"
          aria-label="Find a member"
          placeholder="Find a member"
          value={query}
          onChange={(event) => setQuery(event.target.value)}
        />
      )}
      {pages.isPending && <MembersSkeleton count={Math.min(summary.members, 8)} />}
      {pages.isError && (
        <p className="field-error" role="alert">
          {explain(pages.error)}
        </p>
      )}
      <MemberList label="Here" members={here} />
      <MemberList label={here.length > 0 ? 'Not here' : 'Members'} members={away} />
      {pages.hasNextPage && (
        <button
          type="button"
          className="button"
          onClick={() => void pages.fetchNextPage()}
          disabled={pages.isFetchingNextPage}
        >
          Show more
        </button>
      )}
      {pages.isSuccess && members.length === 0 && settled !== '' && (
        <p className="field-hint">Nobody here is called “{settled}”.</p>
      )}
    </section>
  );
}

function MemberList({ label, members }: { readonly label: string; readonly members: readonly Member[] }) {
  const client = useClient();
  const { me } = useChat();
  if (members.length === 0) return null;
  const write = (member: Member) => {
    client.openDirect(member.id).then(
      (roomId) => go(roomId),
      (error: unknown) => toast(explain(error)),
    );
  };
  return (
    <div className="members">
      <h4>{label}</h4>
      <ul aria-label={label}>
        {members.map((member) => (
          <li key={member.id}>
            <Presence online={member.present} />
            {member.id === me?.id ? (
              <span className="member-name">
                <Name id={member.id} name={member.username} /> <span className="field-hint">you</span>
              </span>
            ) : (
              <button
                type="button"
                className="member-name"
                onClick={() => write(member)}
                title={`Write to ${member.username}`}
              >
                <Name id={member.id} name={member.username} />
              </button>
            )}
            {member.role !== 'member' && <span className="field-hint">{member.role}</span>}
          </li>
        ))}
      </ul>
    </div>
  );
}

function MembersSkeleton({ count }: { readonly count: number }) {
  return (
    <ul className="members" aria-hidden="true">
      {Array.from({ length: count }, (_, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: they are all the same.
        <li key={index}>
          <span className="skeleton" style={{ width: `${40 + ((index * 17) % 35)}%`, height: 12 }} />
        </li>
      ))}
    </ul>
  );
}

function Leave({ room }: { readonly room: RoomSnapshot }) {
  const client = useClient();
  const phone = usePhone();
  const { summary } = room;
  const [asking, setAsking] = useState(false);
  if (summary.role === null || summary.kind === 'direct') return null;
  const leave = () => {
    client.leave(summary.id).then(
      () => {
        const next = client.getSnapshot().rooms.find((other) => other.id !== summary.id && other.role !== null);
        go(phone || next === undefined ? null : addressOf(next), { replace: true });
      },
      (error: unknown) => {
        setAsking(false);
        toast(explain(error));
      },
    );
  };
  return (
    <section className="details-section">
      <div>
        <button type="button" className="button" onClick={() => setAsking(true)}>
          Leave {summary.name}
        </button>
      </div>
      {asking && <ConfirmLeave room={summary} onClose={() => setAsking(false)} onConfirm={leave} />}
    </section>
  );
}
