// Nothing for axe to complain about, in either theme; and the way round by keyboard alone.

import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { composer, message, openRoom, say, sees } from './support/chat';
import { expect, fresh, test } from './support/test';

async function noViolations(page: Page, what: string): Promise<void> {
  // Colours in the middle of a transition are nobody's colours.
  await page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter((one) => one.playState === 'running')
        .map((one) => one.finished),
    ),
  );
  const { violations } = await new AxeBuilder({ page }).analyze();
  const told = violations.map((one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`)}`);
  expect(told, what).toEqual([]);
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing in the ${colorScheme} theme`, async ({ person }) => {
    const room = fresh('hall');
    const visitor = await person(fresh('visitor'), { account: false, colorScheme });
    await visitor.page.goto('/');
    await expect(visitor.page.getByRole('heading', { name: 'Log in' })).toBeVisible();
    await noViolations(visitor.page, 'the log-in page');
    await visitor.page.getByRole('button', { name: 'Register' }).click();
    await visitor.page.getByRole('button', { name: 'Register' }).click();
    await expect(visitor.page.getByText('Choose a name.')).toBeVisible();
    await noViolations(visitor.page, 'the registration page with a problem');

    const [ada, ben] = [await person(fresh('ada'), { colorScheme }), await person(fresh('ben'), { colorScheme })];
    await ada.page.goto('/');
    await expect(ada.page.getByRole('heading', { name: 'No rooms yet' })).toBeVisible();
    await noViolations(ada.page, 'no rooms yet');
    await openRoom(ben.page, room);
    await openRoom(ada.page, room);
    await say(ben.page, `Look at https://example.org/ and \`code\`, @${ada.name}`);
    await say(ada.page, 'I will');
    await sees(ada.page, 'I will');
    await expect(ada.page.locator('.mention.mine')).toBeVisible();
    await message(ada.page, 'I will').hover();
    await noViolations(ada.page, 'a conversation with the tools of a message');

    await ada.page.getByRole('button', { name: /here; members and details/ }).click();
    await expect(ada.page.getByText('2 here now')).toBeVisible();
    await noViolations(ada.page, 'the details');
    for (const name of ['Settings', 'Keyboard shortcuts', 'Make a room', 'Write to somebody']) {
      await ada.page.getByRole('button', { name, exact: true }).click();
      await expect(ada.page.getByRole('dialog')).toBeVisible();
      await noViolations(ada.page, `the dialog “${name}”`);
      await ada.page.keyboard.press('Escape');
      await expect(ada.page.getByRole('dialog')).toHaveCount(0);
    }
  });
}

test('everything is reached without a mouse', async ({ person }) => {
  const [room, other] = [fresh('keys'), fresh('other')];
  const ada = await person(fresh('ada'));
  const { page } = ada;
  await openRoom(page, other);
  await openRoom(page, room);
  await expect(composer(page)).toBeFocused();
  await page.keyboard.type('by hand');
  await page.keyboard.press('Enter');
  await sees(page, 'by hand');

  // To the messages, and to what can be done with one.
  await page.keyboard.press('Shift+Tab');
  await expect(page.locator('.message')).toBeFocused();
  await page.keyboard.press('Tab');
  await expect(page.getByRole('button', { name: 'Reply' })).toBeFocused();
  await page.getByRole('button', { name: 'Edit' }).press('Enter');
  await expect(page.getByLabel('Edit message')).toBeFocused();
  await page.keyboard.type(', all of it');
  await page.keyboard.press('Enter');
  await expect(page.getByText('by hand, all of it')).toBeVisible();
  await expect(composer(page)).toBeFocused();

  await page.keyboard.press('Alt+ArrowDown');
  await expect(page.getByRole('heading', { level: 1, name: other })).toBeVisible();
  await page.keyboard.press('Control+k');
  await page.keyboard.type(room);
  await expect(page.getByRole('option').first()).toContainText(room);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: room })).toBeVisible();
});
