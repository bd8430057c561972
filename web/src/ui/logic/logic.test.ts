import { describe, expect, test } from 'vitest';
import type { ChatMessage, Row } from '../../client';
import { complete, completions, mentionAt } from './mention';
import { hueOf, nameProblem, typingLine } from './names';
import { roomOfPath } from './route';
import { countAfter, type Item, lastOwn, layout, newestId } from './rows';
import { best, sidebarOrder } from './sort';
import { isEmojiOnly, messageLength, oneLine, safeHref, tokenize, trimAddress } from './text';
import { dayLabel, nextMidnight } from './time';

const noon = new Date(2026, 10, 23, 12, 0, 0).getTime();
const MINUTE = 60_000;

let serial = 0;
function message(init: Partial<ChatMessage> & { at: number }): Row {
  serial += 1;
  const id = init.id ?? `id-${String(serial).padStart(6, '0')}`;
  return {
    kind: 'message',
    key: id,
    message: {
      roomId: 'r',
      author: 'ann',
      authorId: 'u-ann',
      text: 'hello',
      replyTo: null,
      mentions: [],
      mentionsMe: false,
      editedAt: null,
      deleted: false,
      own: false,
      ...init,
      id,
    },
  };
}

function shape(items: readonly Item[]): string {
  return items
    .map((item) => (item.kind === 'message' || item.kind === 'pending' ? (item.head ? 'H' : '.') : item.kind))
    .join(' ');
}

describe('grouping', () => {
  test('messages of one author within five minutes stand together', () => {
    const rows = [0, 1, 2, 9].map((minute) => message({ at: noon + minute * MINUTE }));
    expect(shape(layout(rows, null, 'me'))).toBe('day H . . H');
  });

  test('another author begins a group', () => {
    const rows = [message({ at: noon }), message({ at: noon, authorId: 'u-bob' }), message({ at: noon })];
    expect(shape(layout(rows, null, 'me'))).toBe('day H H H');
  });

  test('a reply begins a group, and what follows it belongs to it', () => {
    const rows = [message({ at: noon }), message({ at: noon, replyTo: 'x' }), message({ at: noon })];
    expect(shape(layout(rows, null, 'me'))).toBe('day H H .');
  });

  test('a gap ends a group', () => {
    const gap: Row = { kind: 'gap', key: 'g', gap: { from: 'a', to: 'b', loading: false } };
    expect(shape(layout([message({ at: noon }), gap, message({ at: noon })], null, 'me'))).toBe('day H gap H');
  });

  test('a pending message joins the group of my last one, also with a clock that is behind', () => {
    const pending: Row = {
      kind: 'pending',
      key: 'n',
      pending: {
        nonce: 'n',
        roomId: 'r',
        text: 'x',
        replyTo: null,
        at: noon - MINUTE,
        status: 'queued',
        problem: null,
      },
    };
    expect(shape(layout([message({ at: noon, authorId: 'me', own: true }), pending], null, 'me'))).toBe('day H .');
    expect(shape(layout([message({ at: noon }), pending], null, 'me'))).toBe('day H H');
  });
});

describe('day lines', () => {
  test('one per local day, and a group does not cross it', () => {
    const midnight = nextMidnight(noon);
    const rows = [message({ at: midnight - MINUTE }), message({ at: midnight }), message({ at: midnight + MINUTE })];
    expect(shape(layout(rows, null, 'me'))).toBe('day H day H .');
  });

  test('labels change at midnight', () => {
    const midnight = nextMidnight(noon);
    expect(dayLabel(noon, midnight - 1)).toBe('Today');
    expect(dayLabel(noon, midnight)).toBe('Yesterday');
    expect(dayLabel(noon, nextMidnight(midnight))).not.toBe('Yesterday');
    expect(dayLabel(new Date(2024, 1, 29).getTime(), noon)).toContain('2024');
  });

  test('the next midnight is right on a day with 25 hours', () => {
    const next = new Date(nextMidnight(new Date(2026, 9, 25, 1).getTime()));
    expect([next.getDate(), next.getHours(), next.getMinutes()]).toEqual([26, 0, 0]);
  });
});

describe('the line before new messages', () => {
  const rows = ['a1', 'a2', 'a3'].map((id) => message({ id, at: noon }));

  test('stands before the first message after the marker', () => {
    expect(shape(layout(rows, { after: 'a1' }, 'me'))).toBe('day H new H .');
    expect(shape(layout(rows, { after: null }, 'me'))).toBe('day new H . .');
  });

  test('is not drawn with nothing after the marker, nor for my own messages', () => {
    expect(shape(layout(rows, { after: 'a3' }, 'me'))).toBe('day H . .');
    const own = message({ id: 'a4', at: noon, own: true });
    expect(shape(layout([...rows, own], { after: 'a3' }, 'me'))).not.toContain('new');
  });

  test('what came while scrolled up is counted without my own', () => {
    const own = message({ id: 'a4', at: noon, own: true });
    expect(countAfter([...rows, own], 'a1')).toBe(2);
    expect(newestId([...rows, own])).toBe('a4');
    expect(lastOwn([...rows, own])?.id).toBe('a4');
    expect(lastOwn(rows)).toBeNull();
  });
});

