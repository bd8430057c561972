// Random schedules, with windows large enough to hold all history: at the end it has to equal the model's.

import { describe, expect, it } from 'vitest';
import { attemptKey } from '../ids';
import { check, expected, Schedule } from './schedule';
import { shown } from './setup';

const STEPS = Number(process.env.NATTER_PROPERTY_STEPS ?? 150);
const SEEDS = Number(process.env.NATTER_PROPERTY_SEEDS ?? 30);
const FIRST = Number(process.env.NATTER_PROPERTY_FIRST ?? 1);

describe('random schedules', () => {
  it.each(Array.from({ length: SEEDS }, (_, n) => FIRST + n))("end with the model's history, seed %i", async (seed) => {
    const schedule = new Schedule(seed);
    await schedule.start();
    for (let count = 0; count < STEPS; count += 1) await schedule.step();
    const snapshot = await schedule.heal();
    check(snapshot);
    const wanted = expected(schedule.room);
    const got = shown(snapshot);
    expect(got).toHaveLength(wanted.size);
    for (const message of got) {
      const entry = wanted.get(attemptKey(message.id, message.authorId));
      expect(entry?.ids).toContain(message.id);
      expect(message.deleted).toBe(entry?.deleted);
      if (!message.deleted) expect(entry?.texts).toContain(message.text);
      if (entry?.ids.length === 1 && !message.deleted) expect(message.text).toBe(entry.texts[0]);
    }
    // Nothing of ours is lost, nothing is stored twice, and the order is the order of writing.
    const mine = schedule.room
      .ids()
      .map((id) => schedule.room.at(id))
      .filter((one) => one.author_id === schedule.setup.me);
    const first = new Set(mine.map((one) => attemptKey(one.id, one.author_id)));
    expect(snapshot.rows.filter((row) => row.kind === 'pending')).toEqual([]);
    expect(first.size).toBe(schedule.sent.length);
    // The unread count is what the server would say, cap included.
    const counted = [...wanted.values()].filter(
      (one) => !one.deleted && one.ids.every((id) => schedule.room.at(id).author_id === schedule.setup.other),
    );
    expect(snapshot.summary.unread).toBe(Math.min(100, counted.length));
    schedule.tab.client.stop();
  });
});
