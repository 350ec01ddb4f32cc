// Elements. A string becomes a text node, never markup: names come from strangers.
const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

/** An HTML element; `attributes` named on... are listeners. */
function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
function s(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** The element with this id. */
function at(id) {
  return document.getElementById(id);
}

/** Do something after the frame that shows what was chosen; what was to be done under this name before is not. */
function afterFrame(name, what) {
  const before = afterFrame.waiting[name] || {};
  cancelAnimationFrame(before.frame);
  clearTimeout(before.task);
  const now = (afterFrame.waiting[name] = {});
  now.frame = requestAnimationFrame(() => {
    now.task = setTimeout(what);
  });
}
afterFrame.waiting = Object.create(null);

/** A name of others: its writing direction stays its own, and a long one breaks behind : + / @ first. */
function named(text) {
  return h("bdi", {}, text.split(/(?<=[:+/@])/).flatMap((part, k) => (k ? [h("wbr"), part] : [part])));
}

/** A number that was printed with `digits` after the point; a dash where there is none. */
function fixed(value, digits = 3) {
  return value === null || value === undefined ? ABSENT : value.toFixed(digits);
}

const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  (r) => `M${-r},${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (r) => `M0,${-1.25 * r}L${1.15 * r},${0.9 * r}H${-1.15 * r}z`,
  (r) => `M0,${-1.35 * r}L${1.35 * r},0L0,${1.35 * r}L${-1.35 * r},0z`,
  (r) => `M0,${1.25 * r}L${1.15 * r},${-0.9 * r}H${-1.15 * r}z`,
  (r) => `M${-r},${-0.4 * r}h${0.6 * r}v${-0.6 * r}h${0.8 * r}v${0.6 * r}h${0.6 * r}v${0.8 * r}h${-0.6 * r}v${0.6 * r}h${-0.8 * r}v${-0.6 * r}h${-0.6 * r}z`,
  (r) => `M${-1.2 * r},${0.4 * r}L${-0.4 * r},${-1.1 * r}H${0.4 * r}L${1.2 * r},${0.4 * r}L0,${1.2 * r}z`,
  (r) => `M${-1.3 * r},${0.6 * r}V${-0.6 * r}H${1.3 * r}V${0.6 * r}z`,
];

/** A mark of shape `k` about (x, y): the second channel beside colour. */
function marker(k, x, y, r) {
  return s("path", {d: SHAPES[k % SHAPES.length](r), transform: `translate(${x},${y})`, class: "marker"});
}
