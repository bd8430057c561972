// Shows that slow readers cost only themselves: everybody is in one room, some take their messages late. A k6 socket is
// always read by k6 itself, so slowness is made on the way: point SLOW_URL at a proxy that passes on little, such as
// toxiproxy with a `bandwidth` toxic in front of the server. `natter bench` and the project's own tests have readers
// that never read at all.
//
//   toxiproxy-cli create -l 127.0.0.1:9080 -u 127.0.0.1:8080 slow
//   toxiproxy-cli toxic add -t bandwidth -a rate=2 slow
//   k6 run -e URL=http://127.0.0.1:8080 -e SLOW_URL=http://127.0.0.1:9080 loadtest/slow-readers.js
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { CLEAN, Client, number, openAll, pause, person, touch } from './lib/chat.js';

const VUS = number('VUS', 5);
const SOCKETS = number('SOCKETS', 20);
const SLOW = number('SLOW', 5);
const RATE = number('RATE', 20);
const SECONDS = number('SECONDS', 20);
const SIZE = number('SIZE', 1000);
const ROOM = 'slow-readers';
const SLOW_URL = (__ENV.SLOW_URL || '').replace(/\/$/, '');

export const options = {
  scenarios: { crowd: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${SECONDS + 900}s` } },
  // Late is what the slow ones are; lost or twice is what nobody may be. The others' times are the point.
  thresholds: { ...CLEAN, natter_quick_delivery_ms: [`p(99)<${number('DELIVERY_P99_MS', 1000)}`] },
};

const quickDelivery = new Trend('natter_quick_delivery_ms', true);

/** A client that also keeps its own times apart from the slow ones'. */
class Quick extends Client {
  message(frame) {
    const [kind, mark, , at] = frame.message.split(' ');
    if (kind === 'load' && mark !== this.mark && !this.missing.has(frame.room)) quickDelivery.add(Date.now() - Number(at));
    super.message(frame);
  }
}

export function setup() {
  if (SLOW_URL === '') throw new Error('SLOW_URL is missing: the address of a slow proxy in front of the server');
}

export default async function () {
  touch();
  const clients = await openAll(SOCKETS, () => [ROOM], Quick);
  const slow = [];
  for (let n = 0; n < SLOW; n += 1) {
    const who = person(VUS * SOCKETS + (exec.vu.idInTest - 1) * SLOW + n);
    slow.push(new Client({ ...who, url: SLOW_URL }, [ROOM]));
  }
  await Promise.all(slow.map((client) => client.open()));
  await pause(number('SETTLE', 3) * 1000);
  const until = Date.now() + SECONDS * 1000;
  while (Date.now() < until) {
    clients[0].say(ROOM, 'x'.repeat(SIZE));
    await pause((VUS * 1000) / RATE);
  }
  await pause(3000);
  await Promise.all([...clients, ...slow].map((client) => client.close()));
}
