// Short notices that come and go by themselves. Whatever needs an answer is not one of them.

import { useEffect, useSyncExternalStore } from 'react';
import { TOAST_TIME, TOASTS } from '../logic/limits';
import { useNotices } from './context';
import { Icon } from './icons';

interface Toast {
  readonly key: number;
  readonly text: string;
}

let toasts: readonly Toast[] = [];
let serial = 0;
const listeners = new Set<() => void>();

function change(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

export function toast(text: string): void {
  serial += 1;
  change([...toasts, { key: serial, text }].slice(-TOASTS));
}

const REMOVED = {
  left: 'You left',
  kicked: 'You were removed from',
  banned: 'You were banned from',
  deleted: 'This room was deleted:',
  archived: 'This room is read-only now:',
} as const;

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  useNotices((notice) => {
    if (notice.what === 'invited') toast(`${notice.by} added you to ${notice.room}.`);
    else if (notice.what === 'removed') toast(`${REMOVED[notice.reason]} ${notice.room}.`);
  });
  return (
    <div className="toasts" role="status">
      {shown.map((entry) => (
        <ToastLine key={entry.key} entry={entry} />
      ))}
    </div>
  );
}

function ToastLine({ entry }: { readonly entry: Toast }) {
  useEffect(() => {
    const timer = setTimeout(() => dismiss(entry.key), TOAST_TIME);
    return () => clearTimeout(timer);
  }, [entry.key]);
  return (
    <div className="toast popover">
      <span>{entry.text}</span>
      <button type="button" className="icon-button" aria-label="Dismiss" onClick={() => dismiss(entry.key)}>
        <Icon name="close" />
      </button>
    </div>
  );
}

function dismiss(key: number): void {
  change(toasts.filter((entry) => entry.key !== key));
}
