// The public face of the protocol client. Nothing else in this folder is meant to be imported from outside.

export { Api, type ApiOptions, type PageQuery } from './api';
export { defaultEnvironment, type Environment, type SocketLike } from './env';
export { ApiError, ClientError } from './errors';
export { type Draft, MemoryStorage, type OutboxEntry, type Storage } from './storage';
export type * from './types';
export type * from './wire';

import type { ChatClient, ClientOptions } from './types';

export declare function createClient(options?: ClientOptions): ChatClient;
export declare function openIdbStorage(name?: string): Promise<import('./storage').Storage>;
