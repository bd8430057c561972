// The public face of the protocol client. Nothing else in this folder is meant to be imported from outside.

export { Api, type ApiOptions, type PageQuery } from './api';
export { createClient } from './client';
export { defaultEnvironment, type Environment, type NetworkEvent, type SocketLike } from './env';
export { ApiError, ClientError } from './errors';
export { MAX_ID } from './ids';
export { openIdbStorage } from './outbox-idb';
export { type Draft, MemoryStorage, type OutboxEntry, type Storage } from './storage';
export type * from './types';
export type * from './wire';
