// Small hooks about the page round us: time, attention, width.

import { useEffect, useState, useSyncExternalStore } from 'react';
import { nextMidnight } from '../logic/time';

/** A timer never sleeps longer than this, as a laptop that slept does not count its sleep. */
const LONGEST_TIMER = 10 * 60_000;

/** The time at the last midnight, mount or return to the page; renders again when the local day changes. */
export function useToday(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    const wait = () => {
      clearTimeout(timer);
      const current = Date.now();
      if (current >= nextMidnight(now)) {
        setNow(current);
        return;
      }
      timer = setTimeout(wait, Math.min(nextMidnight(current) - current, LONGEST_TIMER));
    };
    wait();
    document.addEventListener('visibilitychange', wait);
    return () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', wait);
    };
  }, [now]);
  return now;
}

function subscribeAttention(listener: () => void): () => void {
  document.addEventListener('visibilitychange', listener);
  window.addEventListener('focus', listener);
  window.addEventListener('blur', listener);
  return () => {
    document.removeEventListener('visibilitychange', listener);
    window.removeEventListener('focus', listener);
    window.removeEventListener('blur', listener);
  };
}

/** Whether somebody is looking: what arrives while nobody does stays unread. */
export function useAttention(): boolean {
  return useSyncExternalStore(subscribeAttention, () => document.visibilityState === 'visible' && document.hasFocus());
}

export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (listener) => {
      const list = window.matchMedia(query);
      list.addEventListener('change', listener);
      return () => list.removeEventListener('change', listener);
    },
    () => window.matchMedia(query).matches,
  );
}

/** One pane at a time. The same width stands in shell.css. */
export const usePhone = (): boolean => useMedia('(max-width: 719px)');

/** The value once it has rested for this long. */
export function useSettled<T>(value: T, pause: number): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), pause);
    return () => clearTimeout(timer);
  }, [value, pause]);
  return settled;
}
