// Completion of @names in the composer: what is being written at the caret, who fits, and what the text becomes.

import { COMPLETIONS } from './limits';

export interface MentionQuery {
  /** Index of the `@`. */
  readonly start: number;
  /** Index of the caret. */
  readonly end: number;
  readonly query: string;
}

/** The unfinished @name before the caret, or null. */
export function mentionAt(text: string, caret: number): MentionQuery | null {
  const before = text.slice(0, caret);
  const match = /(?:^|[^\p{L}\p{N}_/.@-])@([A-Za-z0-9_-]{0,32})$/u.exec(before);
  if (match === null) return null;
  const query = match[1] ?? '';
  return { start: caret - query.length - 1, end: caret, query };
}

/** Names that fit: those that begin so first, then those that contain it; the order given is kept within each. */
export function completions(names: readonly string[], query: string): string[] {
  const wanted = query.toLowerCase();
  const begins: string[] = [];
  const contains: string[] = [];
  const seen = new Set<string>();
  for (const name of names) {
    const lower = name.toLowerCase();
    if (seen.has(lower)) continue;
    seen.add(lower);
    if (lower.startsWith(wanted)) begins.push(name);
    else if (lower.includes(wanted)) contains.push(name);
  }
  return [...begins, ...contains].slice(0, COMPLETIONS);
}

/** The text with the name put in, and where the caret stands then. */
export function complete(text: string, at: MentionQuery, name: string): { text: string; caret: number } {
  const after = text.slice(at.end).replace(/^[A-Za-z0-9_-]+/, '');
  const gap = after.startsWith(' ') ? '' : ' ';
  const head = `${text.slice(0, at.start)}@${name}${gap}`;
  return { text: head + after, caret: head.length + (gap === '' ? 1 : 0) };
}
