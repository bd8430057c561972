// Fails when the first load of a page is larger than promised: every script
// and style sheet that the page's HTML and its static imports pull in, gzipped.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

const BUDGET = 200 * 1024;
const dist = join(import.meta.dirname, '..', 'dist');
const manifest = JSON.parse(readFileSync(join(dist, 'manifest.json'), 'utf8'));

function filesOf(entry, seen = new Set()) {
  const chunk = manifest[entry];
  if (!chunk || seen.has(chunk.file)) return seen;
  seen.add(chunk.file);
  for (const css of chunk.css ?? []) seen.add(css);
  for (const next of chunk.imports ?? []) filesOf(next, seen);
  return seen;
}

let failed = false;
for (const page of ['index.html', 'admin.html']) {
  let total = gzipSync(readFileSync(join(dist, page))).length;
  const rows = [];
  for (const file of filesOf(page)) {
    const size = gzipSync(readFileSync(join(dist, file))).length;
    total += size;
    rows.push(`    ${file} ${(size / 1024).toFixed(1)} KB`);
  }
  const verdict = total > BUDGET ? 'TOO LARGE' : 'ok';
  console.log(`${page}: ${(total / 1024).toFixed(1)} KB gzipped of ${BUDGET / 1024} KB: ${verdict}`);
  console.log(rows.join('\n'));
  if (total > BUDGET) failed = true;
}
if (failed) {
  console.error('Move something that the first view does not need behind a dynamic import.');
  process.exit(1);
}
