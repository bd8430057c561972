// The client as a person uses it: by roles, labels and what is to be read.

import { expect, type Locator, type Page } from '@playwright/test';

export const composer = (page: Page): Locator => page.locator('textarea#composer');

/** The messages whose text is exactly this. */
export function message(page: Page, text: string): Locator {
  return page.locator('.message').filter({ has: page.locator('.message-text').getByText(text, { exact: true }) });
}

export const sidebar = (page: Page): Locator => page.getByRole('navigation', { name: 'Rooms and people' });

/** A room's or person's line in the sidebar. */
export function entry(page: Page, label: string): Locator {
  return sidebar(page)
    .getByRole('listitem')
    .filter({ has: page.locator('.room-link-label').getByText(label, { exact: true }) });
}

/** Opens a room by its address, and makes it if there is none of that name. */
export async function openRoom(page: Page, room: string): Promise<void> {
  await page.goto(`/chat/${room}`);
  const make = page.getByRole('button', { name: `Make the room “${room}”` });
  await expect(composer(page).or(make)).toBeVisible();
  if (await make.isVisible()) await make.click();
  await expect(composer(page)).toBeVisible();
}

export async function say(page: Page, text: string): Promise<void> {
  await composer(page).fill(text);
  await composer(page).press('Enter');
}

/** Waits until the message stands there once, stored by the server. */
export async function sees(page: Page, text: string): Promise<void> {
  await expect(message(page, text)).toHaveCount(1);
  await expect(message(page, text)).toHaveAttribute('data-id', /.+/);
}

/** Texts of a room's newest messages, as the server has them. */
export async function stored(page: Page, room: string): Promise<readonly string[]> {
  const answer = await page.request.get(`/api/rooms/${room}/messages?limit=200`);
  expect(answer.status()).toBe(200);
  const { messages } = (await answer.json()) as { messages: readonly { message: string }[] };
  return messages.map((one) => one.message);
}

/** Opens a message's tools with the mouse, and presses one. */
export async function act(page: Page, text: string, tool: 'Reply' | 'Edit' | 'Delete'): Promise<void> {
  await message(page, text).hover();
  await message(page, text).getByRole('button', { name: tool, exact: true }).click();
}
