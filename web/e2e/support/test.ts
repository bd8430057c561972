// What every test starts from: a server, and people. A person is a browser context of their own; whatever their page
// complains about (the console, an exception, the content security policy) fails the test at its end.

import { type BrowserContext, type BrowserContextOptions, test as base, expect, type Page } from '@playwright/test';
import { type Seeded, Server } from './server';

export { expect };

export const PASSWORD = 'correct horse battery';

/** Answers that the browser writes into its console by itself: nobody is logged in, there is no such room. */
const EXPECTED = [/status of 401 .*\/api\/session$/, /status of 404 .*\/api\/rooms\/[^/]+$/];

export class Person {
  readonly name: string;
  readonly page: Page;
  readonly context: BrowserContext;
  readonly problems: string[] = [];
  readonly #expected: RegExp[] = [...EXPECTED];

  constructor(name: string, context: BrowserContext, page: Page) {
    this.name = name;
    this.context = context;
    this.page = page;
    page.on('console', (message) => {
      if (message.type() === 'error') this.#note(`${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.#note(`uncaught: ${error.stack ?? error.message}`));
    page.on('dialog', (dialog) => {
      this.#note(`a dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
  }

  /** Complaints that belong to what the test does, such as requests that fail without a network. */
  expectProblems(...patterns: readonly RegExp[]): void {
    this.#expected.push(...patterns);
  }

  #note(problem: string): void {
    if (!this.#expected.some((pattern) => pattern.test(problem))) this.problems.push(problem);
  }
}

interface Options extends BrowserContextOptions {
  /** Has an account and is logged in; else the person only opens the browser. */
  readonly account?: boolean;
  /** Somebody that `natter seed` made. */
  readonly seeded?: Seeded;
}

interface Fixtures {
  /** Makes a server for this test alone; it is not started yet. It goes after the people have gone. */
  readonly makeServer: () => Promise<Server>;
  /** Opens a browser for somebody. */
  readonly person: (name: string, options?: Options & { readonly at?: Server }) => Promise<Person>;
}

export const test = base.extend<Fixtures, { server: Server }>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the names of the fixtures from this pattern.
    async ({}, use) => {
      const server = await Server.make();
      await server.start();
      await use(server);
      await server.remove();
    },
    { scope: 'worker' },
  ],

  // biome-ignore lint/correctness/noEmptyPattern: as above.
  makeServer: async ({}, use) => {
    const servers: Server[] = [];
    await use(async () => {
      const server = await Server.make();
      servers.push(server);
      return server;
    });
    for (const server of servers) await server.remove();
  },

  person: async ({ browser, server, makeServer: _ }, use) => {
    const people: Person[] = [];
    await use(async (name, { account = true, seeded, at = server, ...options } = {}) => {
      const context = await browser.newContext({ baseURL: at.url, ...options });
      await context.addInitScript(() => {
        document.addEventListener('securitypolicyviolation', (event) => {
          console.error(`content security policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
        });
      });
      if (seeded !== undefined) {
        const [key = '', value = ''] = seeded.cookie.split('=');
        await context.addCookies([{ name: key, value, url: at.url, httpOnly: true, sameSite: 'Lax' }]);
      } else if (account) {
        const answer = await context.request.post('/api/users', { data: { username: name, password: PASSWORD } });
        expect(answer.status(), await answer.text()).toBe(201);
      }
      const person = new Person(name, context, await context.newPage());
      people.push(person);
      return person;
    });
    for (const person of people) {
      expect.soft(person.problems, `what ${person.name}'s page complained about`).toEqual([]);
      await person.context.close();
    }
  },
});

let serial = 0;

/** A name that no other test uses. */
export function fresh(prefix: string): string {
  serial += 1;
  return `${prefix}-${process.pid}-${serial}`;
}
