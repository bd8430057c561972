// Shows what reading back costs: pages at random ages of rooms that `natter seed --messages` has filled.
//
//   natter seed --users 100 --rooms 10 --messages 100000 --out users.jsonl
//   k6 run -e URL=http://127.0.0.1:8080 -e USERS_FILE=users.jsonl -e ROOMS=10 loadtest/history.js
import exec from 'k6/execution';
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';
import { idAt, number, person } from './lib/chat.js';

const ROOMS = number('ROOMS', 1);
const ROOM_PREFIX = __ENV.ROOM_PREFIX || 'bench-r';
const DAYS = number('DAYS', 30);
const LIMIT = number('LIMIT', 50);

export const options = {
  scenarios: {
    readers: {
      executor: 'constant-arrival-rate',
      rate: number('RATE', 20),
      timeUnit: '1s',
      duration: `${number('SECONDS', 20)}s`,
      preAllocatedVUs: number('VUS', 10),
      maxVUs: number('VUS', 10) * 4,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    natter_pages_wrong: ['count==0'],
    natter_page_ms: [`p(99)<${number('PAGE_P99_MS', 500)}`],
  },
};

const wrong = new Counter('natter_pages_wrong');
const page = new Trend('natter_page_ms', true);
const people = {};

export default function () {
  wrong.add(0);
  const who = people[__VU] || (people[__VU] = person(exec.vu.idInTest - 1));
  const room = `${ROOM_PREFIX}${Math.floor(Math.random() * ROOMS)}`;
  const before = idAt(Date.now() - Math.random() * DAYS * 24 * 3600 * 1000);
  const answer = http.get(`${who.url}/api/rooms/${room}/messages?limit=${LIMIT}&before=${before}`, {
    headers: { Cookie: `natter_session=${who.cookie}` },
    tags: { name: 'page' },
  });
  if (!check(answer, { 'a page is 200': (a) => a.status === 200 })) return;
  page.add(answer.timings.duration);
  const ids = answer.json('messages').map((message) => message.id);
  const sorted = [...ids].sort();
  const right = ids.every((id, n) => id === sorted[n] && id < before && (n === 0 || id !== ids[n - 1]));
  if (!right || ids.length > LIMIT) wrong.add(1);
}
