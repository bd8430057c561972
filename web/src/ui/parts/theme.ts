// Light, dark, or as the system has it. The choice is one attribute on the root element; tokens.css does the rest.

import { useSyncExternalStore } from 'react';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'natter.theme';
const listeners = new Set<() => void>();

export function getTheme(): Theme {
  const value = read(KEY);
  return value === 'light' || value === 'dark' ? value : 'system';
}

export function setTheme(theme: Theme): void {
  write(KEY, theme === 'system' ? null : theme);
  applyTheme(theme);
  for (const listener of listeners) listener();
}

/** Call before the first render, on every page. */
export function applyTheme(theme: Theme = getTheme()): void {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, getTheme);
}

/** Local storage may be switched off; then choices last as long as the page. */
export function read(key: string): string | null {
  try {
    return window.localStorage.getItem(key);
  } catch {
    return null;
  }
}

export function write(key: string, value: string | null): void {
  try {
    if (value === null) window.localStorage.removeItem(key);
    else window.localStorage.setItem(key, value);
  } catch {
    // Nothing to be done, and nothing that the person using it needs to hear.
  }
}
