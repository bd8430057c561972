// The same schedules with windows so small that history is evicted all the time: what is shown must never have a
// silent hole, wherever the reader goes.

import { describe, expect, it, vi } from 'vitest';
import type { RoomSnapshot } from '../types';
import { check, checkNoHoles, Schedule } from './schedule';

vi.mock('../limits', async (original) => ({
  ...(await original<typeof import('../limits')>()),
  ROOM_WINDOW: 24,
  TAIL_KEEP: 8,
  TRIM_SLACK: 2,
  FIRST_PAGE: 5,
  HISTORY_PAGE: 6,
}));

const STEPS = Number(process.env.NATTER_PROPERTY_STEPS ?? 200);
const SEEDS = Number(process.env.NATTER_PROPERTY_SEEDS ?? 30);
const FIRST = Number(process.env.NATTER_PROPERTY_FIRST ?? 1);

describe('random schedules in a small window', () => {
  it.each(Array.from({ length: SEEDS }, (_, n) => FIRST + n))('leave no silent hole, seed %i', async (seed) => {
    const schedule = new Schedule(seed);
    await schedule.start();
    for (let count = 0; count < STEPS; count += 1) await schedule.step();
    await schedule.settle();
    const snapshot = () => schedule.tab.client.getRoom(schedule.room.id) as RoomSnapshot;
    check(snapshot());
    checkNoHoles(snapshot(), schedule.room);
    for (let count = 0; count < 30; count += 1) {
      const any = schedule.random.pick(schedule.room.ids());
      if (schedule.random.chance(0.4)) schedule.tab.client.setAnchor(schedule.room.id, any ?? null);
      await schedule.page(any);
      check(snapshot());
      checkNoHoles(snapshot(), schedule.room);
      expect(snapshot().rows.length).toBeLessThan(24 + 2 + 20);
    }
    schedule.tab.client.stop();
  });
});
