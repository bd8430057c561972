// What somebody has begun to write, per room: in memory at once, in storage a moment later.

import type { Environment } from './env';
import { DRAFT_SAVE_MS, DRAFTS_MAX } from './limits';
import type { Storage } from './storage';

export class Drafts {
  readonly #env: Environment;
  readonly #storage: Storage;
  readonly #texts = new Map<string, string>();
  readonly #unsaved = new Set<string>();
  #userId: string | null = null;
  #cancel: (() => void) | null = null;
  #endListening: () => void = () => undefined;

  constructor(env: Environment, storage: Storage) {
    this.#env = env;
    this.#storage = storage;
  }

  async load(userId: string): Promise<void> {
    this.#userId = userId;
    this.#endListening();
    // A page that is hidden may be gone before the timer is due.
    this.#endListening = this.#env.onNetwork((event) => {
      if (event === 'sleep') this.#save();
    });
    const stored = await this.#storage.loadDrafts(userId).catch(() => []);
    if (this.#userId !== userId) return;
    for (const { roomId, text } of stored) if (!this.#texts.has(roomId)) this.#texts.set(roomId, text);
  }

  /** Saves what is not saved, then forgets. */
  unload(): void {
    this.#save();
    this.#endListening();
    this.#texts.clear();
    this.#userId = null;
  }

  get(roomId: string): string {
    return this.#texts.get(roomId) ?? '';
  }

  set(roomId: string, text: string): void {
    if (this.get(roomId) === text) return;
    this.#texts.delete(roomId);
    if (text !== '') this.#texts.set(roomId, text);
    this.#unsaved.add(roomId);
    const oldest = this.#texts.keys().next();
    if (this.#texts.size > DRAFTS_MAX && !oldest.done) {
      this.#texts.delete(oldest.value);
      this.#unsaved.add(oldest.value);
    }
    this.#cancel ??= this.#env.after(DRAFT_SAVE_MS, () => this.#save());
  }

  #save(): void {
    this.#cancel?.();
    this.#cancel = null;
    const userId = this.#userId;
    if (userId === null) return;
    for (const roomId of this.#unsaved) {
      this.#storage.putDraft({ userId, roomId, text: this.get(roomId) }).catch(() => undefined);
    }
    this.#unsaved.clear();
  }
}
