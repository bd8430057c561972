// What has to survive a reload: messages not acknowledged yet, and drafts. One small interface, so that the client
// depends on no browser: IndexedDB in outbox-idb.ts, memory here.

/** One message that waits for its acknowledgement. */
export interface OutboxEntry {
  /** Made once; it is what lets the server recognise a retry. */
  readonly nonce: string;
  readonly userId: string;
  readonly roomId: string;
  readonly text: string;
  readonly replyTo: string | null;
  /** Milliseconds since 1970; entries of a room are sent in this order, then by `seq`. */
  readonly createdAt: number;
  readonly seq: number;
  /** Set once it has failed for good. */
  readonly problem: { readonly code: string; readonly detail: string } | null;
}

export interface Draft {
  readonly userId: string;
  readonly roomId: string;
  readonly text: string;
}

/** Operations on one key take effect in the order called. A rejected promise costs durability, never a message. */
export interface Storage {
  loadOutbox(userId: string): Promise<OutboxEntry[]>;
  getOutbox(nonce: string): Promise<OutboxEntry | undefined>;
  putOutbox(entry: OutboxEntry): Promise<void>;
  deleteOutbox(nonce: string): Promise<void>;
  loadDrafts(userId: string): Promise<Draft[]>;
  /** An empty text deletes the draft. */
  putDraft(draft: Draft): Promise<void>;
  /** Forgets all that belongs to a user. */
  clear(userId: string): Promise<void>;
}

/** Storage that lives as long as the object: for tests and for programs that need no more. */
export class MemoryStorage implements Storage {
  readonly #outbox = new Map<string, OutboxEntry>();
  readonly #drafts = new Map<string, Draft>();

  async loadOutbox(userId: string): Promise<OutboxEntry[]> {
    return [...this.#outbox.values()].filter((entry) => entry.userId === userId);
  }

  async getOutbox(nonce: string): Promise<OutboxEntry | undefined> {
    return this.#outbox.get(nonce);
  }

  async putOutbox(entry: OutboxEntry): Promise<void> {
    this.#outbox.set(entry.nonce, entry);
  }

  async deleteOutbox(nonce: string): Promise<void> {
    this.#outbox.delete(nonce);
  }

  async loadDrafts(userId: string): Promise<Draft[]> {
    return [...this.#drafts.values()].filter((draft) => draft.userId === userId);
  }

  async putDraft(draft: Draft): Promise<void> {
    const key = `${draft.userId} ${draft.roomId}`;
    if (draft.text === '') this.#drafts.delete(key);
    else this.#drafts.set(key, draft);
  }

  async clear(userId: string): Promise<void> {
    for (const [key, entry] of this.#outbox) if (entry.userId === userId) this.#outbox.delete(key);
    for (const [key, draft] of this.#drafts) if (draft.userId === userId) this.#drafts.delete(key);
  }
}
