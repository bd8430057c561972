// Holds the contrast of both themes: every text colour on every surface it is used on, and names of every hue.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

type Colour = readonly [lightness: number, chroma: number, hue: number];

const css = readFileSync(new URL('./tokens.css', import.meta.url), 'utf8');

function token(name: string, theme: 0 | 1): Colour {
  const line = new RegExp(`--${name}: light-dark\\(oklch\\(([^)]*)\\), oklch\\(([^)]*)\\)\\)`).exec(css);
  const values = line?.[theme + 1];
  if (values === undefined) throw new Error(`tokens.css has no --${name} for both themes.`);
  const [lightness = 0, chroma = 0, hue = 0] = values.split(' ').map(Number);
  return [lightness, chroma, hue];
}

/** Relative luminance by WCAG 2, after OKLCH to linear sRGB, clipped as a screen does. */
function luminance([lightness, chroma, hue]: Colour): number {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const clip = (value: number) => Math.min(1, Math.max(0, value));
  const red = clip(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s);
  const green = clip(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s);
  const blue = clip(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: Colour, two: Colour): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

const SURFACES = ['bg', 'bg-side', 'bg-raised', 'bg-field', 'bg-hover', 'bg-row', 'bg-press', 'bg-mention', 'bg-flash'];
const TEXT: readonly (readonly [string, readonly string[]])[] = [
  ['text', [...SURFACES, 'accent-soft', 'mark']],
  ['text-soft', ['bg', 'bg-side', 'bg-raised', 'bg-field', 'bg-hover', 'bg-row', 'bg-mention', 'bg-flash']],
  [
    'accent-text',
    ['bg', 'bg-side', 'bg-raised', 'bg-hover', 'bg-row', 'bg-press', 'bg-mention', 'bg-flash', 'accent-soft'],
  ],
  ['accent-hover', ['bg', 'bg-raised']],
  ['on-accent', ['accent', 'accent-hover']],
  ['danger', ['bg', 'bg-side', 'bg-raised', 'bg-row', 'danger-soft']],
  ['on-danger', ['danger', 'danger-hover']],
  ['warn-text', ['warn-soft']],
];
const SHAPES: readonly (readonly [string, readonly string[]])[] = [
  ['line-strong', ['bg', 'bg-side', 'bg-field', 'bg-raised']],
  ['online', ['bg', 'bg-side', 'bg-raised', 'accent-soft']],
  ['focus', ['bg', 'bg-side', 'bg-raised', 'bg-field']],
];

for (const [theme, name] of [
  [0, 'light'],
  [1, 'dark'],
] as const) {
  test(`text has a contrast of at least 4.5 in the ${name} theme, shapes 3`, () => {
    const low: string[] = [];
    for (const [pairs, least] of [
      [TEXT, 4.5],
      [SHAPES, 3],
    ] as const) {
      for (const [front, backs] of pairs) {
        for (const back of backs) {
          const found = contrast(token(front, theme), token(back, theme));
          if (found < least) low.push(`${front} on ${back}: ${found.toFixed(2)}`);
        }
      }
    }
    expect(low).toEqual([]);
  });

  test(`names of every hue can be read in the ${name} theme`, () => {
    const line = /\.name-colour \{\s*color: light-dark\(oklch\(([^v]*)var[^)]*\)\), oklch\(([^v]*)var/.exec(css);
    const [lightness = 0, chroma = 0] = (line?.[theme + 1] ?? '').trim().split(' ').map(Number);
    expect(lightness).toBeGreaterThan(0);
    const low: string[] = [];
    for (const back of ['bg', 'bg-row', 'bg-mention', 'bg-flash', 'bg-raised', 'bg-hover']) {
      for (let hue = 0; hue < 360; hue += 1) {
        const found = contrast([lightness, chroma, hue], token(back, theme));
        if (found < 4.5) low.push(`${hue}° on ${back}: ${found.toFixed(2)}`);
      }
    }
    expect(low).toEqual([]);
  });
}
