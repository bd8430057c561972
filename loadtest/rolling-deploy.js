// Shows that an upgrade at noon costs nobody a message: people talk while somebody restarts one node after the other.
// Start it, then restart the nodes (`kubectl rollout restart`, or a signal to each process); it ends by itself.
//
//   k6 run -e URL=http://127.0.0.1:8001,http://127.0.0.1:8002 -e MINUTES=5 loadtest/rolling-deploy.js
import { CLEAN, exponential, number, openAll, pause, touch } from './lib/chat.js';

const VUS = number('VUS', 5);
const SOCKETS = number('SOCKETS', 20);
const ROOMS = number('ROOMS', 20);
const EVERY = number('EVERY', 5);
const MINUTES = number('MINUTES', 2);

export const options = {
  scenarios: { people: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${MINUTES + 10}m` } },
  // Connections are closed here on purpose. Nothing may be lost, come twice or come in another order for it, and
  // nobody may get a gap to fill by hand.
  thresholds: { ...CLEAN, natter_resets: ['count==0'], natter_back_ms: [`max<${number('BACK_MAX_MS', 120000)}`] },
};

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, (index) => [`deploy-${index % ROOMS}`]);
  const until = Date.now() + MINUTES * 60 * 1000;
  const talk = async (client) => {
    while (Date.now() < until) {
      await pause(Math.min(exponential(EVERY * 1000), Math.max(0, until - Date.now())));
      client.say(client.rooms[0]);
    }
  };
  await Promise.all(clients.map(talk));
  await pause(10000);
  await Promise.all(clients.map((client) => client.close(60000)));
}
