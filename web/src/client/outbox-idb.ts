// Storage in the browser's IndexedDB. The only file that touches it; nothing else in the client depends on it.

import { DRAFTS_MAX, OUTBOX_MAX } from './limits';
import { type Draft, MemoryStorage, type OutboxEntry, type Storage } from './storage';

const VERSION = 1;

/**
 * Opens the database. Where there is none (private windows of some browsers, no permission, a broken profile) the
 * storage is in memory: chatting works, only nothing survives a reload.
 */
export async function openIdbStorage(name = 'natter'): Promise<Storage> {
  try {
    return new IdbStorage(await open(name));
  } catch {
    return new MemoryStorage();
  }
}

function open(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, VERSION);
    request.onupgradeneeded = () => {
      const db = request.result;
      db.createObjectStore('outbox', { keyPath: 'nonce' }).createIndex('user', 'userId');
      db.createObjectStore('drafts', { keyPath: ['userId', 'roomId'] }).createIndex('user', 'userId');
    };
    request.onsuccess = () => {
      const db = request.result;
      // A newer page in another tab wants to upgrade: stand aside rather than block it.
      db.onversionchange = () => db.close();
      resolve(db);
    };
    request.onerror = () => reject(request.error ?? new Error('IndexedDB could not be opened'));
    request.onblocked = () => reject(new Error('IndexedDB is held by an older page'));
  });
}

class IdbStorage implements Storage {
  readonly #db: IDBDatabase;

  constructor(db: IDBDatabase) {
    this.#db = db;
  }

  loadOutbox(userId: string): Promise<OutboxEntry[]> {
    return this.#read('outbox', (store) => store.index('user').getAll(userId, OUTBOX_MAX));
  }

  getOutbox(nonce: string): Promise<OutboxEntry | undefined> {
    return this.#read('outbox', (store) => store.get(nonce));
  }

  putOutbox(entry: OutboxEntry): Promise<void> {
    return this.#write('outbox', (store) => store.put(entry));
  }

  deleteOutbox(nonce: string): Promise<void> {
    return this.#write('outbox', (store) => store.delete(nonce));
  }

  loadDrafts(userId: string): Promise<Draft[]> {
    return this.#read('drafts', (store) => store.index('user').getAll(userId, DRAFTS_MAX));
  }

  putDraft(draft: Draft): Promise<void> {
    return this.#write('drafts', (store) =>
      draft.text === '' ? store.delete([draft.userId, draft.roomId]) : store.put(draft),
    );
  }

  async clear(userId: string): Promise<void> {
    for (const name of ['outbox', 'drafts']) {
      const keys = await this.#read<IDBValidKey[]>(name, (store) => store.index('user').getAllKeys(userId));
      await this.#write(name, (store) => {
        for (const key of keys) store.delete(key);
      });
    }
  }

  async #read<T>(name: string, action: (store: IDBObjectStore) => IDBRequest): Promise<T> {
    const request = action(this.#db.transaction(name, 'readonly').objectStore(name));
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result as T);
      request.onerror = () => reject(request.error ?? new Error('IndexedDB could not be read'));
    });
  }

  /**
   * Resolves once it is committed. Transactions on one store run in the order in which they were made. The commit is
   * asked for at once: left to the browser it waits for an answer that a page which is going away never gets.
   */
  async #write(name: string, action: (store: IDBObjectStore) => unknown): Promise<void> {
    const transaction = this.#db.transaction(name, 'readwrite');
    action(transaction.objectStore(name));
    transaction.commit();
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error ?? new Error('IndexedDB could not be written'));
    });
  }
}
