"""What keeps people from using a page: text too faint to read, and what has no name for who cannot see it."""

from tests.support.browser import Page

# WCAG 2.2, 1.4.3: contrast of text, and of text that is large (24 pixels, or 18.66 in bold).
CONTRAST, CONTRAST_OF_LARGE = 4.5, 3.0

_FOUND = """
(() => {
  const found = [];
  const parts = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const shown = (one) => one.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((v, n) => v * a + below[n] * (1 - a));
  const ground = (one) => {
    if (!one) return [255, 255, 255];
    const own = parts(getComputedStyle(one).backgroundColor);
    return own.length < 4 || own[3] === 1 ? own : over(own, ground(one.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const name = (one) => `<${one.localName}> ${(one.textContent || '').trim().slice(0, 30)}`;
  for (const one of document.body.querySelectorAll('*')) {
    const isText = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!isText || !shown(one) || one.closest('script, style, title, .skip, [aria-hidden=true]')) continue;
    const style = getComputedStyle(one);
    const below = ground(one);
    const colour = parts(one.closest('svg') ? style.fill : style.color);
    if (colour.length < 3) continue;
    const size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? LARGE : NORMAL;
    const seen = contrast(over(colour, below), below);
    if (seen < enough) found.push(`contrast ${seen.toFixed(2)} of ${name(one)}`);
  }
  for (const one of document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"], [role=img]')) {
    const said = one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent.trim() || one.title;
    if (!said) found.push(`no name: ${one.outerHTML.slice(0, 90)}`);
  }
  for (const one of document.querySelectorAll('svg'))
    if (shown(one) && !one.closest('[role=img], [aria-hidden=true]')) found.push(`a drawing without a name`);
  if (!document.documentElement.lang) found.push('no language');
  if (!document.title) found.push('no title');
  if ([...document.querySelectorAll('h1')].filter(shown).length !== 1) found.push('not one h1');
  if (!document.querySelector('main')) found.push('no main part');
  let last = 1;
  for (const one of [...document.querySelectorAll('h1, h2, h3, h4')].filter(shown)) {
    const level = Number(one.localName[1]);
    if (level > last + 1) found.push(`a heading is skipped before ${name(one)}`);
    last = level;
  }
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`two have the id ${id}`);
  return [...new Set(found)];
})()
"""


def hindrances(page: Page) -> list[str]:
    """What is hard to see or has no name on a page that is shown; empty where nothing is."""
    found: list[str] = page.evaluate(_FOUND.replace("LARGE", str(CONTRAST_OF_LARGE)).replace("NORMAL", str(CONTRAST)))
    return found
