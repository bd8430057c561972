// Shows what hours do: people talk, leave, come back, and read history; memory and latency have to stay where they are.
// Watch the server's own metrics beside it (resident memory, open files, rooms, connections).
//
//   k6 run -e URL=http://127.0.0.1:8080 -e VUS=20 -e HOURS=8 loadtest/soak.js
import { CLEAN, exponential, number, openAll, pause, touch, zipf } from './lib/chat.js';

const VUS = number('VUS', 10);
const SOCKETS = number('SOCKETS', 10);
const ROOMS = number('ROOMS', 100);
const EVERY = number('EVERY', 20);
const HOURS = number('HOURS', 1);
// Seconds that somebody stays on average.
const STAY = number('STAY', 300);

export const options = {
  scenarios: { people: { executor: 'constant-vus', vus: VUS, duration: `${Math.max(1, Math.round(HOURS * 3600))}s`, gracefulStop: '10m' } },
  thresholds: {
    ...CLEAN,
    natter_closed_unasked: ['count==0'],
    natter_ack_ms: [`p(99)<${number('ACK_P99_MS', 500)}`],
    natter_delivery_ms: [`p(99)<${number('DELIVERY_P99_MS', 1000)}`],
  },
};

const pick = zipf(ROOMS);

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, () => [`soak-${pick()}`]);
  const until = Date.now() + Math.min(exponential(STAY * 1000), (HOURS * 3600 * 1000) / 2);
  const talk = async (client) => {
    while (Date.now() < until) {
      await pause(Math.min(exponential(EVERY * 1000), Math.max(0, until - Date.now())));
      client.say(client.rooms[0]);
    }
  };
  await Promise.all(clients.map(talk));
  await pause(2000);
  await Promise.all(clients.map((client) => client.close()));
}
