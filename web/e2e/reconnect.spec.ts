// What is written without a connection is sent once when there is one again.

import { composer, message, openRoom, say, sees, stored } from './support/chat';
import { expect, fresh, test } from './support/test';

/** What a browser says of requests that find no server. */
const UNREACHABLE = [/ERR_INTERNET_DISCONNECTED/, /ERR_CONNECTION_/, /WebSocket connection to .* failed/];

test('offline and back: what waits is sent once', async ({ person }) => {
  const room = fresh('train');
  const [ada, ben] = [await person(fresh('ada')), await person(fresh('ben'))];
  ada.expectProblems(...UNREACHABLE);
  await openRoom(ada.page, room);
  await openRoom(ben.page, room);
  await say(ada.page, 'before the tunnel');
  await sees(ben.page, 'before the tunnel');

  await ada.context.setOffline(true);
  await expect(ada.page.getByText('You’re offline.')).toBeVisible();
  await say(ada.page, 'in the tunnel');
  await say(ada.page, 'still in it');
  await expect(message(ada.page, 'still in it')).toHaveClass(/pending/);
  await expect(ada.page.getByText('Your 2 messages are kept and will be sent.')).toBeVisible();
  await say(ben.page, 'are you there?');
  await sees(ben.page, 'are you there?');
  await expect(message(ada.page, 'are you there?')).toHaveCount(0);

  await ada.context.setOffline(false);
  for (const { page } of [ada, ben]) {
    await sees(page, 'in the tunnel');
    await sees(page, 'still in it');
    await sees(page, 'are you there?');
  }
  await expect(ada.page.getByText('You’re offline.')).toHaveCount(0);
  expect(await stored(ben.page, room)).toEqual(['before the tunnel', 'are you there?', 'in the tunnel', 'still in it']);
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`the server goes with ${signal} and comes back under the open page`, async ({ person, makeServer }) => {
    const server = await makeServer();
    await server.start();
    const room = fresh('harbour');
    const ada = await person(fresh('ada'), { at: server });
    const ben = await person(fresh('ben'), { at: server });
    for (const one of [ada, ben]) one.expectProblems(...UNREACHABLE);
    await openRoom(ada.page, room);
    await openRoom(ben.page, room);
    await say(ada.page, 'before');
    await sees(ben.page, 'before');

    await server.stop(signal);
    await say(ada.page, 'written meanwhile');
    await expect(message(ada.page, 'written meanwhile')).toHaveClass(/pending/);
    await expect(ada.page.getByText('Your message is kept and will be sent.')).toBeVisible();
    await server.start();

    // Nobody touches the pages: they come back by themselves.
    for (const { page } of [ada, ben]) {
      await expect(message(page, 'written meanwhile')).toHaveAttribute('data-id', /.+/, { timeout: 40_000 });
      await expect(page.locator('.banner')).toHaveCount(0);
      await sees(page, 'written meanwhile');
    }
    await say(ben.page, 'after');
    await sees(ada.page, 'after');
    expect(await stored(ada.page, room)).toEqual(['before', 'written meanwhile', 'after']);
  });
}

test('the outbox survives a reload while the server is away', async ({ person, makeServer }) => {
  const server = await makeServer();
  await server.start();
  const room = fresh('harbour');
  const ada = await person(fresh('ada'), { at: server });
  ada.expectProblems(...UNREACHABLE);
  await openRoom(ada.page, room);
  await say(ada.page, 'before');
  await sees(ada.page, 'before');
  await server.stop('SIGKILL');
  await say(ada.page, 'kept on this device');
  await expect(ada.page.getByText('Your message is kept and will be sent.')).toBeVisible();
  await server.start();
  await ada.page.reload();
  await expect(composer(ada.page)).toBeVisible();
  await sees(ada.page, 'kept on this device');
  expect(await stored(ada.page, room)).toEqual(['before', 'kept on this device']);
});
