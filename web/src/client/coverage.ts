// Which stretches of a room's history are held without a hole: disjoint intervals of the id space, both ends
// inclusive. All questions about gaps ("is there more above?", "may this message be put here?") are answered from
// this one structure, so that paging, resets and eviction cannot disagree about them.

import { MAX_ID, MIN_ID } from './ids';

export interface Interval {
  readonly lo: string;
  readonly hi: string;
}

export class Coverage {
  #intervals: Interval[] = [];

  get intervals(): readonly Interval[] {
    return this.#intervals;
  }

  /** The interval that reaches to the live end, if there is one. */
  get tail(): Interval | undefined {
    const last = this.#intervals.at(-1);
    return last !== undefined && last.hi === MAX_ID ? last : undefined;
  }

  /** True if everything from the room's beginning up to the first hole is held. */
  get fromStart(): boolean {
    return this.#intervals[0]?.lo === MIN_ID;
  }

  has(id: string): boolean {
    return this.#intervals.some((one) => one.lo <= id && id <= one.hi);
  }

  add(lo: string, hi: string): void {
    if (lo > hi) return;
    const apart = this.#intervals.filter((one) => one.hi < lo || hi < one.lo);
    const touched = this.#intervals.filter((one) => !(one.hi < lo || hi < one.lo));
    let [from, to] = [lo, hi];
    for (const one of touched) {
      if (one.lo < from) from = one.lo;
      if (one.hi > to) to = one.hi;
    }
    this.#intervals = [...apart, { lo: from, hi: to }].sort((a, b) => (a.lo < b.lo ? -1 : 1));
  }

  /** Uncovers what lies strictly between two ids; the ends stay as they are. */
  carve(from: string, to: string): void {
    const next: Interval[] = [];
    for (const one of this.#intervals) {
      if (one.hi <= from || to <= one.lo) {
        next.push(one);
        continue;
      }
      if (one.lo <= from) next.push({ lo: one.lo, hi: from });
      if (to <= one.hi) next.push({ lo: to, hi: one.hi });
    }
    this.#intervals = next;
  }

  clear(): void {
    this.#intervals = [];
  }
}
