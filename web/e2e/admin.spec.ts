// A superuser at work: whom they disable is logged out at once, and the audit log says who did it.

import AxeBuilder from '@axe-core/playwright';
import { openRoom, say, sees } from './support/chat';
import { expect, fresh, PASSWORD, test } from './support/test';

test('a disabled user is out at once, everywhere', async ({ person, server }) => {
  const room = fresh('office');
  const [root, ben] = [await person(fresh('root'), { account: false }), await person(fresh('ben'))];
  await server.makeSuperuser(root.name, PASSWORD);
  await root.page.goto('/');
  await root.page.getByLabel('Name').fill(root.name);
  await root.page.getByLabel('Password').fill(PASSWORD);
  await root.page.getByRole('button', { name: 'Log in' }).click();
  await openRoom(ben.page, room);
  await say(ben.page, 'still here');
  await sees(ben.page, 'still here');

  await root.page.getByRole('link', { name: 'Admin' }).click();
  await root.page.getByRole('tab', { name: 'Users' }).click();
  await root.page.getByLabel('Name begins with').fill(ben.name);
  await root.page.getByRole('button', { name: `Actions for ${ben.name}` }).click();
  await root.page.getByRole('menuitem', { name: `Disable ${ben.name}` }).click();
  await root.page
    .getByRole('alertdialog')
    .getByRole('button', { name: `Disable ${ben.name}` })
    .click();
  await expect(root.page.getByText(`${ben.name} is disabled.`)).toBeVisible();

  await expect(ben.page.getByRole('heading', { name: 'Log in' })).toBeVisible();
  await expect(ben.page.getByText('This account is disabled.')).toBeVisible();
  await ben.page.getByLabel('Name').fill(ben.name);
  await ben.page.getByLabel('Password').fill(PASSWORD);
  await ben.page.getByRole('button', { name: 'Log in' }).click();
  await expect(ben.page.getByRole('alert').filter({ hasText: /./ })).toBeVisible();
  await expect(ben.page.getByRole('heading', { name: 'Log in' })).toBeVisible();

  // Taken back, they are in again.
  await root.page.getByRole('button', { name: `Undo: Enable ${ben.name}` }).click();
  await expect(root.page.getByText(`${ben.name} is enabled and can log in again.`)).toBeVisible();
  await ben.page.getByRole('button', { name: 'Log in' }).click();
  await sees(ben.page, 'still here');

  await root.page.getByRole('tab', { name: 'Audit log' }).click();
  await expect(root.page.getByText(ben.name).first()).toBeVisible();
});

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing in the admin area, ${colorScheme}`, async ({ person, server }) => {
    const root = await person(fresh('root'), { colorScheme });
    await server.makeSuperuser(root.name, PASSWORD);
    await root.page.goto('/admin');
    for (const tab of ['Live figures', 'Users', 'Rooms', 'Messages', 'Audit log', 'Invites']) {
      await root.page.getByRole('tab', { name: tab }).click();
      await expect(root.page.getByRole('tabpanel')).toBeVisible();
      await expect(root.page.getByRole('status', { name: 'Loading' })).toHaveCount(0);
      const { violations } = await new AxeBuilder({ page: root.page }).analyze();
      const told = violations.map(
        (one) => `${one.id}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`)}`,
      );
      expect(told, tab).toEqual([]);
    }
  });
}

test('nobody else gets in', async ({ person }) => {
  const ada = await person(fresh('ada'));
  await ada.page.goto('/admin');
  await expect(ada.page.getByText('who is not a superuser')).toBeVisible();
  expect((await ada.page.request.get('/api/admin/users')).status()).toBe(403);
});