describe('links', () => {
  const links = (text: string) => tokenize(text, false).flatMap((token) => (token.kind === 'link' ? [token.text] : []));

  test('end where the address ends', () => {
    expect(links('See https://example.org/a, and (http://example.org/b).')).toEqual([
      'https://example.org/a',
      'http://example.org/b',
    ]);
    expect(trimAddress('https://en.wikipedia.org/wiki/Rust_(language)')).toBe(
      'https://en.wikipedia.org/wiki/Rust_(language)',
    );
    expect(links('"https://example.org/?q=1&r=[2]"')).toEqual(['https://example.org/?q=1&r=[2]']);
  });

  test('are http and https only, and never hide where they lead', () => {
    expect(links('javascript:alert(1) data:text/html,x ftp://example.org file:///etc/passwd')).toEqual([]);
    expect(safeHref('javascript:alert(1)')).toBeNull();
    expect(safeHref('https://bank.example@evil.example/')).toBeNull();
    expect(links('https://example.org/\u202Egpj.exe')).toEqual(['https://example.org/']);
    expect(links('https://')).toEqual([]);
  });

  test('are not looked for in code', () => {
    expect(tokenize('`https://example.org` and ```\n@ann\n```', true).map((token) => token.kind)).toEqual([
      'code',
      'text',
      'block',
    ]);
  });
});

describe('text', () => {
  test('tokens give the text again, whatever it holds', () => {
    const hostile = [
      '<script>alert(1)</script>',
      '"><img src=x onerror=alert(1)>',
      '<a href="javascript:alert(1)">x</a>',
      '{{constructor.constructor("alert(1)")()}}',
      '&lt;b&gt; &amp; \u0000 \u202e',
      "https://example.org/'onmouseover='alert(1)",
    ];
    for (const text of hostile) {
      expect(
        tokenize(text, true)
          .map((token) => token.text)
          .join(''),
      ).toBe(text);
    }
  });

  test('an address stops before a quote, so nothing of it can leave an attribute', () => {
    const token = tokenize('https://example.org/"onmouseover="alert(1)', true).find((found) => found.kind === 'link');
    expect(token).toMatchObject({ text: 'https://example.org/', href: 'https://example.org/' });
  });

  test('mentions are names after an @ that begins a word', () => {
    const names = (text: string) =>
      tokenize(text, true).flatMap((token) => (token.kind === 'mention' ? [token.name] : []));
    expect(names('@ann, ask (@bob-2) not me@example.org')).toEqual(['ann', 'bob-2']);
    expect(names('@@ann')).toEqual([]);
    expect(tokenize('@ann', false)).toEqual([{ kind: 'text', text: '@ann' }]);
  });

  test('emoji alone, and length in scalar values', () => {
    expect(isEmojiOnly('🎉 👩‍👩‍👧')).toBe(true);
    expect(isEmojiOnly('12')).toBe(false);
    expect(isEmojiOnly('ok 🎉')).toBe(false);
    expect(isEmojiOnly('🎉'.repeat(20))).toBe(false);
    expect(messageLength('a🎉')).toBe(2);
    expect(oneLine('a\n b\tc')).toBe('a b c');
    expect(oneLine('🎉🎉🎉', 2)).toBe('🎉…');
  });
});

describe('mention completion', () => {
  test('finds what is being written at the caret', () => {
    expect(mentionAt('hi @an', 6)).toEqual({ start: 3, end: 6, query: 'an' });
    expect(mentionAt('@', 1)).toEqual({ start: 0, end: 1, query: '' });
    expect(mentionAt('me@example', 10)).toBeNull();
    expect(mentionAt('hi @ann done', 12)).toBeNull();
  });

  test('offers names that begin so before those that contain it, each once', () => {
    expect(completions(['Joanna', 'ann', 'Andy', 'ANN'], 'an')).toEqual(['ann', 'Andy', 'Joanna']);
  });

  test('puts the name in and the caret behind it', () => {
    const at = mentionAt('hi @an you', 6);
    expect(at && complete('hi @an you', at, 'ann')).toEqual({ text: 'hi @ann you', caret: 8 });
    const alone = mentionAt('@a', 2);
    expect(alone && complete('@a', alone, 'ann')).toEqual({ text: '@ann ', caret: 5 });
  });
});

describe('the rest', () => {
  test('rooms: unread first, then recent, and the opened one stays', () => {
    const room = (id: string, lastAt: number, unread = 0, mentions = 0) =>
      ({ id, label: id, lastAt, unread, mentions, kind: 'public' }) as never;
    const rooms = [room('old', 1), room('new', 9), room('unread', 2, 3), room('named', 1, 3, 1)];
    const order = (opened: string | null) => sidebarOrder(rooms, opened).map((entry) => entry.id);
    expect(order(null)).toEqual(['named', 'unread', 'new', 'old']);
    expect(order('old')).toEqual(['named', 'unread', 'old', 'new']);
  });

  test('search puts the nearest first', () => {
    expect(best(['dev-general', 'general', 'gnral', 'genera'], (name) => ['x', name], 'genera', 9)).toEqual([
      'genera',
      'general',
      'dev-general',
    ]);
  });

  test('names, addresses, typing', () => {
    expect(nameProblem('ann_2')).toBeNull();
    expect(nameProblem('a b')).not.toBeNull();
    expect(nameProblem('0'.repeat(32))).not.toBeNull();
    expect(roomOfPath('/chat/general/')).toBe('general');
    expect(roomOfPath('/chat/%E0%A4%A')).toBeNull();
    expect(roomOfPath('/admin')).toBeNull();
    expect(typingLine(['ann', 'bob'], 3)).toBe('ann and bob are typing');
    expect(typingLine(['a', 'b', 'c', 'd'], 3)).toBe('Several people are typing');
    for (const id of ['a', 'b', '0192', '0193']) expect(hueOf(id)).toBeLessThan(360);
    expect(hueOf('same')).toBe(hueOf('same'));
  });
});
