// Ten thousand messages: scrolled to the first and back while new ones arrive, and the view never jumps.

import type { Page } from '@playwright/test';
import { composer, sees } from './support/chat';
import { expect, test } from './support/test';

const MESSAGES = 10_000;
/** More than one screen and less than two, so that every message comes into view or next to it. */
const STEP = 1_500;
/** Milliseconds between two messages that arrive. */
const PACE = 150;
/** Far more steps than the room needs: what ends a scroll that does not arrive. */
const STEPS_MOST = 2_000;

interface Walk {
  readonly steps: number;
  /** Greatest movement of a row that stayed in view, beside the scrolling itself. Pixels. */
  readonly drift: number;
  readonly arrived: boolean;
  readonly oldest: string;
}

/**
 * Scrolls in the page, screen by screen, until `[data-gap]`, the skeleton and what is beyond are gone. Each step
 * compares where one row stands with where the scrolling alone has put it.
 */
async function scroll(page: Page, direction: 'up' | 'down'): Promise<Walk> {
  return page.evaluate(
    async ({ direction, step, most }) => {
      const view = document.querySelector<HTMLElement>('.timeline-scroller');
      if (view === null) throw new Error('there is no list of messages');
      const frame = () => new Promise((done) => requestAnimationFrame(done));
      const place = (row: Element) => row.getBoundingClientRect().bottom;
      const middle = () => {
        const box = view.getBoundingClientRect();
        const rows = [...view.querySelectorAll('[data-anchor]')];
        return rows.find((row) => place(row) > box.top + box.height / 2) ?? rows.at(-1);
      };
      const arrived = () =>
        direction === 'up'
          ? view.querySelector('.beginning') !== null && view.scrollTop === 0
          : document.querySelector('.jump') === null && view.querySelector('[data-gap]') === null;
      let drift = 0;
      let steps = 0;
      while (!arrived() && steps < most) {
        steps += 1;
        const row = middle();
        if (row === undefined) throw new Error('the list holds no message');
        const before = place(row);
        const from = view.scrollTop;
        // Whoever flings past what is still being fetched lands beyond it; this walk waits for it.
        const gap = direction === 'down' ? view.querySelector('[data-gap]') : null;
        const room = gap === null ? step : gap.getBoundingClientRect().top - view.getBoundingClientRect().bottom + 40;
        view.scrollTop = from + (direction === 'up' ? -step : Math.max(0, Math.min(step, room)));
        const expected = before - (view.scrollTop - from);
        // Long enough for the scroll event, a page of history and its drawing.
        for (let frames = 0; frames < 4; frames += 1) await frame();
        const atEnd = document.querySelector('.jump') === null;
        if (row.isConnected && !atEnd) drift = Math.max(drift, Math.abs(place(row) - expected));
      }
      const oldest = view.querySelector('.message-text')?.textContent ?? '';
      return { steps, drift, arrived: arrived(), oldest };
    },
    { direction, step: STEP, most: STEPS_MOST },
  );
}

test('a room of 10,000 messages is scrolled to its start and back', async ({ person, makeServer }) => {
  test.setTimeout(150_000);
  const server = await makeServer();
  const [reader, writer] = await server.seed('long', 3, MESSAGES);
  if (reader === undefined || writer === undefined) throw new Error('natter seed made no users');
  await server.start();
  const ada = await person(reader.username, { at: server, seeded: reader });
  const ben = await person(writer.username, { at: server, seeded: writer });
  await ada.page.goto('/chat/long-r0');
  await expect(composer(ada.page)).toBeVisible();
  await ben.page.goto('/chat/long-r0');
  await expect(composer(ben.page)).toBeVisible();

  // Messages come the whole time, through a socket of the other page.
  await ben.page.evaluate(
    (pace) =>
      new Promise<void>((ready) => {
        const socket = new WebSocket(`${window.location.origin.replace('http', 'ws')}/ws/chat/long-r0/`);
        let sent = 0;
        const state = window as unknown as { finish: () => Promise<number> };
        const acks = new Set<string>();
        socket.onmessage = (event) => {
          const frame = JSON.parse(String(event.data)) as { type: string; nonce?: string };
          if (frame.type === 'live') ready();
          if (frame.type === 'ack' && frame.nonce !== undefined) acks.add(frame.nonce);
        };
        const timer = setInterval(() => {
          if (socket.readyState !== WebSocket.OPEN) return;
          sent += 1;
          socket.send(JSON.stringify({ type: 'send', message: `arriving ${sent}`, nonce: `arriving-${sent}` }));
        }, pace);
        state.finish = async () => {
          clearInterval(timer);
          while (acks.size < sent) await new Promise((done) => setTimeout(done, 20));
          return sent;
        };
      }),
    PACE,
  );
  await expect(ada.page.getByText('arriving 1', { exact: true })).toBeVisible();

  const up = await scroll(ada.page, 'up');
  expect(up.arrived, `the start was reached after ${up.steps} steps`).toBe(true);
  expect(up.drift, 'movement on the way up').toBeLessThanOrEqual(1);
  const page = await ada.page.request.get('/api/rooms/long-r0/messages?after=00000000-0000-7000-8000-000000000000');
  const { messages } = (await page.json()) as { messages: readonly { message: string }[] };
  expect(up.oldest).toBe(messages[0]?.message);
  await expect(ada.page.getByRole('button', { name: /Jump to latest.*\d+\+? new/ })).toBeVisible();

  const down = await scroll(ada.page, 'down');
  expect(down.arrived, `the end was reached after ${down.steps} steps`).toBe(true);
  expect(down.drift, 'movement on the way down').toBeLessThanOrEqual(1);
  const sent = await ben.page.evaluate(() => (window as unknown as { finish: () => Promise<number> }).finish());
  expect(sent).toBeGreaterThan(20);
  await sees(ada.page, `arriving ${sent}`);
  await expect(ada.page.getByText(`arriving ${sent}`, { exact: true })).toBeInViewport();
  // Nothing is missing at the end, and nothing is there twice.
  const shown = await ada.page.locator('.message-text').allTextContents();
  const last = shown.filter((text) => text.startsWith('arriving ')).slice(-20);
  expect(last).toEqual(Array.from({ length: 20 }, (_, index) => `arriving ${sent - 19 + index}`));
});
