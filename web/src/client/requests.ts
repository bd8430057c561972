// Requests on the socket and their answers: each request has exactly one, found by its `ref`.

import type { Environment } from './env';
import { ApiError } from './errors';
import { REQUEST_TIMEOUT_MS } from './limits';
import type { ServerFrame } from './wire';

interface Open {
  readonly resolve: (frame: ServerFrame) => void;
  readonly reject: (error: ApiError) => void;
  readonly cancel: () => void;
}

export class Requests {
  readonly #env: Environment;
  readonly #send: (frame: object) => boolean;
  readonly #open = new Map<number, Open>();
  #next = 1;

  constructor(env: Environment, send: (frame: object) => boolean) {
    this.#env = env;
    this.#send = send;
  }

  /** Rejects with an `ApiError`; with code `network` it is not known whether the server has done it. */
  ask(frame: object): Promise<ServerFrame> {
    const ref = this.#next;
    this.#next += 1;
    return new Promise((resolve, reject) => {
      if (!this.#send({ ...frame, ref })) {
        reject(unreachable('There is no connection to the server.'));
        return;
      }
      const cancel = this.#env.after(REQUEST_TIMEOUT_MS, () => {
        this.#open.delete(ref);
        reject(unreachable('The server did not answer in time.'));
      });
      this.#open.set(ref, { resolve, reject, cancel });
    });
  }

  /** Settles the request that this frame answers, if it answers one. */
  answer(frame: ServerFrame): void {
    const ref = 'ref' in frame ? frame.ref : undefined;
    const open = typeof ref === 'number' ? this.#open.get(ref) : undefined;
    // `live` repeats the ref of its join, which `joined` has answered.
    if (open === undefined || frame.type === 'live') return;
    this.#open.delete(ref as number);
    open.cancel();
    if (frame.type !== 'error') {
      open.resolve(frame);
      return;
    }
    const { code, detail, retry_after } = frame;
    open.reject(new ApiError({ status: 0, code, detail: detail ?? '', retryAfter: retry_after ?? null }));
  }

  /** The socket is gone: nothing asked on it will be answered. */
  lost(): void {
    const all = [...this.#open.values()];
    this.#open.clear();
    for (const open of all) {
      open.cancel();
      open.reject(unreachable('The connection was lost before the server answered.'));
    }
  }
}

function unreachable(detail: string): ApiError {
  return new ApiError({ status: 0, code: 'network', detail });
}

/** A problem as the snapshots show it, of any error. */
export function problemOf(error: unknown): { readonly code: string; readonly detail: string } {
  if (error instanceof ApiError) return { code: error.code, detail: error.detail };
  return { code: 'internal', detail: String(error) };
}
