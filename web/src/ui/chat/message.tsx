// One message, sent or on its way. Both are drawn by the same component under the same key, so that a message that
// is acknowledged changes its colour and nothing else.

import { memo, type PointerEvent, useState } from 'react';
import type { ChatMessage } from '../../client';
import { SPOKEN_CHARS } from '../logic/limits';
import type { Item } from '../logic/rows';
import { oneLine } from '../logic/text';
import { clock, exact } from '../logic/time';
import { explainCode } from '../parts/explain';
import { Icon, type IconName } from '../parts/icons';
import { Name } from '../parts/name';
import { EditBox } from './edit-box';
import { MessageText } from './message-text';

/** What can be done with a message. One object for all rows, the same for as long as the room is open. */
export interface Acts {
  readonly reply: (message: ChatMessage) => void;
  readonly edit: (id: string | null) => void;
  readonly save: (id: string, text: string) => Promise<void>;
  readonly remove: (message: ChatMessage) => void;
  readonly copy: (text: string) => void;
  readonly retry: (nonce: string) => void;
  readonly discard: (nonce: string) => void;
  readonly show: (id: string) => void;
}

interface MessageRowProps {
  readonly item: Extract<Item, { kind: 'message' | 'pending' }>;
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

export function MessageRow(props: MessageRowProps) {
  const { item, me, focused, tabStop, editing, flash, replied, acts, onFocus } = props;
  // Known to this row alone, so that a mouse that moves over a thousand rows draws two of them.
  const [hovered, setHovered] = useState(false);
  const active = hovered || focused;
  const message = item.kind === 'message' ? item.message : null;
  const pending = item.kind === 'pending' ? item.pending : null;
  const at = message?.at ?? pending?.at ?? 0;
  const replyId = message?.replyTo ?? pending?.replyTo ?? null;
  const failed = pending?.status === 'failed';
  const classes = ['message'];
  if (item.head) classes.push('head');
  if (pending !== null && !failed) classes.push('pending');
  if (message?.mentionsMe === true && !message.deleted) classes.push('for-me');
  if (active) classes.push('active');
  if (flash) classes.push('flash');

  const touch = (event: PointerEvent<HTMLElement>) => {
    const selecting = (window.getSelection()?.toString() ?? '') !== '';
    if (event.pointerType === 'touch' && !selecting && !(event.target as Element).closest('a, button, textarea'))
      onFocus(item.key);
  };

  return (
    <li
      className={classes.join(' ')}
      data-anchor={item.key}
      data-id={message?.id}
      // Rows take the focus, so that what can be done with them is reached by keyboard.
      tabIndex={tabStop ? 0 : -1}
      onPointerEnter={(event) => event.pointerType === 'mouse' && setHovered(true)}
      onPointerLeave={() => setHovered(false)}
      onPointerUp={touch}
      onFocus={() => onFocus(item.key)}
      aria-label={spoken(message?.author ?? me.username, at, message, pending?.text)}
    >
      {replyId !== null && message?.deleted !== true && <Quote id={replyId} replied={replied} onShow={acts.show} />}
      {item.head && (
        <div className="message-head">
          <Name id={message?.authorId ?? me.id} name={message?.author ?? me.username} />
          <time dateTime={new Date(at).toISOString()} title={exact(at)}>
            {clock(at)}
          </time>
        </div>
      )}
      {message?.deleted === true ? (
        <p className="message-gone">This message was deleted.</p>
      ) : editing && message !== null ? (
        <EditBox text={message.text} onSave={(text) => acts.save(message.id, text)} onCancel={() => acts.edit(null)} />
      ) : (
        <MessageText
          text={message?.text ?? pending?.text ?? ''}
          mentions={pending !== null || (message?.mentions.length ?? 0) > 0}
          myName={me.username}
          editedAt={message?.editedAt ?? null}
        />
      )}
      {failed && pending !== null && (
        <p className="message-failed" role="alert">
          Not sent.{' '}
          <button type="button" className="link-button" onClick={() => acts.retry(pending.nonce)}>
            Try again
          </button>
          <button type="button" className="link-button" onClick={() => acts.discard(pending.nonce)}>
            Discard
          </button>
          {pending.problem !== null && <span>{explainCode(pending.problem.code, pending.problem.detail)}</span>}
        </p>
      )}
      {active && message !== null && !message.deleted && !editing && <Tools {...props} message={message} />}
    </li>
  );
}

/** What is read out when the row takes the focus. */
function spoken(author: string, at: number, message: ChatMessage | null, text: string | undefined): string {
  const said = message?.deleted === true ? 'deleted' : oneLine(message?.text ?? text ?? '', SPOKEN_CHARS);
  return `${author}, ${clock(at)}: ${said}`;
}

function Tools({
  message,
  item,
  focused,
  canModerate,
  readOnly,
  acts,
}: MessageRowProps & { readonly message: ChatMessage }) {
  return (
    <div className="message-tools" role="toolbar" aria-label="Message actions">
      {!item.head && (
        <time dateTime={new Date(message.at).toISOString()} title={exact(message.at)}>
          {clock(message.at)}
        </time>
      )}
      {!readOnly && <Tool tab={focused} name="Reply" icon="reply" onPress={() => acts.reply(message)} />}
      <Tool tab={focused} name="Copy text" icon="copy" onPress={() => acts.copy(message.text)} />
      {message.own && !readOnly && <Tool tab={focused} name="Edit" icon="edit" onPress={() => acts.edit(message.id)} />}
      {(message.own || canModerate) && !readOnly && (
        <Tool tab={focused} name="Delete" icon="trash" onPress={() => acts.remove(message)} />
      )}
    </div>
  );
}

function Tool({
  tab,
  name,
  icon,
  onPress,
}: {
  /** Only in the row that has the focus are they stops of the Tab key. */
  readonly tab: boolean;
  readonly name: string;
  readonly icon: IconName;
  readonly onPress: () => void;
}) {
  return (
    <button
      type="button"
      className="icon-button"
      tabIndex={tab ? 0 : -1}
      aria-label={name}
      title={name}
      onClick={onPress}
    >
      <Icon name={icon} />
    </button>
  );
}

interface QuoteProps {
  readonly id: string;
  readonly replied: ChatMessage | null | undefined;
  readonly onShow: (id: string) => void;
}

const Quote = memo(function Quote({ id, replied, onShow }: QuoteProps) {
  return (
    <button type="button" className="quote" onClick={() => onShow(id)}>
      <Icon name="reply" />
      {replied === null || replied === undefined ? (
        <span className="quote-text">an earlier message</span>
      ) : (
        <>
          <Name id={replied.authorId} name={replied.author} />
          <span className="quote-text" dir="auto">
            {replied.deleted ? 'This message was deleted.' : oneLine(replied.text)}
          </span>
        </>
      )}
    </button>
  );
});
