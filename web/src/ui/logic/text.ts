// What a message's plain text is made of. The text never becomes HTML: it is cut into tokens, and React renders each
// as text. Only http and https addresses become links.

import { LARGE_EMOJI, QUOTE_CHARS } from './limits';

export type Token =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'link'; readonly text: string; readonly href: string }
  | { readonly kind: 'mention'; readonly text: string; readonly name: string }
  | { readonly kind: 'code'; readonly text: string }
  | { readonly kind: 'block'; readonly text: string };

/** A fenced block, inline code, an address, or @name; whichever comes first. */
const PATTERN =
  /```(?:[a-zA-Z0-9+-]*\n)?([\s\S]+?)```|`([^`\n]+)`|\bhttps?:\/\/[^\s<>"'`\u202a-\u202e\u2066-\u2069]+|(?<![\p{L}\p{N}_/.@-])@([A-Za-z0-9_-]{1,32})/giu;

/** Cuts a message's text into tokens. Their `text`s joined give the text again but for the fences of code. */
export function tokenize(text: string, withMentions: boolean): Token[] {
  const tokens: Token[] = [];
  let done = 0;
  for (const match of text.matchAll(PATTERN)) {
    const token = tokenOf(match, withMentions);
    if (token === null) continue;
    if (match.index > done) tokens.push({ kind: 'text', text: text.slice(done, match.index) });
    tokens.push(token.token);
    done = match.index + token.length;
  }
  if (done < text.length) tokens.push({ kind: 'text', text: text.slice(done) });
  return tokens;
}

function tokenOf(match: RegExpMatchArray, withMentions: boolean): { token: Token; length: number } | null {
  const [whole, block, code, name] = match;
  if (block !== undefined) return { token: { kind: 'block', text: block.replace(/\n$/, '') }, length: whole.length };
  if (code !== undefined) return { token: { kind: 'code', text: code }, length: whole.length };
  if (name !== undefined) {
    return withMentions ? { token: { kind: 'mention', text: whole, name }, length: whole.length } : null;
  }
  const address = trimAddress(whole);
  const href = safeHref(address);
  return href === null ? null : { token: { kind: 'link', text: address, href }, length: address.length };
}

/** What follows an address in a sentence does not belong to it; a closing bracket does if it was opened in it. */
export function trimAddress(address: string): string {
  let end = address.length;
  for (;;) {
    const last = address[end - 1];
    if (last === undefined) return '';
    if ('.,;:!?*_~'.includes(last)) {
      end -= 1;
      continue;
    }
    const open = { ')': '(', ']': '[', '}': '{' }[last];
    if (open !== undefined) {
      const rest = address.slice(0, end);
      if (count(rest, last) > count(rest, open)) {
        end -= 1;
        continue;
      }
    }
    return address.slice(0, end);
  }
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}

/** The address if it may be opened from here, else null. */
export function safeHref(address: string): string | null {
  try {
    const url = new URL(address);
    if (url.protocol !== 'http:' && url.protocol !== 'https:') return null;
    // A user name before the host is how addresses lie about where they lead.
    return url.hostname === '' || url.username !== '' || url.password !== '' ? null : url.href;
  } catch {
    return null;
  }
}

const EMOJI = /^(?:\p{RGI_Emoji}|\s)+$/v;

/** A few emoji and nothing else: shown larger. */
export function isEmojiOnly(text: string): boolean {
  return (
    text.length <= LARGE_EMOJI * 8 &&
    EMOJI.test(text) &&
    [...text.matchAll(/\p{Extended_Pictographic}|\p{RI}{2}/gu)].length <= LARGE_EMOJI
  );
}

/** One line of a message, for quotes and lists. */
export function oneLine(text: string, most: number = QUOTE_CHARS): string {
  const line = text.replace(/\s+/g, ' ').trim();
  const characters = [...line];
  return characters.length <= most ? line : `${characters.slice(0, most - 1).join('')}…`;
}

/** Length as the protocol counts it: Unicode scalar values. */
export function messageLength(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}
