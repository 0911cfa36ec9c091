// Contrast of every piece of text with what is behind it (WCAG 2.1, 1.4.3): [ratio, text].
const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return [...n.slice(0, 3), n[3] ?? 1]; };
const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
const light = (c) => { const f = c.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const behind = (element) => {
  const chain = [];
  for (let e = element; e; e = e.parentElement) chain.push(parse(getComputedStyle(e).backgroundColor));
  return chain.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode, element = node.parentElement;
  if (!node.textContent.trim() || ["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
  const style = getComputedStyle(element);
  if (!element.checkVisibility() || style.visibility === "hidden") continue;
  let back = behind(element), front = parse(style.color);
  if (element instanceof SVGElement) {
    front = parse(style.fill);
    const box = element.getBoundingClientRect();
    for (const shape of element.ownerSVGElement.querySelectorAll("path, rect")) {
      if (shape.closest("defs")) continue;
      if (shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_PRECEDING) continue;
      const r = shape.getBoundingClientRect();
      if (r.left > box.right || r.right < box.left || r.top > box.bottom || r.bottom < box.top) continue;
      const fill = getComputedStyle(shape);
      if (!fill.fill.startsWith("rgb")) continue;
      const colour = parse(fill.fill);
      back = over([...colour.slice(0, 3), colour[3] * Number(fill.fillOpacity) * Number(fill.opacity)], back);
    }
  }
  found.push([ratio(front, back), node.textContent.trim().slice(0, 40)]);
}
return found;
