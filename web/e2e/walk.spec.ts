// The walk of the README: two people, two browsers, one room.

import { act, composer, entry, message, openRoom, say, sees, sidebar, stored } from './support/chat';
import { expect, fresh, PASSWORD, test } from './support/test';

test('two people register, meet in a room and talk', async ({ person }) => {
  const room = fresh('lobby');
  const [ada, ben] = [await person(fresh('ada'), { account: false }), await person(fresh('ben'), { account: false })];
  for (const { page, name } of [ada, ben]) {
    await page.goto(`/chat/${room}`);
    await page.getByRole('button', { name: 'Register' }).click();
    await expect(page.getByRole('heading', { name: 'Register' })).toBeVisible();
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Register' }).click();
    const make = page.getByRole('button', { name: `Make the room “${room}”` });
    await expect(composer(page).or(make)).toBeVisible();
    if (name === ada.name) await make.click();
    await expect(composer(page)).toBeVisible();
    await expect(page).toHaveTitle(`${room} · Natter`);
  }

  await say(ada.page, 'Hello, is anybody here?');
  await sees(ada.page, 'Hello, is anybody here?');
  await sees(ben.page, 'Hello, is anybody here?');
  await composer(ben.page).pressSequentially('I am');
  await expect(ada.page.getByText(`${ben.name} is typing`)).toBeVisible();
  await composer(ben.page).press('Enter');
  await sees(ada.page, 'I am');
  await expect(ada.page.getByText(`${ben.name} is typing`)).toHaveCount(0);

  // Who is here.
  const here = ada.page.getByRole('button', { name: '2 here; members and details' });
  await here.click();
  const details = ada.page.getByRole('complementary', { name: `About ${room}` });
  await expect(details.getByText('2 here now')).toBeVisible();
  await expect(details.getByText(ben.name)).toBeVisible();
  await ben.page.close();
  await expect(details.getByText('1 here now')).toBeVisible();
  await details.getByRole('button', { name: 'Close' }).click();
  await expect(details).toHaveCount(0);

  // Whoever comes back finds everything.
  const again = await ben.context.newPage();
  await openRoom(again, room);
  await sees(again, 'Hello, is anybody here?');
  await sees(again, 'I am');
  expect(await stored(ada.page, room)).toEqual(['Hello, is anybody here?', 'I am']);
});

test('a message is edited, answered, deleted, and a reload keeps it so', async ({ person }) => {
  const room = fresh('desk');
  const [ada, ben] = [await person(fresh('ada')), await person(fresh('ben'))];
  await openRoom(ada.page, room);
  await openRoom(ben.page, room);
  await say(ada.page, 'Tea at fife');
  await say(ada.page, 'Never mind this one');
  await sees(ben.page, 'Never mind this one');

  // The last one with the arrow, the one before with the mouse.
  await act(ada.page, 'Tea at fife', 'Edit');
  await ada.page.getByLabel('Edit message').fill('Tea at five');
  await ada.page.getByLabel('Edit message').press('Enter');
  for (const { page } of [ada, ben]) {
    await expect(page.getByText('Tea at five')).toBeVisible();
    await expect(page.getByText('(edited)')).toBeVisible();
  }
  await act(ada.page, 'Never mind this one', 'Delete');
  await ada.page.getByRole('button', { name: 'Delete the message' }).click();
  for (const { page } of [ada, ben]) await expect(page.getByText('This message was deleted.')).toBeVisible();

  await ben.page.getByText('Tea at five').hover();
  await ben.page.getByRole('button', { name: 'Reply' }).click();
  await say(ben.page, 'I will be there');
  await sees(ada.page, 'I will be there');
  await expect(message(ada.page, 'I will be there').locator('.quote')).toContainText('Tea at five');

  // The arrow takes the last message of one's own back into a field.
  await composer(ben.page).press('ArrowUp');
  await expect(ben.page.getByLabel('Edit message')).toHaveValue('I will be there');
  await ben.page.keyboard.press('Escape');

  await composer(ada.page).fill('a draft of mine');
  await ada.page.reload();
  await expect(composer(ada.page)).toHaveValue('a draft of mine');
  await expect(ada.page.getByText('Tea at five').first()).toBeVisible();
  await expect(ada.page.getByText('This message was deleted.')).toBeVisible();
  await sees(ada.page, 'I will be there');
});

