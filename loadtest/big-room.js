// Shows the fan-out: everybody is in one room, a few talk.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e VUS=20 -e SOCKETS=50 -e RATE=10 -e SECONDS=60 loadtest/big-room.js
import { CLEAN, number, openAll, pause, touch } from './lib/chat.js';

const VUS = number('VUS', 10);
const SOCKETS = number('SOCKETS', 20);
// Messages per second, of all together.
const RATE = number('RATE', 10);
const SECONDS = number('SECONDS', 20);
const ROOM = __ENV.ROOM || 'big-room';

export const options = {
  scenarios: { crowd: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${SECONDS + 600}s` } },
  thresholds: {
    ...CLEAN,
    natter_closed_unasked: ['count==0'],
    natter_delivery_ms: [`p(99)<${number('DELIVERY_P99_MS', 1000)}`],
  },
};

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, () => [ROOM]);
  // Everybody has to be there before anybody talks.
  await pause(number('SETTLE', 5) * 1000);
  const until = Date.now() + SECONDS * 1000;
  const gap = (VUS * 1000) / RATE;
  await pause(Math.random() * gap);
  while (Date.now() < until) {
    clients[0].say(ROOM);
    await pause(gap);
  }
  await pause(3000);
  await Promise.all(clients.map((client) => client.close()));
}
