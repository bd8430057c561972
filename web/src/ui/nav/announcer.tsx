// Tells screen readers what arrives: politely, gathered, and only what concerns the reader.

import { useEffect, useRef, useState } from 'react';
import { ANNOUNCE_AT_MOST, ANNOUNCE_EVERY } from '../logic/limits';
import { oneLine } from '../logic/text';
import { useNotices } from '../parts/context';

export function Announcer({ currentId }: { readonly currentId: string | null }) {
  const [text, setText] = useState('');
  const waiting = useRef<string[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);

  const say = (line: string) => {
    waiting.current.push(line);
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const lines = waiting.current;
      waiting.current = [];
      const more = lines.length - ANNOUNCE_AT_MOST;
      const said = lines.slice(-ANNOUNCE_AT_MOST).join('. ');
      setText(more > 0 ? `${more} more messages. ${said}` : said);
    }, ANNOUNCE_EVERY);
  };
  useEffect(() => () => clearTimeout(timer.current), []);

  useNotices((notice) => {
    if (notice.what === 'message' && notice.roomId === currentId && !notice.message.own) {
      say(`${notice.message.author}: ${oneLine(notice.message.text)}`);
    } else if (notice.what === 'mention' && notice.roomId !== currentId) {
      say(`${notice.author} mentioned you: ${oneLine(notice.text)}`);
    } else if (notice.what === 'direct') {
      say(`${notice.username} started a conversation with you`);
    } else if (notice.what === 'failed') {
      say('A message was not sent');
    }
  });

  return (
    <div className="visually-hidden" aria-live="polite" aria-atomic="true">
      {text}
    </div>
  );
}
