import { describe, expect, it } from 'vitest';
import { Api } from '../api';
import type { ApiError } from '../errors';
import { Store } from '../store';

function answering(status: number, body: string, headers: Record<string, string> = {}) {
  const calls: { url: string; init: RequestInit }[] = [];
  const refusals: ApiError[] = [];
  const api = new Api({
    baseUrl: 'http://model/',
    onUnauthorized: (error) => refusals.push(error),
    fetch: async (url, init) => {
      calls.push({ url, init });
      return new Response(status === 204 ? null : body, { status, headers });
    },
  });
  return { api, calls, refusals };
}

describe('the HTTP calls', () => {
  it('put each value into one segment and leave out what is not given', async () => {
    const { api, calls } = answering(200, '{"messages":[],"has_more":false}');
    await api.messages('a/b?c', { before: 'x', limit: 5 });
    expect(calls[0]?.url).toBe('http://model/api/rooms/a%2Fb%3Fc/messages?before=x&limit=5');
    expect(calls[0]?.init).toMatchObject({ method: 'GET', credentials: 'same-origin' });
    await api.register('ann', 'password');
    expect(calls[1]?.init.body).toBe('{"username":"ann","password":"password"}');
  });

  it('resolve with nothing for 204', async () => {
    const { api } = answering(204, '');
    await expect(api.logout()).resolves.toBeUndefined();
  });

  it('turn a problem document into an error with its parts', async () => {
    const body = '{"code":"rate_limited","detail":"slowly","status":429,"retry_after":2.5,"field":"username"}';
    const { api, refusals } = answering(429, body, { 'retry-after': '3' });
    const problem = { status: 429, code: 'rate_limited', detail: 'slowly', retryAfter: 2.5, field: 'username' };
    await expect(api.login('ann', 'password')).rejects.toMatchObject(problem);
    expect(refusals).toEqual([]);
  });

  it('make do with the status where something in between answers', async () => {
    const { api } = answering(502, '<html>bad gateway</html>', { 'retry-after': '7' });
    await expect(api.rooms()).rejects.toMatchObject({ status: 502, code: 'unavailable', retryAfter: 7, field: null });
    await expect(answering(200, '<html>').api.rooms()).rejects.toMatchObject({ code: 'internal' });
  });

  it('tell when nobody is logged in, but not for a wrong password', async () => {
    const gone = answering(401, '{"code":"not_logged_in","detail":"log in"}');
    await expect(gone.api.rooms()).rejects.toMatchObject({ status: 401 });
    expect(gone.refusals).toHaveLength(1);
    const wrong = answering(401, '{"code":"bad_credentials","detail":"no"}');
    await expect(wrong.api.login('ann', 'nope')).rejects.toMatchObject({ code: 'bad_credentials' });
    expect(wrong.refusals).toEqual([]);
  });

  it('say so when the server can not be reached', async () => {
    const api = new Api({ fetch: () => Promise.reject(new TypeError('no route')) });
    await expect(api.info()).rejects.toMatchObject({ status: 0, code: 'network' });
  });
});

describe('the store', () => {
  it('calls each listener once per batch, and only those of rooms that changed', () => {
    const soon: (() => void)[] = [];
    const store = new Store((callback) => soon.push(callback));
    const calls: string[] = [];
    store.subscribe(() => calls.push('all'));
    store.subscribeRoom('a', () => calls.push('a'));
    const end = store.subscribeRoom('b', () => calls.push('b'));
    store.changed('a');
    store.changed('a');
    store.changed();
    expect(soon).toHaveLength(1);
    soon.shift()?.();
    expect(calls).toEqual(['a', 'all']);
    end();
    store.changed('b');
    soon.shift()?.();
    expect(calls).toEqual(['a', 'all', 'all']);
  });
});
