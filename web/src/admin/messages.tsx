// Messages: one by its id, or a room's round a moment; delete.

import { type InfiniteData, useInfiniteQuery } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import type { MessagePage, WireMessage } from '../client/wire';
import { oneLine } from '../ui/logic/text';
import { type Act, useActs } from './acts';
import { MESSAGE_PAGES, PAGE, QUOTE_CHARS } from './limits';
import { isId, momentOf } from './logic';
import { PanelHead, Tag, When } from './parts';
import { Failed, RowsSkeleton } from './table';
import { api, queries } from './wire';

type Asked =
  | { readonly by: 'id'; readonly id: string }
  | { readonly by: 'room'; readonly room: string; at: string | null };

/** Where a page begins: at what was asked for, before the oldest shown, or after the newest. */
type Cursor = { readonly to: 'start' } | { readonly to: 'older' | 'newer'; readonly id: string };

interface Page extends MessagePage {
  readonly cursor: Cursor;
}

async function fetchPage(asked: Asked, cursor: Cursor): Promise<Page> {
  if (asked.by === 'id') return { messages: [await api.adminMessage(asked.id)], has_more: false, cursor };
  const where =
    cursor.to === 'older' ? { before: cursor.id } : cursor.to === 'newer' ? { after: cursor.id } : { at: asked.at };
  return { ...(await api.adminMessages({ room: asked.room, limit: PAGE, ...where })), cursor };
}

export function Messages({ room }: { readonly room: string }) {
  const [asked, setAsked] = useState<Asked | null>(room === '' ? null : { by: 'room', room, at: null });
  // Asking for the same again is asking anew: there may be newer ones.
  const [turn, setTurn] = useState(0);
  const ask = (next: Asked) => {
    setAsked(next);
    setTurn(turn + 1);
  };
  return (
    <>
      <PanelHead title="Messages" />
      <div className="lookups">
        <RoomForm room={room} onAsk={ask} />
        <IdForm onAsk={ask} />
      </div>
      <p className="panel-note">Looking into private rooms and direct conversations is written to the audit log.</p>
      {asked !== null && <Found key={turn} turn={turn} asked={asked} />}
    </>
  );
}

interface FormProps {
  readonly onAsk: (asked: Asked) => void;
}

function RoomForm({ room: first, onAsk }: FormProps & { readonly room: string }) {
  const [room, setRoom] = useState(first);
  const [at, setAt] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onAsk({ by: 'room', room: room.trim(), at: momentOf(at) });
  };
  return (
    <form className="lookup" aria-label="By room and time" onSubmit={submit}>
      <label className="field">
        <span className="field-label">Room, name or id</span>
        <input
          className="input"
          value={room}
          maxLength={40}
          required
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          onChange={(event) => setRoom(event.target.value)}
        />
      </label>
      <label className="field">
        <span className="field-label">Around this time (the newest if empty)</span>
        <input className="input" type="datetime-local" value={at} onChange={(event) => setAt(event.target.value)} />
      </label>
      <button type="submit" className="button primary">
        Show messages
      </button>
    </form>
  );
}

function IdForm({ onAsk }: FormProps) {
  const [id, setId] = useState('');
  const [wrong, setWrong] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const text = id.trim().toLowerCase();
    setWrong(!isId(text));
    if (isId(text)) onAsk({ by: 'id', id: text });
  };
  return (
    <form className="lookup" aria-label="By id" onSubmit={submit}>
      <label className="field">
        <span className="field-label">Message id</span>
        <input
          className="input"
          value={id}
          maxLength={40}
          required
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          aria-invalid={wrong}
          aria-describedby={wrong ? 'message-id-problem' : undefined}
          onChange={(event) => setId(event.target.value)}
        />
      </label>
      {wrong && (
        <p id="message-id-problem" className="field-error" role="alert">
          That is no id. One looks like 01932b6e-4f5a-7c3d-9e8f-0123456789ab.
        </p>
      )}
      <button type="submit" className="button primary">
        Show the message
      </button>
    </form>
  );
}

