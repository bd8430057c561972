import { describe, expect, it } from 'vitest';
import { attemptKey, MAX_ID, MIN_ID } from '../ids';
import { RowBuilder } from '../rows';
import { type Held, Timeline, UNCHANGED } from '../timeline';
import type { ChatMessage } from '../types';

let counter = 0;
/** An id at a second, with the hash part of an attempt. */
function id(second: number, attempt = ''): string {
  counter += 1;
  const time = (1_700_000_000_000 + second * 1000).toString(16).padStart(12, '0');
  const hash = (attempt || counter.toString(16)).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${(counter % 4096).toString(16).padStart(3, '0')}-8000-${hash}`;
}

function message(at: string, text: string, more: Partial<ChatMessage> = {}): ChatMessage {
  return {
    id: at,
    roomId: 'r',
    author: 'a',
    authorId: 'a',
    text,
    at: 0,
    replyTo: null,
    mentions: [],
    mentionsMe: false,
    editedAt: null,
    deleted: false,
    own: false,
    ...more,
  };
}

const held = (one: ChatMessage, at = 0): Held => ({ message: one, version: { at, eventId: null } });
const edit = (text: string, eventId: string, at: number) => ({
  text,
  mentions: [],
  mentionsMe: false,
  version: { at, eventId },
});
const erase = (eventId: string) => ({ text: null, mentions: [], mentionsMe: false, version: { at: 9, eventId } });

function live(...messages: ChatMessage[]): Timeline {
  const timeline = new Timeline();
  timeline.coverage.add(MIN_ID, MAX_ID);
  for (const one of messages) timeline.insert(one, UNCHANGED);
  return timeline;
}

function rows(timeline: Timeline, builder = new RowBuilder()): string[] {
  return builder.build(timeline, [], new Set()).map((row) => {
    if (row.kind === 'message') return row.message.deleted ? '(deleted)' : row.message.text;
    return row.kind;
  });
}

describe('changes', () => {
  it('lets the highest event id win, in whatever order edits come', () => {
    const one = message(id(1), 'one');
    const [first, second] = [id(2), id(3)];
    const timeline = live(one);
    timeline.change(one.id, edit('newer', second, 2));
    timeline.change(one.id, edit('older', first, 2));
    timeline.insert(one, UNCHANGED);
    expect(rows(timeline)).toEqual(['newer']);
    timeline.change(one.id, erase(first));
    timeline.change(one.id, edit('risen', id(9), 9));
    expect(rows(timeline)).toEqual(['(deleted)']);
  });

  it('applies an edit that came before the page with its message', () => {
    const one = message(id(1), 'one');
    const timeline = new Timeline();
    timeline.coverage.add(id(5), MAX_ID);
    expect(timeline.change(one.id, edit('mended', id(6), 6))).toBe(false);
    timeline.mergePage([held(one)], MIN_ID, id(5));
    expect(rows(timeline)).toContain('mended');
  });

  it('does not let an older page undo an edit, and takes a newer one', () => {
    const one = message(id(1), 'one');
    const timeline = live(one);
    timeline.change(one.id, edit('second', id(3), 3000));
    timeline.mergePage([held({ ...one, text: 'first', editedAt: 2000 }, 2000)], one.id, one.id);
    expect(rows(timeline)).toEqual(['second']);
    timeline.mergePage([held({ ...one, text: 'third', editedAt: 4000 }, 4000)], one.id, one.id);
    expect(rows(timeline)).toEqual(['third']);
  });
});

describe('attempts at one send', () => {
  it('ignores only the two variant bits of the hash', () => {
    expect(attemptKey('01000000-0000-7000-8abc-000000000001', 'a')).not.toBe(
      attemptKey('01000000-0000-7000-9abc-000000000001', 'a'),
    );
    expect(attemptKey('01000000-0000-7000-8abc-000000000001', 'a')).toBe(
      attemptKey('02000000-0000-7fff-8abc-000000000001', 'a'),
    );
  });

  it('shows the first one live, also when the second has the lower id', () => {
    const [low, high] = [message(id(1, 'abc'), 'same'), message(id(2, 'abc'), 'same')];
    const timeline = live(high, low);
    expect(timeline.attempts(low)[0]).toBe(high.id);
    expect(rows(timeline)).toEqual(['same']);
    expect(timeline.ids).toHaveLength(2);
  });

  it('does not take another author or another hash for an attempt', () => {
    const timeline = live(
      message(id(1, 'abc'), 'x'),
      message(id(2, 'abc'), 'x', { authorId: 'b' }),
      message(id(3, 'abd'), 'x'),
    );
    expect(rows(timeline)).toEqual(['x', 'x', 'x']);
  });

  it('shows in a page the one edited last, else the lower id; deleted if either is', () => {
    const [low, high] = [message(id(1, 'abc'), 'same'), message(id(2, 'abc'), 'mended', { editedAt: 5 })];
    const edited = new Timeline();
    edited.mergePage([held(low), held(high, 5)], MIN_ID, MAX_ID);
    expect(edited.attempts(low)[0]).toBe(high.id);
    expect(rows(edited)).toEqual(['mended']);
    const plain = new Timeline();
    plain.mergePage([held(low), held({ ...high, text: 'same' })], MIN_ID, MAX_ID);
    expect(plain.attempts(high)[0]).toBe(low.id);
    plain.change(high.id, erase(id(9)));
    expect(rows(plain)).toEqual(['(deleted)']);
  });
});

describe('gaps', () => {
  it('puts a message only where the stretch is held, and remembers it for the page', () => {
    const timeline = new Timeline();
    const [a, b, c] = [message(id(1), 'a'), message(id(2), 'b'), message(id(3), 'c')];
    timeline.coverage.add(c.id, MAX_ID);
    timeline.insert(c, UNCHANGED);
    expect(timeline.insert(b, UNCHANGED)).toBe('stashed');
    expect(rows(timeline)).toEqual(['c']);
    timeline.mergePage([held(a)], MIN_ID, c.id);
    expect(rows(timeline)).toEqual(['a', 'b', 'c']);
  });

  it('drops what a reset makes doubtful and shows the hole', () => {
    const all = [1, 2, 3, 4].map((n) => message(id(n), `m${n}`));
    const timeline = live(...all);
    timeline.reset((all[1] as ChatMessage).id, (all[3] as ChatMessage).id);
    expect(rows(timeline)).toEqual(['m1', 'm2', 'gap', 'm4']);
    timeline.mergePage([held(all[2] as ChatMessage)], (all[1] as ChatMessage).id, (all[3] as ChatMessage).id);
    expect(rows(timeline)).toEqual(['m1', 'm2', 'm3', 'm4']);
  });

  it('evicts what is farthest from the reader, but never the newest', () => {
    const all = Array.from({ length: 1_000 }, (_, n) => message(id(n), `m${n}`));
    const atEnd = live(...all);
    atEnd.trim(300, null);
    expect([atEnd.ids.length, atEnd.ids[0], atEnd.coverage.fromStart]).toEqual([300, all[700]?.id, false]);
    expect(atEnd.coverage.intervals).toHaveLength(1);
    const reading = live(...all);
    reading.trim(300, (all[50] as ChatMessage).id);
    const left = rows(reading);
    expect(left).toHaveLength(301);
    expect(left.indexOf('gap')).toBe(100);
    expect([left[0], left[99], left[101], left.at(-1)]).toEqual(['m0', 'm99', 'm800', 'm999']);
    expect(reading.coverage.has((all[400] as ChatMessage).id)).toBe(false);
    const small = live(...all);
    small.trim(100, (all[500] as ChatMessage).id);
    expect([small.ids.length, small.ids[0], small.coverage.intervals.length]).toEqual([100, all[900]?.id, 1]);
  });
});

describe('the digest', () => {
  it('covers the last 30 s before the cursor, from the start of the tail', () => {
    const [old, one, two, beyond] = [
      message(id(10), ''),
      message(id(50), ''),
      message(id(60), ''),
      message(id(90), ''),
    ];
    const timeline = live(old, one, two, beyond);
    expect(timeline.digest()).toBeUndefined();
    timeline.see(two.id);
    const xor = (BigInt(`0x${one.id.replaceAll('-', '')}`) ^ BigInt(`0x${two.id.replaceAll('-', '')}`))
      .toString(16)
      .padStart(32, '0');
    expect(timeline.digest()).toBe(`2.${xor}`);
    timeline.trim(3, null);
    expect(timeline.digest()).toBe(`2.${xor}.${one.id}`);
  });
});
