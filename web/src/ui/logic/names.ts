// Names: what may be one, and the colour that is derived from an id.

const NAME = /^[A-Za-z0-9_-]{1,32}$/;
const LOOKS_LIKE_ID = /^[0-9a-fA-F]{32}$/;

/** A name by the rules of the protocol. */
export function isName(text: string): boolean {
  return NAME.test(text) && !LOOKS_LIKE_ID.test(text);
}

/** Why this can't be a name; null if it can. */
export function nameProblem(text: string): string | null {
  if (text === '') return 'Choose a name.';
  if (text.length > 32) return 'A name has at most 32 characters.';
  if (!NAME.test(text)) return 'A name is made of letters, digits, “_” and “-”.';
  return LOOKS_LIKE_ID.test(text) ? 'This looks like an id. Choose another name.' : null;
}

/** Hue in degrees for an id: spread evenly, the same everywhere. FNV-1a over the id, then golden-angle steps. */
export function hueOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) {
    hash ^= id.charCodeAt(index);
    hash = Math.imul(hash, 0x01000193);
  }
  return Math.round(((hash >>> 0) % 360) * 137.508) % 360;
}

/** Who types, in words; empty if nobody does. */
export function typingLine(names: readonly string[], most: number): string {
  if (names.length === 0) return '';
  if (names.length === 1) return `${names[0]} is typing`;
  if (names.length > most) return 'Several people are typing';
  return `${names.slice(0, -1).join(', ')} and ${names.at(-1)} are typing`;
}

/** "1 person", "12 people". */
export function people(count: number): string {
  return count === 1 ? '1 person' : `${count.toLocaleString()} people`;
}
