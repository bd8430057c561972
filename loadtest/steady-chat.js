// Shows an ordinary day: people are in a few rooms each, most rooms are quiet and some are not (Zipf), and everybody
// says something every EVERY seconds on average, at random times.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e VUS=20 -e SOCKETS=25 -e MINUTES=5 loadtest/steady-chat.js
import { CLEAN, exponential, number, openAll, pause, touch, zipf } from './lib/chat.js';

const VUS = number('VUS', 10);
const SOCKETS = number('SOCKETS', 20);
const ROOMS = number('ROOMS', 50);
const ROOMS_EACH = number('ROOMS_EACH', 3);
const EVERY = number('EVERY', 20);
const MINUTES = number('MINUTES', 1);

export const options = {
  scenarios: { people: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${MINUTES + 10}m` } },
  thresholds: {
    ...CLEAN,
    natter_closed_unasked: ['count==0'],
    natter_ack_ms: [`p(99)<${number('ACK_P99_MS', 500)}`],
    natter_delivery_ms: [`p(99)<${number('DELIVERY_P99_MS', 1000)}`],
  },
};

const pick = zipf(ROOMS);

function roomsOf() {
  const rooms = new Set();
  while (rooms.size < Math.min(ROOMS_EACH, ROOMS)) rooms.add(`steady-${pick()}`);
  return [...rooms];
}

/** Talks until the time is over. */
export async function talk(client, until) {
  for (;;) {
    const wait = exponential(EVERY * 1000);
    if (Date.now() + wait >= until) break;
    await pause(wait);
    client.say(client.rooms[Math.floor(Math.random() * client.rooms.length)]);
  }
  await pause(Math.max(0, until - Date.now()));
}

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, roomsOf);
  const until = Date.now() + MINUTES * 60 * 1000;
  await Promise.all(clients.map((client) => talk(client, until)));
  await pause(2000);
  await Promise.all(clients.map((client) => client.close()));
}
