// A message's text as React nodes: everything is text but the tokens that are known to be safe.

import { memo } from 'react';
import { isEmojiOnly, type Token, tokenize } from '../logic/text';
import { exact } from '../logic/time';

interface MessageTextProps {
  readonly text: string;
  readonly mentions: boolean;
  readonly myName: string;
  readonly editedAt: number | null;
}

export const MessageText = memo(function MessageText({ text, mentions, myName, editedAt }: MessageTextProps) {
  const tokens = tokenize(text, mentions);
  return (
    <div className={isEmojiOnly(text) ? 'message-text emoji' : 'message-text'} dir="auto">
      {tokens.map((token, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: tokens have no identity, and a text that changes is drawn anew.
        <TokenText key={index} token={token} myName={myName} />
      ))}
      {editedAt !== null && (
        <span className="message-edited" title={exact(editedAt)}>
          {' '}
          (edited)
        </span>
      )}
    </div>
  );
});

function TokenText({ token, myName }: { readonly token: Token; readonly myName: string }) {
  switch (token.kind) {
    case 'text':
      return token.text;
    case 'link':
      return (
        <a href={token.href} target="_blank" rel="noopener noreferrer" dir="ltr">
          {token.text}
        </a>
      );
    case 'mention':
      return (
        <span className={token.name.toLowerCase() === myName.toLowerCase() ? 'mention mine' : 'mention'}>
          {token.text}
        </span>
      );
    case 'code':
      return <code>{token.text}</code>;
    case 'block':
      return (
        <pre>
          <code>{token.text}</code>
        </pre>
      );
  }
}
