// What the admin area works out by itself: curves, amounts in words, order of rows, lines of the audit log.

import { ApiError } from '../client';
import { explain } from '../ui/parts/explain';
import type { AdminRoom, AuditLine } from './wire';

const number = new Intl.NumberFormat();

export const count = (value: number): string => number.format(value);

/** "1 member", "12 members". */
export function plural(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** Bytes in the largest unit of 1024 that leaves at least 1: "512 B", "31.4 MiB". */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let rest = value;
  let unit = 0;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${unit === 0 || rest >= 100 ? Math.round(rest) : rest.toFixed(1)} ${units[unit]}`;
}

/** The two largest units of a stretch of seconds: "3 d 4 h", "5 min 2 s". */
export function duration(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3_600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [Math.floor(seconds) % 60, 's'],
  ];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount} ${unit}`)
    .join(' ');
}

export interface Sample {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Processor time used since the start of the server, in seconds. */
  readonly cpu: number | null;
}

/** Processor use between two samples as a part of one core; null where it can't be told, as after a restart. */
export function load(before: Sample | undefined, now: Sample): number | null {
  if (before === undefined || before.cpu === null || now.cpu === null) return null;
  const seconds = (now.at - before.at) / 1000;
  const used = now.cpu - before.cpu;
  return seconds > 0 && used >= 0 ? used / seconds : null;
}

export interface Curve {
  /** Path data of the line and of the area under it; empty if there is nothing to draw. */
  readonly line: string;
  readonly area: string;
  readonly least: number;
  readonly most: number;
}

/**
 * A curve in a box of `width` by `height` whose right edge is the newest value. Fewer values than `slots` begin
 * farther right, so that a minute is as wide in all curves. The bottom is 0, so that heights can be compared.
 */
export function curve(values: readonly number[], slots: number, width: number, height: number): Curve {
  const shown = values.slice(-slots);
  if (shown.length === 0) return { line: '', area: '', least: 0, most: 0 };
  const most = Math.max(...shown);
  const step = width / Math.max(1, slots - 1);
  const x = (index: number) => round(width - (shown.length - 1 - index) * step);
  const y = (value: number) => round(height - (most === 0 ? 0 : (value / most) * height));
  const points = shown.map((value, index) => `${x(index)} ${y(value)}`);
  // One value alone would be a line without length.
  if (points.length === 1) points.unshift(`${round(width - step)} ${y(shown[0] as number)}`);
  const line = `M${points.join('L')}`;
  const left = points[0]?.split(' ')[0];
  return { line, area: `${line}V${height}H${left}Z`, least: Math.min(...shown), most };
}

const round = (value: number): number => Math.round(value * 100) / 100;

export interface Sorting {
  readonly key: string;
  readonly down: boolean;
}

/** Rows by what `value` says of them; equal rows keep their order. Null stands last either way. */
export function sorted<R>(rows: readonly R[], value: (row: R) => string | number | null, down: boolean): R[] {
  return [...rows].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return left === right ? 0 : left === null ? 1 : -1;
    const order =
      typeof left === 'string' && typeof right === 'string' ? left.localeCompare(right) : Number(left) - Number(right);
    return down ? -order : order;
  });
}

/** The next sorting when a head is pressed: up, down, then the server's own order. */
export function nextSorting(now: Sorting | null, key: string): Sorting | null {
  if (now?.key !== key) return { key, down: false };
  return now.down ? null : { key, down: true };
}

/** What to call a room. */
export function roomLabel(room: AdminRoom): string {
  if (room.name !== null) return room.name;
  return room.pair === undefined || room.pair.length === 0
    ? room.id
    : room.pair.map((person) => person.username).join(' and ');
}

const ACTIONS: Readonly<Record<string, string>> = {
  'user.disable': 'disabled',
  'user.enable': 'enabled',
  'user.promote': 'made a superuser of',
  'user.superuser': 'made a superuser of',
  'user.create_superuser': 'created the superuser',
  'user.demote': 'took superuser rights from',
  'user.end_sessions': 'ended all sessions of',
  'room.title': 'changed the title of',
  'room.archive': 'archived',
  'room.unarchive': 'opened again',
  'room.delete': 'deleted the room',
  'message.read': 'looked at messages in',
  'message.delete': 'deleted a message in',
  'invite.create': 'made the invite',
  'invite.delete': 'withdrew the invite',
};

/** The act of a line in words; an unknown one in the server's own word. */
export const actionWords = (action: string): string => ACTIONS[action] ?? action;

/** Whether a line has all the words that are looked for, in any of its parts. */
export function auditMatches(line: AuditLine, search: string): boolean {
  const text = [line.actor, line.action, actionWords(line.action), line.target, line.detail].join(' ').toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** A whole number within bounds, from a field; null if it is none. */
export function wholeNumber(text: string, most: number): number | null {
  if (!/^\d{1,9}$/.test(text.trim())) return null;
  const value = Number(text);
  return value >= 1 && value <= most ? value : null;
}

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** Whether this can be the id of a message. */
export const isId = (text: string): boolean => UUID.test(text);

/** The moment of a date-and-time field, which has no zone: local time. Null if it is empty or no time. */
export function momentOf(field: string): string | null {
  const at = new Date(field).getTime();
  return field === '' || Number.isNaN(at) ? null : new Date(at).toISOString();
}

/** An error in words for somebody who administers: what the server says of the request is of use to them. */
export function explainAdmin(error: unknown): string {
  if (!(error instanceof ApiError)) return explain(error);
  switch (error.code) {
    case 'not_found':
      return 'That isn’t there (any more). Check the name or id.';
    case 'forbidden':
    case 'invalid_request':
    case 'invalid_name':
    case 'bad_request':
    case 'bad_origin':
      return sentence(error.detail);
    case 'timeout':
    case 'unknown_outcome':
      return 'The server took too long, so it may or may not have been done. Look before you try again.';
    default:
      return explain(error);
  }
}

/** With a capital and a full stop. */
function sentence(text: string): string {
  const head = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(head) ? head : `${head}.`;
}
