import { describe, expect, it } from 'vitest';
import { BACKGROUND_WINDOW, FULL_ROOMS, JOINS_AT_ONCE, TRIM_SLACK } from '../limits';
import { openTab, quiet, run, setUp, texts } from './setup';
import { settle } from './world';

describe('many rooms', () => {
  it('are joined a few at a time, the viewed one first after a reconnect', async () => {
    const setup = setUp();
    const rooms = Array.from({ length: 40 }, (_, n) => setup.server.room(`room-${n}`, setup.me));
    const { client, socket } = openTab(setup);
    await client.start();
    socket().deliver();
    await settle();
    expect(socket().toServer).toHaveLength(JOINS_AT_ONCE);
    await quiet(setup);
    expect(client.getSnapshot().rooms.every((room) => room.status === 'live')).toBe(true);
    const viewed = rooms[33]?.id as string;
    await client.openRoom(viewed);
    setup.server.frames.length = 0;
    socket().cut();
    await run(setup, 3_000);
    const joins = setup.server.frames.filter((frame) => frame.type === 'join');
    expect(joins).toHaveLength(40);
    expect(joins[0]?.room).toBe(viewed);
  });

  it('keep full windows only where somebody has looked lately', async () => {
    const setup = setUp();
    const rooms = Array.from({ length: FULL_ROOMS + 1 }, (_, n) => setup.server.room(`room-${n}`, setup.me));
    const first = rooms[0] as (typeof rooms)[0];
    for (let n = 0; n < 300; n += 1) setup.server.post(first, setup.other, `m${n}`);
    const { client } = openTab(setup);
    await client.start();
    await quiet(setup);
    await client.openRoom(first.id);
    await quiet(setup);
    while (client.getRoom(first.id)?.hasOlder) await client.loadOlder(first.id);
    expect(texts(client.getRoom(first.id))).toHaveLength(300);
    for (const room of rooms.slice(1)) await client.openRoom(room.id);
    expect(texts(client.getRoom(first.id)).length).toBeLessThanOrEqual(BACKGROUND_WINDOW + TRIM_SLACK);
    expect(client.getRoom(first.id)?.hasOlder).toBe(true);
  });

  it('stay silent after unsubscribing until they are opened again', async () => {
    const setup = setUp();
    const room = setup.server.room('lobby', setup.me);
    const { client, socket } = openTab(setup);
    await client.start();
    await quiet(setup);
    const done = client.unsubscribe(room.id);
    await quiet(setup);
    await done;
    expect(client.getRoom(room.id)?.status).toBe('idle');
    socket().cut();
    await run(setup, 3_000);
    await client.refreshRooms();
    await quiet(setup);
    expect(client.getRoom(room.id)?.status).toBe('idle');
    setup.server.post(room, setup.other, 'meanwhile');
    await client.openRoom(room.id);
    await quiet(setup);
    expect(client.getRoom(room.id)?.status).toBe('live');
    expect(texts(client.getRoom(room.id))).toEqual(['meanwhile']);
  });

  it('appear when somebody opens a conversation or invites', async () => {
    const setup = setUp();
    const { client, socket } = openTab(setup);
    await client.start();
    await quiet(setup);
    const room = setup.server.room('secret', setup.me, setup.other);
    room.visibility = 'private';
    setup.server.push(socket(), {
      type: 'inbox',
      what: 'invited',
      room: 'secret',
      room_id: room.id,
      role: 'member',
      by: 'other',
      by_id: setup.other,
    });
    await run(setup, 1_000);
    expect(client.getSnapshot().rooms).toMatchObject([{ name: 'secret', kind: 'private', status: 'live' }]);
  });
});

describe('history that is on its way', () => {
  it('is fetched again if a reset has made it doubtful', async () => {
    const setup = setUp();
    const room = setup.server.room('lobby', setup.me);
    const messages = Array.from({ length: 80 }, (_, n) => setup.server.post(room, setup.other, `m${n}`));
    setup.server.resetBeyond = 10;
    const { client, socket } = openTab(setup);
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    await quiet(setup);
    setup.server.holdHttp = true;
    const loading = client.loadOlder(room.id);
    await settle();
    socket().cut();
    const mended = messages[10]?.id as string;
    setup.server.edit(room, mended, 'mended');
    for (let n = 0; n < 20; n += 1) setup.server.post(room, setup.other, `n${n}`);
    await setup.clock.advance(3_000);
    setup.server.holdHttp = false;
    const steps = async () => {
      while (setup.server.step(socket()) || socket().deliver()) await settle();
    };
    await steps();
    await steps();
    setup.server.release();
    await loading;
    await quiet(setup);
    while (client.getRoom(room.id)?.hasOlder) await client.loadOlder(room.id);
    expect(texts(client.getRoom(room.id))[10]).toBe('mended');
    expect(texts(client.getRoom(room.id))).toHaveLength(100);
  });

  it('is asked for once, and a failure is shown until the next attempt', async () => {
    const setup = setUp();
    const room = setup.server.room('lobby', setup.me);
    for (let n = 0; n < 80; n += 1) setup.server.post(room, setup.other, `m${n}`);
    const { client } = openTab(setup);
    await client.start();
    await quiet(setup);
    await client.openRoom(room.id);
    await quiet(setup);
    const before = setup.server.requests.length;
    const both = [client.loadOlder(room.id), client.loadOlder(room.id)];
    expect(client.getRoom(room.id)?.loadingOlder).toBe(true);
    await Promise.all(both);
    expect(setup.server.requests.length - before).toBe(1);
    setup.server.post(room, setup.other, 'more');
    setup.server.httpDown = true;
    const missing = setup.server.id(1_000_000);
    await expect(client.loadAround(room.id, missing)).rejects.toMatchObject({ code: 'network' });
    expect(client.getRoom(room.id)?.historyProblem).toMatchObject({ code: 'network' });
    setup.server.httpDown = false;
    expect(await client.loadAround(room.id, missing)).toBe(false);
    expect(client.getRoom(room.id)?.historyProblem).toBeNull();
  });
});
