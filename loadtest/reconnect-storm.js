// Shows what a broken line costs: everybody is cut at once while some talk, and all come back and are caught up.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e VUS=20 -e SOCKETS=50 -e CUTS=3 loadtest/reconnect-storm.js
import { CLEAN, number, openAll, pause, touch } from './lib/chat.js';

const VUS = number('VUS', 10);
const SOCKETS = number('SOCKETS', 20);
const ROOMS = number('ROOMS', 10);
const CUTS = number('CUTS', 2);
const BETWEEN = number('BETWEEN', 10);

export const options = {
  scenarios: { storm: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: '30m' } },
  thresholds: {
    ...CLEAN,
    natter_resets: ['count==0'],
    natter_closed_unasked: [`count==${VUS * SOCKETS * CUTS}`],
    natter_back_ms: [`max<${number('BACK_MAX_MS', 30000)}`],
  },
};

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, (index) => [`storm-${index % ROOMS}`]);
  await pause(number('SETTLE', 5) * 1000);
  for (let cut = 0; cut < CUTS; cut += 1) {
    for (const client of clients) client.cut();
    const until = Date.now() + BETWEEN * 1000;
    while (Date.now() < until) {
      clients[0].say(clients[0].rooms[0]);
      await pause(500);
    }
  }
  await pause(5000);
  await Promise.all(clients.map((client) => client.close()));
}
