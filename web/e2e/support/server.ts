// A real server of the test: its own folder for data, its own port, and a way to die and come back.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const BINARY = process.env.NATTER_BIN ?? resolve('../target/debug/natter');
const READY = 'listening on ';
const run = promisify(execFile);
/** The server takes its configuration from such variables, and refuses those of the tests. */
const ENVIRONMENT = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('NATTER_')));

/** A user that `natter seed` made. */
export interface Seeded {
  readonly username: string;
  readonly id: string;
  /** `name=value`. */
  readonly cookie: string;
}

export class Server {
  readonly data: string;
  /** For example `http://127.0.0.1:40123`; the same after a restart. */
  url = '';
  #process: ChildProcess | null = null;
  #said = '';

  private constructor(data: string) {
    this.data = data;
  }

  static async make(): Promise<Server> {
    return new Server(await mkdtemp(join(tmpdir(), 'natter-e2e-')));
  }

  /** Starts it; a second time on the port of the first. */
  async start(): Promise<this> {
    const listen = this.url === '' ? '127.0.0.1:0' : new URL(this.url).host;
    const options = ['--listen', listen, '--admin-listen', '127.0.0.1:0', '--data-dir', this.data, '--limits', 'off'];
    const child = spawn(BINARY, ['serve', ...options], { env: ENVIRONMENT, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    child.stderr.on('data', (text: Buffer) => {
      this.#said = (this.#said + text.toString()).slice(-4000);
    });
    this.url = await new Promise<string>((found, failed) => {
      child.once('error', failed);
      child.once('exit', (code) => failed(new Error(`the server ended with ${code}: ${this.#said}`)));
      createInterface({ input: child.stdout }).on('line', (line) => {
        if (line.startsWith(READY)) found(line.slice(READY.length).trim().replace(/\/$/, ''));
      });
    });
    return this;
  }

  /** Ends it: SIGTERM as an operator does, SIGKILL as a power cut does. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    this.#process = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise<void>((done) => child.once('exit', () => done()));
    child.kill(signal);
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop('SIGKILL');
    await rm(this.data, { recursive: true, force: true });
  }

  /** Fills the store before the first start: rooms are called PREFIX-r0 and so on. */
  async seed(prefix: string, users: number, messages: number): Promise<readonly Seeded[]> {
    const out = join(this.data, `${prefix}.jsonl`);
    const counts = ['--users', `${users}`, '--rooms', '1', '--members', `${users}`, '--messages', `${messages}`];
    await run(BINARY, ['seed', '--data-dir', this.data, '--prefix', prefix, '--out', out, ...counts], {
      env: ENVIRONMENT,
    });
    const lines = (await readFile(out, 'utf8')).trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Seeded);
  }

  async makeSuperuser(username: string, password: string): Promise<void> {
    await run(BINARY, ['createsuperuser', '--data-dir', this.data, '--username', username], {
      env: { ...ENVIRONMENT, NATTER_SUPERUSER_PASSWORD: password },
    });
  }
}
