// What a UUIDv7 of this protocol tells: its time, and which attempt at a send it comes from.

import type { Id } from './types';

/** Sorts before every id. */
export const MIN_ID = '';
/** Sorts after every id. */
export const MAX_ID = '~';

/** The place directly after an id: greater than the id, less than any other that is greater. */
export function justAfter(id: Id): string {
  return `${id}~`;
}

/** Milliseconds since 1970: the first 48 bits. */
export function idTime(id: Id): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/**
 * The 62 bits that are a hash of author, room, nonce and body, with the author: equal for two rows that come from
 * two attempts at one send. The two bits of the UUID variant are left out.
 */
export function attemptKey(id: Id, authorId: string): string {
  const first = Number.parseInt(id.charAt(19), 16) & 3;
  return `${authorId} ${first}${id.slice(20)}`;
}

/** COUNT.XOR, or COUNT.XOR.FROM, as protocol.md section 5 has it. */
export function digest(ids: readonly Id[], from: Id | null): string {
  let xor = 0n;
  for (const id of ids) xor ^= BigInt(`0x${id.replaceAll('-', '')}`);
  const text = `${ids.length}.${xor.toString(16).padStart(32, '0')}`;
  return from === null ? text : `${text}.${from}`;
}

/** Index of the first id that is not less than the given one. */
export function lowerBound(ids: readonly Id[], id: string): number {
  let low = 0;
  let high = ids.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ids[middle] as Id) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The greater of two ids; null is less than any. */
export function later(a: Id | null, b: Id | null | undefined): Id | null {
  if (b === null || b === undefined) return a;
  return a === null || b > a ? b : a;
}
