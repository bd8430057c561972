// What people write is text, whatever it looks like.

import { composer, openRoom } from './support/chat';
import { expect, fresh, test } from './support/test';

/** Each would set `window.harmed`, open a dialog or ask another server if it ran. */
const CORPUS: readonly string[] = [
  '<script>window.harmed = 1</script>',
  '<ScRiPt src="//evil.invalid/x.js"></sCrIpT>',
  '<img src=x onerror="window.harmed = 2">',
  '"><img src=x onerror=window.harmed=3>',
  "'><svg/onload=window.harmed=4>",
  '<svg><script>window.harmed=5</script></svg>',
  '<math><mtext><table><mglyph><style><img src=x onerror=window.harmed=6>',
  '<iframe srcdoc="<script>parent.harmed=7</script>"></iframe>',
  '<object data="javascript:window.harmed=8"></object>',
  '<a href="javascript:window.harmed=9">press me</a>',
  'javascript:window.harmed=10',
  'java\tscript:alert(11)',
  'data:text/html,<script>alert(12)</script>',
  'vbscript:msgbox(13)',
  '<body onload=alert(14)>',
  '<input autofocus onfocus=alert(15)>',
  '<details open ontoggle=alert(16)>',
  '<style>@import "//evil.invalid/x.css"; * { display: none }</style>',
  '<base href="//evil.invalid/">',
  '<meta http-equiv="refresh" content="0;url=//evil.invalid/">',
  '<form action="//evil.invalid/"><button>Log in again</button></form>',
  '{{constructor.constructor("window.harmed=17")()}} \u0024{window.harmed=18} #{harmed}',
  '&lt;script&gt;window.harmed=19&lt;/script&gt; &#x3C;img&#x3E;',
  'https://example.org/"onmouseover="window.harmed=20',
  "https://example.org/'><img src=x onerror=window.harmed=21>",
  'http://javascript:alert(22)@example.org/',
  '@<b>bold</b> @"onclick=alert(23)',
  '</textarea></title></li></ol><script>window.harmed=24</script>',
  '<!--><script>window.harmed=25</script-->',
  '\u202Egnp.exe \u2066hidden\u2069 \u200Bzero\u200Dwidth',
  '__proto__ constructor toString hasOwnProperty',
  '%3Cscript%3Ealert(26)%3C/script%3E',
];

test('scripts, markup and addresses that lie are shown as they were written', async ({ person, server }) => {
  const room = fresh('corpus');
  const [ada, ben] = [await person(fresh('ada')), await person(fresh('ben'))];
  const asked: string[] = [];
  ben.page.on('request', (request) => {
    if (!request.url().startsWith(server.url)) asked.push(request.url());
  });
  await openRoom(ada.page, room);
  await openRoom(ben.page, room);
  for (const [index, text] of CORPUS.entries()) {
    await composer(ada.page).fill(text);
    await composer(ada.page).press('Escape');
    await composer(ada.page).press('Enter');
    await expect(ada.page.locator('.message[data-id]')).toHaveCount(index + 1);
  }
  const title = await ada.page.request.patch(`/api/rooms/${room}`, {
    data: { title: '<img src=x onerror=window.harmed=30>' },
  });
  expect(title.status()).toBe(200);

  const check = async () => {
    for (const { page } of [ada, ben]) {
      await expect(page.locator('.message-text')).toHaveText(CORPUS.map((text) => text.replace(/\s+/g, ' ')));
      await expect(page.getByRole('heading', { level: 1 })).toHaveText('<img src=x onerror=window.harmed=30>');
      const found = await page.evaluate(() => ({
        harmed: (window as unknown as { harmed?: unknown }).harmed ?? null,
        // What a message may be made of, beside text.
        elements: [...document.querySelectorAll('.message-text *')].map((one) => one.tagName.toLowerCase()),
        addresses: [...document.querySelectorAll<HTMLAnchorElement>('.message-text a')].map((link) => link.protocol),
        relations: [...document.querySelectorAll<HTMLAnchorElement>('.message-text a')].map((link) => link.rel),
        handlers: [...document.querySelectorAll('.message, .message *')].flatMap((one) =>
          one.getAttributeNames().filter((name) => name.startsWith('on')),
        ),
      }));
      expect(found.harmed).toBeNull();
      expect([...new Set(found.elements)].filter((name) => !['a', 'span', 'code', 'pre'].includes(name))).toEqual([]);
      expect([...new Set(found.addresses)].filter((name) => name !== 'https:' && name !== 'http:')).toEqual([]);
      expect([...new Set(found.relations)].filter((value) => value !== 'noopener noreferrer')).toEqual([]);
      expect(found.handlers).toEqual([]);
    }
  };
  await check();
  // From history too, and under the mouse.
  await ben.page.reload();
  await check();
  for (const link of await ben.page.locator('.message-text a').all()) await link.hover();
  await check();
  expect(asked, 'requests to other servers').toEqual([]);
});

test('names that are no names are refused, and said so as text', async ({ person }) => {
  const ada = await person(fresh('ada'));
  ada.expectProblems(/status of 422 /);
  await ada.page.goto(`/chat/${encodeURIComponent('<img src=x onerror=alert(1)>')}`);
  await expect(ada.page.getByRole('alert')).toContainText('<img src=x onerror=alert(1)>');
  await expect(ada.page.locator('main img')).toHaveCount(0);
});
