// Where messages are written. Enter sends, Shift+Enter breaks the line, Up in an empty field edits the last message.
// The text is the room's draft from the first key on.

import './composer.css';
import { type KeyboardEvent, useEffect, useId, useLayoutEffect, useRef, useState } from 'react';
import type { ChatMessage, RoomSnapshot } from '../../client';
import { COUNTDOWN_FROM, TYPING_NAMES } from '../logic/limits';
import { complete, type MentionQuery, mentionAt } from '../logic/mention';
import { typingLine } from '../logic/names';
import { lastOwn } from '../logic/rows';
import { messageLength, oneLine } from '../logic/text';
import { useChat, useClient } from '../parts/context';
import { explain, explainCode } from '../parts/explain';
import { usePhone } from '../parts/hooks';
import { Icon } from '../parts/icons';
import { Name } from '../parts/name';
import { grow } from './grow';
import { useMentionNames } from './use-mention-names';

interface ComposerProps {
  readonly room: RoomSnapshot;
  readonly replyTo: ChatMessage | null;
  readonly onReplyTo: (message: ChatMessage | null) => void;
  readonly onSent: () => void;
  readonly onEdit: (id: string) => void;
}

export function Composer({ room, replyTo, onReplyTo, onSent, onEdit }: ComposerProps) {
  const client = useClient();
  const { limits } = useChat();
  const phone = usePhone();
  const roomId = room.summary.id;
  const listId = useId();
  const field = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(() => client.draft(roomId));
  const [mention, setMention] = useState<MentionQuery | null>(null);
  const [active, setActive] = useState(0);
  const [problem, setProblem] = useState<string | null>(null);
  const caret = useRef<number | null>(null);
  const names = useMentionNames(room, mention);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text.
  useLayoutEffect(() => {
    grow(field.current);
    if (caret.current !== null) field.current?.setSelectionRange(caret.current, caret.current);
    caret.current = null;
  }, [text]);
  useEffect(() => {
    if (!phone) field.current?.focus();
  }, [phone]);

  const length = messageLength(text);
  const left = limits.messageChars - length;

  const change = (next: string, at: number) => {
    setText(next);
    client.setDraft(roomId, next);
    if (next.trim() !== '') client.typing(roomId);
    setProblem(null);
    setMention(mentionAt(next, at));
    setActive(0);
  };

  const pick = (name: string) => {
    if (mention === null) return;
    const done = complete(text, mention, name);
    caret.current = done.caret;
    change(done.text, done.caret);
    setMention(null);
    field.current?.focus();
  };

  const send = () => {
    if (text.trim() === '') return;
    try {
      client.send(roomId, text, replyTo === null ? {} : { replyTo: replyTo.id });
    } catch (error) {
      setProblem(explain(error));
      return;
    }
    setText('');
    client.setDraft(roomId, '');
    setMention(null);
    onSent();
  };

  const join = () => {
    client.openRoom(roomId, { create: false }).catch((error: unknown) => setProblem(explain(error)));
  };

  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>) => {
    if (event.nativeEvent.isComposing) return;
    const open = mention !== null && names.length > 0;
    // A name that is written out needs no completing: Enter sends then.
    const written = open && names[active]?.toLowerCase() === mention.query.toLowerCase();
    if (open && (event.key === 'ArrowDown' || event.key === 'ArrowUp') && !event.altKey) {
      setActive((active + (event.key === 'ArrowDown' ? 1 : names.length - 1)) % names.length);
    } else if (open && ((event.key === 'Enter' && !written) || event.key === 'Tab') && !event.shiftKey) {
      pick(names[active] ?? '');
    } else if (open && event.key === 'Escape') {
      setMention(null);
    } else if (event.key === 'Escape' && replyTo !== null) {
      onReplyTo(null);
    } else if (event.key === 'Enter' && !event.shiftKey && !event.altKey) {
      send();
    } else if (event.key === 'ArrowUp' && text === '' && !event.altKey && !event.shiftKey) {
      const last = lastOwn(room.rows);
      if (last === null) return;
      onEdit(last.id);
    } else return;
    event.preventDefault();
  };

  if (room.summary.archived) return <Closed text="This room is read-only." />;
  if (room.status === 'gone' || room.status === 'refused') {
    return (
      <Closed text={closedText(room)} onJoin={GONE[room.problem?.code ?? '']?.back === false ? undefined : join} />
    );
  }
  const open = mention !== null && names.length > 0;
  return (
    <div className="composer">
      {open && (
        <div className="completions popover" id={listId} role="listbox" aria-label="Names">
          {names.map((name, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: keys belong to the field.
            <div
              key={name}
              id={`${listId}-${index}`}
              role="option"
              tabIndex={-1}
              className="finder-option"
              aria-selected={index === active}
              onMouseDown={(event) => event.preventDefault()}
              onPointerMove={() => setActive(index)}
              onClick={() => pick(name)}
            >
              @{name}
            </div>
          ))}
        </div>
      )}
      {replyTo !== null && (
        <div className="composer-reply">
          <Icon name="reply" />
          <Name id={replyTo.authorId} name={replyTo.author} />
          <span className="quote-text" dir="auto">
            {oneLine(replyTo.text)}
          </span>
          <button type="button" className="icon-button" aria-label="Don’t reply" onClick={() => onReplyTo(null)}>
            <Icon name="close" />
          </button>
        </div>
      )}
      <div className="composer-field">
        <textarea
          ref={field}
          id="composer"
          rows={1}
          dir="auto"
          value={text}
          placeholder={`Message ${room.summary.label}`}
          aria-label={`Message ${room.summary.label}`}
          aria-describedby={`${listId}-note`}
          aria-autocomplete="list"
          aria-controls={open ? listId : undefined}
          aria-activedescendant={open ? `${listId}-${active}` : undefined}
          enterKeyHint="send"
          onChange={(event) => change(event.target.value, event.target.selectionStart)}
          onKeyDown={onKeyDown}
          onBlur={() => setMention(null)}
        />
        <button
          type="button"
          className="composer-send"
          aria-label="Send"
          title="Send (Enter)"
          disabled={text.trim() === '' || left < 0}
          onClick={send}
        >
          <Icon name="send" />
        </button>
      </div>
      <div className="composer-foot" id={`${listId}-note`}>
        <span className="typing">{problem === null ? typingLine(room.typing, TYPING_NAMES) : ''}</span>
        {problem !== null && (
          <span className="field-error" role="alert">
            {problem}
          </span>
        )}
        {left < COUNTDOWN_FROM && (
          <span className={left < 0 ? 'field-error' : 'field-hint'}>
            {left < 0 ? `${(-left).toLocaleString()} characters too many` : `${left} characters left`}
          </span>
        )}
      </div>
    </div>
  );
}

interface ClosedProps {
  readonly text: string;
  readonly onJoin?: (() => void) | undefined;
}

/** What stands in the field's place where nothing can be written. */
function Closed({ text, onJoin }: ClosedProps) {
  return (
    <div id="composer" className="composer-closed" role="status">
      <span>{text}</span>
      {onJoin !== undefined && (
        <button type="button" className="link-button" onClick={onJoin}>
          Join again
        </button>
      )}
    </div>
  );
}

const GONE: Readonly<Record<string, { readonly text: string; readonly back: boolean }>> = {
  left: { text: 'You left this room.', back: true },
  unsubscribed: { text: 'You don’t follow this room.', back: true },
  kicked: { text: 'You were removed from this room.', back: false },
  banned: { text: 'You are banned from this room.', back: false },
  deleted: { text: 'This room was deleted.', back: false },
};

function closedText({ problem }: RoomSnapshot): string {
  if (problem === null) return 'You are not in this room.';
  return GONE[problem.code]?.text ?? explainCode(problem.code, problem.detail);
}
