// The pictures of the README, taken when NATTER_SCREENSHOTS is set; without it the same scene only has to come about.

import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Page } from '@playwright/test';
import { composer, entry, openRoom, say, sees } from './support/chat';
import { expect, type Person, test } from './support/test';

const FOLDER = process.env.NATTER_SCREENSHOTS === undefined ? null : resolve('../docs/images');

async function shoot(page: Page, name: string): Promise<void> {
  if (FOLDER === null) return;
  await mkdir(FOLDER, { recursive: true });
  await page.screenshot({ path: join(FOLDER, `${name}.png`), animations: 'disabled', caret: 'hide' });
}

const TALK: readonly (readonly ['mira' | 'jonas' | 'tove', string])[] = [
  ['mira', 'Morning! The tomatoes on the south side have made it through the night.'],
  ['mira', 'Two of the peppers have not.'],
  ['jonas', 'Oh no. Frost, or snails?'],
  ['mira', 'Frost. It was −1.5 °C at five. Readings are at https://weather.example.org/garden'],
  ['tove', 'I have fleece for about 12 m², you can have it today.'],
  ['jonas', '@mira shall I bring the cold frame round? It needs two people and `4 × M6` bolts.'],
  ['mira', 'Yes please! After four is good.'],
  ['tove', 'Then I will be there at four with the fleece and cake 🍰'],
];

test('the scene of the pictures', async ({ person, makeServer }) => {
  const server = await makeServer();
  await server.start();
  const visitor = await person('visitor', { at: server, account: false });
  await visitor.page.goto('/');
  await expect(visitor.page.getByRole('button', { name: 'Register' })).toBeVisible();
  await shoot(visitor.page, 'login');

  const people: Record<'mira' | 'jonas' | 'tove', Person> = {
    mira: await person('mira', { at: server }),
    jonas: await person('jonas', { at: server }),
    tove: await person('tove', { at: server }),
  };
  const { mira, jonas, tove } = people;
  for (const room of ['kitchen', 'compost', 'allotment']) {
    await openRoom(tove.page, room);
    await openRoom(mira.page, room);
  }
  await openRoom(jonas.page, 'allotment');
  const title = await tove.page.request.patch('/api/rooms/allotment', { data: { title: 'The allotment' } });
  expect(title.status()).toBe(200);
  for (const [who, text] of TALK) {
    await say(people[who].page, text);
    await expect(composer(people[who].page)).toHaveValue('');
    for (const { page } of [mira, jonas, tove])
      await expect(page.locator('.message[data-id]')).toHaveCount(TALK.findIndex((line) => line[1] === text) + 1);
  }
  await openRoom(jonas.page, 'kitchen');
  await say(jonas.page, 'Who has the big pot?');
  await sees(jonas.page, 'Who has the big pot?');
  const direct = await jonas.page.request.put('/api/direct/mira');
  const { id } = (await direct.json()) as { id: string };
  await jonas.page.goto(`/chat/${id}`);
  await say(jonas.page, 'I can fetch you with the van');
  await sees(jonas.page, 'I can fetch you with the van');
  await expect(entry(mira.page, 'jonas').getByText('1 unread')).toHaveCount(1);
  await expect(entry(mira.page, 'kitchen').getByText('1 unread')).toHaveCount(1);
  await mira.page.getByRole('button', { name: /members and details/ }).click();
  await expect(mira.page.getByRole('complementary').getByText('jonas')).toBeVisible();
  await composer(mira.page).click();
  // A page tells of it at most every 3 s, and not right after a message.
  await composer(tove.page).pressSequentially('And coffee, of course', { delay: 200 });
  await expect(mira.page.getByText('tove is typing')).toBeVisible();
  await mira.page.emulateMedia({ colorScheme: 'light' });
  await shoot(mira.page, 'chat-light');
  await mira.page.emulateMedia({ colorScheme: 'dark' });
  await shoot(mira.page, 'chat-dark');

  const phone = await mira.context.newPage();
  await phone.setViewportSize({ width: 390, height: 780 });
  await openRoom(phone, 'allotment');
  await expect(phone.locator('.message')).toHaveCount(TALK.length);
  await shoot(phone, 'phone');
});
