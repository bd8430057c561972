// Shows how fast a server lets people in: connections come at a rate and stay, each in a room, until all are there.
//
//   k6 run -e URL=http://127.0.0.1:8080 -e VUS=20 -e SOCKETS=50 -e HOLD=20 loadtest/connect-ramp.js
import exec from 'k6/execution';
import { CLEAN, counts, number, openAll, pause, touch } from './lib/chat.js';

const VUS = number('VUS', 10);
const SOCKETS = number('SOCKETS', 20);
const ROOMS = number('ROOMS', 20);
const HOLD = number('HOLD', 10);
const RAMP = number('RAMP', 10);

export const options = {
  scenarios: { ramp: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: '30m' } },
  thresholds: {
    ...CLEAN,
    natter_connected: [`count==${VUS * SOCKETS}`],
    natter_refused: ['count==0'],
    natter_closed_unasked: ['count==0'],
    natter_connect_ms: [`p(99)<${number('CONNECT_P99_MS', 2000)}`],
  },
};

export default async function () {
  touch();
  await pause(((exec.vu.idInTest - 1) / VUS) * RAMP * 1000);
  const clients = await openAll(SOCKETS, (index) => [`ramp-${index % ROOMS}`]);
  await pause(HOLD * 1000);
  await Promise.all(clients.map((client) => client.close()));
  counts.errors.add(0);
}