function Found({ asked, turn }: { readonly asked: Asked; readonly turn: number }) {
  const { start } = useActs();
  const key = ['messages', asked, turn];
  const query = useInfiniteQuery({
    queryKey: key,
    queryFn: ({ pageParam }) => fetchPage(asked, pageParam),
    initialPageParam: { to: 'start' } as Cursor,
    getPreviousPageParam: (page) => olderCursor(asked, page),
    getNextPageParam: (page) => newerCursor(asked, page),
    maxPages: MESSAGE_PAGES,
    // A look into a private room is written down, so nothing is fetched that nobody asked for.
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: 0,
  });
  if (query.isPending) return <RowsSkeleton />;
  const messages = query.data?.pages.flatMap((page) => page.messages) ?? [];
  const blank = (id: string) =>
    queries.setQueryData<InfiniteData<Page, Cursor>>(key, (data) => data && withoutText(data, id));
  return (
    <section className="found" aria-label="Messages found">
      {query.isError && <Failed error={query.error} onRetry={() => void query.refetch()} />}
      {messages.length === 0 && !query.isError && <p className="empty-line">There are no messages here.</p>}
      {query.hasPreviousPage && (
        <button
          type="button"
          className="button more"
          disabled={query.isFetching}
          onClick={() => void query.fetchPreviousPage()}
        >
          Older messages
        </button>
      )}
      <ol className="messages">
        {messages.map((message) => (
          <Message key={message.id} message={message} onDelete={() => start(remove(message, blank))} />
        ))}
      </ol>
      {query.hasNextPage && (
        <button
          type="button"
          className="button more"
          disabled={query.isFetching}
          onClick={() => void query.fetchNextPage()}
        >
          Newer messages
        </button>
      )}
    </section>
  );
}

/** Whether there may be older ones; the first page and one reached forwards don't say, so they are asked for. */
function olderCursor(asked: Asked, page: Page): Cursor | undefined {
  const first = page.messages[0];
  if (asked.by === 'id' || first === undefined) return undefined;
  const known = page.cursor.to === 'older' || (page.cursor.to === 'start' && asked.at === null);
  return known && !page.has_more ? undefined : { to: 'older', id: first.id };
}

function newerCursor(asked: Asked, page: Page): Cursor | undefined {
  const last = page.messages.at(-1);
  if (asked.by === 'id' || last === undefined) return undefined;
  if (page.cursor.to === 'start' && asked.at === null) return undefined;
  return page.cursor.to === 'newer' && !page.has_more ? undefined : { to: 'newer', id: last.id };
}

function withoutText(data: InfiniteData<Page, Cursor>, id: string): InfiniteData<Page, Cursor> {
  const gone = (message: WireMessage) => (message.id === id ? { ...message, message: '', deleted: true } : message);
  return { ...data, pages: data.pages.map((page) => ({ ...page, messages: page.messages.map(gone) })) };
}

function Message({ message, onDelete }: { readonly message: WireMessage; readonly onDelete: () => void }) {
  return (
    <li className="message-row">
      <div className="message-body">
        <div className="message-head">
          <strong>{message.author}</strong>
          <span className="soft">
            in {message.room}, <When at={message.at} />
          </span>
          {message.deleted ? <Tag kind="bad">Deleted</Tag> : message.edited_at != null && <Tag>Edited</Tag>}
        </div>
        {!message.deleted && (
          <p className="message-text" dir="auto">
            {message.message}
          </p>
        )}
        <code className="id">{message.id}</code>
      </div>
      {!message.deleted && (
        <button type="button" className="button harm" onClick={onDelete}>
          Delete {message.author}’s message
        </button>
      )}
    </li>
  );
}

function remove(message: WireMessage, blank: (id: string) => void): Act {
  return {
    label: `Delete ${message.author}’s message`,
    run: async () => {
      await api.adminDeleteMessage(message.id);
      blank(message.id);
    },
    done: `${message.author}’s message is deleted.`,
    confirm: {
      harm: true,
      quote: oneLine(message.message).slice(0, QUOTE_CHARS),
      consequence: 'Its text is removed for everybody, at once. This can’t be undone.',
    },
    changes: [],
  };
}
