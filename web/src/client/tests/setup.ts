// A client, a model server, and the ways in which tests let frames through.

import { Client } from '../client';
import { MemoryStorage, type Storage } from '../storage';
import type { ChatMessage, RoomSnapshot } from '../types';
import { ModelServer } from './server';
import { Clock, type FakeSocket, Locks, makeWorld, Random, settle, type World } from './world';

export interface Setup {
  readonly clock: Clock;
  readonly random: Random;
  readonly server: ModelServer;
  readonly locks: Locks;
  readonly me: string;
  readonly other: string;
}

export function setUp(seed = 1): Setup {
  const clock = new Clock();
  const random = new Random(seed);
  const server = new ModelServer(clock, random);
  return { clock, random, server, locks: new Locks(), me: server.user('me'), other: server.user('other') };
}

export interface Tab {
  readonly client: Client;
  readonly world: World;
  readonly storage: Storage;
  /** The newest socket that this client has opened. */
  socket(): FakeSocket;
  readonly opened: FakeSocket[];
  /** False: the server refuses handshakes. */
  accept: boolean;
}

export function openTab(setup: Setup, storage: Storage = new MemoryStorage(), userId = setup.me): Tab {
  const { clock, server, locks } = setup;
  const opened: FakeSocket[] = [];
  const tab: { accept: boolean } = { accept: true };
  const world = makeWorld({
    clock,
    random: new Random(setup.random.below(1_000_000)),
    locks,
    openSocket(url) {
      const socket = server.open(url, userId);
      opened.push(socket);
      if (!tab.accept) clock.after(10, () => socket.cut(1006));
      return socket;
    },
    fetch: (input, init) => server.fetch(userId, input, init),
  });
  const client = new Client({ baseUrl: 'http://model', storage, env: world.env });
  return Object.assign(tab, { client, world, storage, opened, socket: () => opened.at(-1) as FakeSocket });
}

/** Lets every frame through in both directions until nothing moves. */
export async function quiet(setup: Setup): Promise<void> {
  for (;;) {
    await settle();
    let moved = false;
    setup.server.release();
    for (const socket of setup.server.sockets) {
      while (setup.server.step(socket)) moved = true;
      while (socket.deliver()) moved = true;
    }
    if (!moved) return;
  }
}

/** Moves time in small steps, letting frames through in between. */
export async function run(setup: Setup, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 250) {
    await quiet(setup);
    await setup.clock.advance(Math.min(250, ms - passed));
  }
  await quiet(setup);
}

export function shown(room: RoomSnapshot | undefined): ChatMessage[] {
  return (room?.rows ?? []).flatMap((row) => (row.kind === 'message' ? [row.message] : []));
}

export function texts(room: RoomSnapshot | undefined): string[] {
  return (room?.rows ?? []).map((row) => {
    if (row.kind === 'message') return row.message.deleted ? '(deleted)' : row.message.text;
    return row.kind === 'gap' ? '(gap)' : `${row.pending.text} (${row.pending.status})`;
  });
}