test('a direct message and unread counts reach who looks elsewhere', async ({ person }) => {
  const [room, other] = [fresh('lobby'), fresh('garden')];
  const [ada, ben] = [await person(fresh('ada')), await person(fresh('ben'))];
  await openRoom(ada.page, room);
  await openRoom(ben.page, room);
  await say(ada.page, 'first');
  await sees(ben.page, 'first');
  await openRoom(ben.page, other);

  await say(ada.page, 'second');
  await say(ada.page, 'third');
  await expect(entry(ben.page, room).getByText('2 unread')).toHaveCount(1);
  await say(ada.page, `look here @${ben.name}`);
  await expect(entry(ben.page, room).getByText('3 unread, 1 for you')).toHaveCount(1);
  await expect(ben.page).toHaveTitle(/^\(1\) /);
  // Counts are the server's: a reload has them too.
  await ben.page.reload();
  await expect(entry(ben.page, room).getByText('3 unread, 1 for you')).toHaveCount(1);

  // Somebody is found by name and written to.
  await ada.page.keyboard.press('Control+k');
  const search = ada.page.getByRole('combobox', { name: 'Go to a room or a person' });
  await search.fill(ben.name);
  await expect(ada.page.getByRole('option', { name: new RegExp(`${ben.name}.*Write to`) })).toBeVisible();
  await search.press('Enter');
  await expect(ada.page.getByRole('heading', { level: 1, name: ben.name })).toBeVisible();
  await say(ada.page, 'only for you');
  await sees(ada.page, 'only for you');
  await expect(entry(ben.page, ada.name).getByText('1 unread')).toHaveCount(1);
  await expect(entry(ben.page, ada.name).getByText('online')).toHaveCount(1);
  await entry(ben.page, ada.name).getByRole('link').click();
  await sees(ben.page, 'only for you');
  await say(ben.page, 'and this for you');
  await sees(ada.page, 'and this for you');
  await expect(entry(ben.page, ada.name).getByText(/unread/)).toHaveCount(0);

  // Back in the room, the line stands before what is new, and the mention stands out.
  await entry(ben.page, room).getByRole('link').click();
  await expect(ben.page.locator('.new-line')).toBeVisible();
  await expect(ben.page.locator('.mention.mine')).toHaveText(`@${ben.name}`);
  await expect(sidebar(ben.page).getByText(/unread/)).toHaveCount(0);

  // Presence of people: who leaves is shown as gone.
  await ben.page.close();
  await expect(entry(ada.page, ben.name).getByText('offline')).toHaveCount(1);
});

test('a name is completed, Shift and Enter breaks the line', async ({ person }) => {
  const room = fresh('lines');
  const [ada, ben] = [await person(fresh('ada')), await person(fresh('ben'))];
  await openRoom(ada.page, room);
  await openRoom(ben.page, room);
  await composer(ada.page).pressSequentially(`Good morning @${ben.name.slice(0, -1)}`);
  await expect(ada.page.getByRole('option', { name: `@${ben.name}` })).toBeVisible();
  await composer(ada.page).press('Tab');
  await expect(composer(ada.page)).toHaveValue(`Good morning @${ben.name} `);
  await composer(ada.page).press('Shift+Enter');
  await composer(ada.page).pressSequentially('how are you?');
  await composer(ada.page).press('Enter');
  await expect(ben.page.locator('.mention.mine')).toHaveText(`@${ben.name}`);
  expect(await stored(ben.page, room)).toEqual([`Good morning @${ben.name} \nhow are you?`]);
});

test('logging out closes the page everywhere, logging in opens the room again', async ({ person }) => {
  const room = fresh('door');
  const ada = await person(fresh('ada'));
  await openRoom(ada.page, room);
  await say(ada.page, 'kept');
  await sees(ada.page, 'kept');
  const second = await ada.context.newPage();
  await openRoom(second, room);
  await ada.page.getByRole('button', { name: 'Settings' }).click();
  await ada.page.getByRole('button', { name: 'Log out' }).click();
  for (const page of [ada.page, second]) await expect(page.getByRole('heading', { name: 'Log in' })).toBeVisible();

  await ada.page.getByLabel('Name').fill(ada.name);
  await ada.page.getByLabel('Password').fill('not the password');
  ada.expectProblems(/status of 401 .*\/api\/session$/);
  await ada.page.getByRole('button', { name: 'Log in' }).click();
  await expect(ada.page.getByRole('alert')).not.toHaveText('');
  await ada.page.getByLabel('Password').fill(PASSWORD);
  await ada.page.getByRole('button', { name: 'Log in' }).click();
  await sees(ada.page, 'kept');
});
