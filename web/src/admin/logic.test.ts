import { describe, expect, test } from 'vitest';
import { ApiError } from '../client';
import {
  actionWords,
  auditMatches,
  bytes,
  curve,
  duration,
  explainAdmin,
  isId,
  load,
  momentOf,
  nextSorting,
  plural,
  roomLabel,
  sorted,
  wholeNumber,
} from './logic';
import type { AdminRoom, AuditLine } from './wire';

describe('amounts', () => {
  test('bytes take the largest unit that leaves at least 1', () => {
    expect([0, 1023, 1024, 32_900_000, 500 * 1024 ** 2, 2 ** 50].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '31.4 MiB',
      '500 MiB',
      '1024 TiB',
    ]);
  });

  test('durations have their two largest units, without an empty one', () => {
    expect([0, 0.4, 59, 60, 302, 3_600, 90_061].map(duration)).toEqual([
      '0 s',
      '0 s',
      '59 s',
      '1 min',
      '5 min 2 s',
      '1 h',
      '1 d 1 h',
    ]);
  });

  test('one is singular, nothing is plural', () => {
    expect([0, 1, 2].map((many) => plural(many, 'member', 'members'))).toEqual(['0 members', '1 member', '2 members']);
  });
});

describe('processor use', () => {
  test('is what was used between two samples', () => {
    expect(load({ at: 0, cpu: 10 }, { at: 5_000, cpu: 12.5 })).toBe(0.5);
  });

  test('is unknown for the first sample, after a restart, and where the system does not tell', () => {
    expect(load(undefined, { at: 5_000, cpu: 1 })).toBeNull();
    expect(load({ at: 0, cpu: 10 }, { at: 5_000, cpu: 0.1 })).toBeNull();
    expect(load({ at: 0, cpu: null }, { at: 5_000, cpu: 1 })).toBeNull();
    expect(load({ at: 5_000, cpu: 1 }, { at: 5_000, cpu: 1 })).toBeNull();
  });
});

describe('curves', () => {
  test('fill the box from 0 at the bottom to the most at the top', () => {
    const drawn = curve([0, 5, 10], 3, 100, 20);
    expect(drawn.line).toBe('M0 20L50 10L100 0');
    expect(drawn.area).toBe('M0 20L50 10L100 0V20H0Z');
    expect([drawn.least, drawn.most]).toEqual([0, 10]);
  });

  test('that are short end at the right edge', () => {
    expect(curve([1, 1], 5, 100, 20).line).toBe('M75 0L100 0');
    expect(curve([4], 5, 100, 20).line).toBe('M75 0L100 0');
  });

  test('that are long show the newest values only', () => {
    expect(curve([9, 9, 0, 2], 2, 10, 10)).toMatchObject({ line: 'M0 10L10 0', most: 2 });
  });

  test('of nothing but zeros lie on the bottom, and of nothing are empty', () => {
    expect(curve([0, 0], 2, 10, 10).line).toBe('M0 10L10 10');
    expect(curve([], 2, 10, 10).line).toBe('');
  });
});

describe('sorting', () => {
  test('goes up, down and back to the server’s order', () => {
    const up = nextSorting(null, 'name');
    const down = nextSorting(up, 'name');
    expect([up, down, nextSorting(down, 'name')]).toEqual([
      { key: 'name', down: false },
      { key: 'name', down: true },
      null,
    ]);
    expect(nextSorting(down, 'other')).toEqual({ key: 'other', down: false });
  });

  test('keeps what has no value last, either way', () => {
    const rows = [null, 3, 1, null, 2];
    expect(sorted(rows, (row) => row, false)).toEqual([1, 2, 3, null, null]);
    expect(sorted(rows, (row) => row, true)).toEqual([3, 2, 1, null, null]);
    expect(rows[0]).toBeNull();
  });
});

describe('rooms', () => {
  const room: AdminRoom = {
    id: 'r-1',
    name: 'general',
    title: '',
    kind: 'public',
    members: 2,
    created_at: '2026-11-23T14:02:07Z',
    archived: false,
  };

  test('are called by their name, direct conversations by their people', () => {
    const pair = [
      { id: 'a', username: 'ann' },
      { id: 'b', username: 'bob' },
    ];
    expect(roomLabel(room)).toBe('general');
    expect(roomLabel({ ...room, name: null, pair })).toBe('ann and bob');
    expect(roomLabel({ ...room, name: null })).toBe('r-1');
  });
});

describe('audit log', () => {
  const line: AuditLine = {
    id: 'l',
    at: '2026-11-23T14:02:07Z',
    actor: 'root',
    actor_id: 'u',
    action: 'user.demote',
    target: 'Ann',
    detail: '',
  };

  test('is filtered by every word, in any part', () => {
    expect(['', 'root ann', 'demote', 'RIGHTS', 'ann bob'].map((text) => auditMatches(line, text))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
  });

  test('says an unknown act in the server’s word', () => {
    expect(actionWords('node.drain')).toBe('node.drain');
  });
});

describe('fields', () => {
  test('whole numbers stay within bounds', () => {
    expect(['1', ' 365 ', '0', '366', '1.5', '-1', '', 'x'].map((text) => wholeNumber(text, 365))).toEqual([
      1,
      365,
      null,
      null,
      null,
      null,
      null,
      null,
    ]);
  });

  test('an id is a UUID, with or without hyphens', () => {
    expect(isId('01932b6e-4f5a-7c3d-9e8f-0123456789ab')).toBe(true);
    expect(isId('01932b6e4f5a7c3d9e8f0123456789ab')).toBe(true);
    expect(isId('general')).toBe(false);
  });

  test('a time without a zone is local', () => {
    expect(momentOf('2026-11-23T14:02')).toBe(new Date(2026, 10, 23, 14, 2).toISOString());
    expect([momentOf(''), momentOf('soon')]).toEqual([null, null]);
  });
});

describe('errors', () => {
  test('say what the server said of the request, as a sentence', () => {
    const detail = 'nobody shuts themselves out: ask another superuser';
    expect(explainAdmin(new ApiError({ status: 403, code: 'forbidden', detail }))).toBe(
      'Nobody shuts themselves out: ask another superuser.',
    );
  });

  test('do not promise what is not known', () => {
    const error = new ApiError({ status: 503, code: 'timeout', detail: '' });
    expect(explainAdmin(error)).toContain('may or may not');
  });
});
