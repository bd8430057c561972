// What the keyboard does wherever the focus is. A component that has used a key prevents its default.

import { useEffect } from 'react';
import { useLatest } from '../parts/context';

interface Keys {
  readonly openSwitcher: () => void;
  readonly openHelp: () => void;
  readonly step: (by: 1 | -1, unreadOnly: boolean) => void;
  /** Something lies on top and has the keyboard. */
  readonly blocked: boolean;
}

/** Events between parts of the page that are far from each other. */
export const MARK_READ = 'natter:mark-read';

export const isMac = /Mac|iPhone|iPad/.test(navigator.platform);

/** What the key is called here. */
export const modKey = isMac ? '⌘' : 'Ctrl';

export function useKeys(keys: Keys): void {
  const latest = useLatest(keys);
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing) return;
      const { openSwitcher, openHelp, step, blocked } = latest.current;
      const mod = isMac ? event.metaKey : event.ctrlKey;
      if (mod && !event.altKey && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        if (!blocked) openSwitcher();
      } else if (blocked) {
        return;
      } else if (event.altKey && !mod && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
        event.preventDefault();
        step(event.key === 'ArrowDown' ? 1 : -1, event.shiftKey);
      } else if (event.key === 'Escape') {
        window.dispatchEvent(new Event(MARK_READ));
      } else if (
        !event.altKey &&
        !event.ctrlKey &&
        !event.metaKey &&
        event.key.length === 1 &&
        !isEditable(event.target)
      ) {
        if (event.key === '?') {
          event.preventDefault();
          openHelp();
        } else if (event.key !== ' ') {
          // Whoever starts to write wants the message field; the key itself still arrives there.
          document.getElementById('composer')?.focus();
        }
      }
    };
    window.addEventListener('keydown', onKeyDown);
    return () => window.removeEventListener('keydown', onKeyDown);
  }, [latest]);
}

function isEditable(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}
