import { renderToStaticMarkup } from 'react-dom/server';
import { describe, expect, test } from 'vitest';
import { MessageText } from './message-text';

const render = (text: string, mentions = true) =>
  renderToStaticMarkup(<MessageText text={text} mentions={mentions} myName="Ann" editedAt={null} />);

/** The elements in a piece of markup, in order. */
const elements = (markup: string) => [...markup.matchAll(/<([a-z]+)/g)].map((match) => match[1]);

describe('what somebody else wrote', () => {
  test.each([
    '<script>alert(1)</script>',
    '<img src=x onerror=alert(1)>',
    '"><svg/onload=alert(1)>',
    '<a href="javascript:alert(1)">click</a>',
    '</div><iframe srcdoc="<script>alert(1)</script>">',
    '<style>*{display:none}</style>',
    'javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    '&lt;script&gt;',
  ])('%s is text and nothing else', (text) => {
    const markup = render(text);
    expect(elements(markup)).toEqual(['div']);
    expect(markup).not.toMatch(/<(script|img|svg|iframe|style|a)\b/);
  });

  test.each([
    'https://example.org/"onmouseover="alert(1)',
    "https://example.org/'><script>alert(1)</script>",
    'https://example.org/<img src=x onerror=alert(1)>',
    '`<b>` @ann<script> ```\n<script>alert(1)</script>```',
  ])('%s makes no element but links, code and mentions', (text) => {
    const markup = render(text);
    expect(elements(markup).filter((name) => !['div', 'a', 'code', 'pre', 'span'].includes(name ?? ''))).toEqual([]);
    expect(markup).not.toMatch(/<[^>]*\son\w+=/);
  });

  test('links open elsewhere and tell nothing', () => {
    expect(render('see https://example.org/a.')).toContain(
      '<a href="https://example.org/a" target="_blank" rel="noopener noreferrer" dir="ltr">https://example.org/a</a>.',
    );
  });

  test('my own name stands out, whatever its case', () => {
    expect(render('hi @ann and @bob')).toContain(
      '<span class="mention mine">@ann</span> and <span class="mention">@bob</span>',
    );
    expect(elements(render('hi @ann', false))).toEqual(['div']);
  });
});
