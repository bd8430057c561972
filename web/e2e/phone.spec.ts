// The same on a phone: one pane at a time, touch instead of a mouse, and the way back closes what lies on top.

import AxeBuilder from '@axe-core/playwright';
import { composer, entry, message, openRoom, say, sees, sidebar } from './support/chat';
import { expect, fresh, test } from './support/test';

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };

test('list, room, details and back on a phone', async ({ person }) => {
  const room = fresh('pocket');
  const ada = await person(fresh('ada'), PHONE);
  const ben = await person(fresh('ben'));
  const { page } = ada;
  await openRoom(ben.page, room);
  await openRoom(page, room);
  await expect(sidebar(page)).toBeHidden();
  await composer(page).fill('from my pocket');
  await page.getByRole('button', { name: 'Send' }).tap();
  await sees(ben.page, 'from my pocket');

  await page.getByRole('button', { name: 'Back to the list' }).tap();
  await expect(sidebar(page)).toBeVisible();
  await expect(composer(page)).toBeHidden();
  await say(ben.page, 'still there?');
  await expect(entry(page, room).getByText('1 unread')).toHaveCount(1);
  await entry(page, room).getByRole('link').tap();
  await sees(page, 'still there?');

  await page.getByRole('button', { name: /members and details/ }).tap();
  await expect(page.getByRole('complementary')).toBeVisible();
  await expect(composer(page)).toBeHidden();
  await page.goBack();
  await expect(composer(page)).toBeVisible();

  // A touch opens what can be done with a message.
  await message(page, 'from my pocket').tap();
  await page.getByRole('button', { name: 'Delete' }).tap();
  await page.getByRole('button', { name: 'Delete the message' }).tap();
  await expect(ben.page.getByText('This message was deleted.')).toBeVisible();

  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(wide, 'nothing is wider than the screen').toBeLessThanOrEqual(0);
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.html)}`)).toEqual([]);
});
