// What all charts share: scales, axes, rows of names, choices within a chart, marks that say what they are.
const plot = (() => {
  const INLINE = "display: inline-block"; // of what stands in a line of text, unlike a chart
  const FOLDED = 12; // longer lists of marks are folded
  const texts = new WeakMap(); // of marks
  const kept = Object.create(null); // what was chosen within charts, which the address of the page does not keep

  /** A linear or logarithmic scale from [a, b] to [from, to], with round ticks. */
  function scale(a, b, from, to, log = false) {
    const of = log ? Math.log10 : (v) => v;
    const [start, end] = [of(a), of(b)];
    const place = (v) => from + ((of(v) - start) / (end - start || 1)) * (to - from);
    return Object.assign(place, {ticks: log ? decades(a, b) : round(a, b, Math.max(3, Math.abs(to - from) / 80)), a, b});
  }

  function round(a, b, wanted) {
    const raw = (b - a) / wanted || 1;
    const ten = 10 ** Math.floor(Math.log10(raw));
    let found = [];
    for (const k of [10, 5, 2, 1]) { // the widest step that gives as many, or else the next narrower one
      const step = ten * k;
      found = [];
      for (let n = Math.ceil(a / step - 1e-9); n * step <= b + step * 1e-9; n += 1) found.push(Number((n * step).toPrecision(10)));
      if (found.length >= Math.min(wanted, 3)) break;
    }
    return found;
  }

  function decades(a, b) {
    for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      const found = [];
      for (let k = Math.floor(Math.log10(a)); k <= Math.log10(b); k += 1) found.push(...steps.map((m) => Number((m * 10 ** k).toPrecision(6))));
      const inside = found.filter((v) => v >= a * 0.999 && v <= b * 1.001);
      if (inside.length > 2) return inside;
    }
    return round(a, b, 3).filter((v) => v > 0);
  }

  /** A number for an axis: short, with k, M, G. */
  function short(v) {
    const unit = [[1e9, "G"], [1e6, "M"], [1e4, "k"]].find(([size]) => Math.abs(v) >= size);
    const number = unit ? v / (unit[1] === "k" ? 1e3 : unit[0]) : v;
    return String(Number(number.toPrecision(3))) + (unit ? unit[1] : "");
  }

  /** [low, high] of numbers with some room; null where there is none. `within`: limits that are not passed. */
  function extent(values, room = 0.04, within = null) {
    const known = values.filter((v) => v !== null && v !== undefined);
    if (!known.length) return null;
    let [low, high] = [known.reduce((x, y) => Math.min(x, y)), known.reduce((x, y) => Math.max(x, y))];
    const more = (high - low || Math.abs(high) || 1) * room;
    [low, high] = [low - more, high + more];
    return within ? [Math.max(low, within[0]), Math.min(high, within[1])] : [low, high];
  }

  /** Ticks whose texts, so wide, do not cover each other. */
  function apart(ticks, place, wide) {
    const found = [];
    for (const v of ticks) {
      const last = found[found.length - 1];
      if (last === undefined || place(v) - place(last) >= (wide(v) + wide(last)) / 2) found.push(v);
    }
    return found;
  }

  /** The lower axis with grid lines from `top` to `bottom`. */
  function axisX(x, top, bottom, title, write = short) {
    const middle = (x(x.a) + x(x.b)) / 2;
    return [
      ...x.ticks.map((v) => s("line", {class: "grid", x1: x(v), x2: x(v), y1: top, y2: bottom})),
      s("line", {class: "axis", x1: x(x.a), x2: x(x.b), y1: bottom, y2: bottom}),
      ...apart(x.ticks, x, (v) => 7 * write(v).length + 6).map((v) => s("text", {class: "label", x: x(v), y: bottom + 16, "text-anchor": "middle"}, write(v))),
      title ? s("text", {class: "label", x: middle, y: bottom + 34, "text-anchor": "middle"}, title) : null,
    ];
  }

  /** The left axis with grid lines from `left` to `right`. */
  function axisY(y, left, right, title, write = short) {
    const middle = (y(y.a) + y(y.b)) / 2;
    return [
      ...y.ticks.map((v) => s("line", {class: "grid", x1: left, x2: right, y1: y(v), y2: y(v)})),
      s("line", {class: "axis", x1: left, x2: left, y1: y(y.a), y2: y(y.b)}),
      ...y.ticks.map((v) => s("text", {class: "label", x: left - 6, y: y(v) + 4, "text-anchor": "end"}, write(v))),
      title ? s("text", {class: "label", transform: `translate(${left - 40},${middle}) rotate(-90)`, "text-anchor": "middle"}, title) : null,
    ];
  }

  /** As much of a name as has room, its end kept: what tells paths and specs apart stands there. */
  function fitted(text, pixels, size = 13) {
    const letters = [...text];
    const room = Math.max(3, Math.floor(pixels / (size * 0.56)));
    if (letters.length <= room) return text;
    const head = Math.floor((room - 1) / 3);
    return `${letters.slice(0, head).join("")}…${letters.slice(letters.length - (room - 1 - head)).join("")}`;
  }

  /** A name at (x, y), cut to `pixels`; the whole of it is its title. Its writing direction stays its own. */
  function name(text, x, y, pixels, attributes = {}) {
    const cut = fitted(text, pixels);
    return s("text", {x, y, style: "unicode-bidi: isolate", ...attributes}, cut, cut === text ? null : s("title", {}, text));
  }

  /** A mark that says `text` (or what the function gives, asked for when it is needed) when pointed at or reached with the arrow keys. */
  function mark(element, text) {
    element.classList.add("told");
    texts.set(element, typeof text === "function" ? text : () => text);
    return tip(element, () => texts.get(element)().split("\n"));
  }

  /** Let Tab lead to this mark. */
  function reachable(element) {
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", texts.get(element)().replaceAll("\n", ", "));
    element.setAttribute("tabindex", "0");
  }

  /** A picture of this size. One of its marks can be reached with Tab, the others from there with the arrow keys. */
  function picture(width, height, label, ...children) {
    const svg = s("svg", {
      viewBox: `0 0 ${Math.ceil(width)} ${Math.ceil(height)}`, width: Math.ceil(width), height: Math.ceil(height),
      role: "group", "aria-label": label, style: "max-width: none",
    }, ...children);
    const first = svg.querySelector(".told");
    if (first) reachable(first);
    svg.addEventListener("keydown", (event) => step(svg, event));
    return svg;
  }

  /** From a mark to the nearest one in the direction of the arrow. */
  function step(svg, event) {
    const way = {ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1]}[event.key];
    const from = event.target.closest(".told");
    if (!way || !from) return;
    event.preventDefault();
    const middle = (one) => {
      const box = one.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2];
    };
    const [x, y] = middle(from);
    let [best, least] = [null, Infinity];
    for (const one of svg.querySelectorAll(".told")) {
      const [dx, dy] = [middle(one)[0] - x, middle(one)[1] - y];
      const [along, across] = [dx * way[0] + dy * way[1], Math.abs(dx * way[1] + dy * way[0])];
      if (along > 0.5 && along + 3 * across < least) [best, least] = [one, along + 3 * across];
    }
    if (!best) return;
    from.setAttribute("tabindex", "-1");
    reachable(best);
    best.focus();
  }

  /** A choice within a chart: its label and select, kept under `key`; `draw` is called again when it changes. */
  function choice(key, label, options, draw) {
    if (options.length < 2) return null;
    const chosen = pick(key, options);
    return h("label", {class: "field"}, label, h("select", {
      "data-key": key,
      onchange: (event) => {
        kept[key] = event.target.value;
        draw(key);
      },
    }, ...options.map(([value, text]) => h("option", {value, selected: value === chosen}, text))));
  }

  /** What is chosen under `key`, or the first option. */
  function pick(key, options) {
    return options.some(([value]) => value === kept[key]) ? kept[key] : options.length ? options[0][0] : "";
  }

  /** A chart with choices: `build()` gives its children, and is called again when something is chosen in it. */
  function chosen(build) {
    const whole = h("div", {});
    const draw = (key) => {
      const children = build(draw);
      if (!children) return false;
      whole.replaceChildren(...children.filter(Boolean));
      const again = key && [...whole.querySelectorAll("select")].find((one) => one.dataset.key === key);
      if (again) again.focus();
      return true;
    };
    return draw("") ? whole : null;
  }

  /** A line of choices. */
  function choices(...fields) {
    const there = fields.filter(Boolean);
    return there.length ? h("div", {class: "bar", style: "justify-content: flex-start"}, ...there) : null;
  }

  /** The encoders with their marks. */
  function legend(encoders, state, told = () => "") {
    return key(encoders.map((one) => [swatchOf(shape(state, one), colour(state, one)), named(one), told(one)]));
  }

  const swatchOf = (k, of) => s("svg", {class: "swatch", viewBox: "-7 -7 14 14", style: `color: ${of}; ${INLINE}`, "aria-hidden": "true"}, marker(k, 0, 0, 4.5));

  /** A list of what the marks mean; a long one is folded. */
  function key(entries) {
    const list = h("ul", {style: "list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 2px 18px"}, ...entries.map((parts) => h("li", {}, ...parts)));
    return entries.length > FOLDED ? h("details", {}, h("summary", {}, `What the ${entries.length} marks are`), list) : list;
  }

  const colour = (state, one) => (state.colours[one] || {colour: "var(--ink)"}).colour;
  const shape = (state, one) => (state.colours[one] || {marker: 0}).marker;

  /** An encoder's mark at (x, y), which says `text`. */
  function point(state, one, x, y, text, r = 5) {
    const of = marker(shape(state, one), x, y, r);
    of.style.color = colour(state, one);
    return mark(of, text);
  }

  /** Which labels of a task none of the encoders has a value of. */
  function withoutValues(task, encoders) {
    const rows = encoders.map((e) => task.encoders.indexOf(e)).filter((k) => k >= 0);
    const none = task.labels.filter((label, k) => rows.every((e) => task.value[e][k] === null));
    return none.length ? h("p", {class: "quiet"}, `Undefined here, and so left out (see the notes): ${none.join(", ")}.`) : null;
  }

  /** Whether a picture is of the table, or task, that is chosen. */
  function isOf(about, table) {
    return about.metric === table.metric && ofTask(about, table);
  }

  function ofTask(about, table) {
    return about.protocol === table.protocol && about.fraction === table.fraction && about.synthetic === table.synthetic;
  }

  const interval = (low, high) => (low === null || low === undefined ? "" : ` [${fixed(low)}, ${fixed(high)}]`);
  const pValue = (p) => (p === null || p === undefined ? "not tested" : p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);
  const signedNumber = (v) => (v === null || v === undefined ? ABSENT : `${v < 0 ? "−" : "+"}${fixed(Math.abs(v))}`);
  const line = (x, y) => x.map((v, k) => `${k ? "L" : "M"}${v.toFixed(1)},${y[k].toFixed(1)}`).join("");

  return {
    scale, extent, axisX, axisY, short, fitted, name, mark, picture, choice, pick, chosen, choices, legend, key, swatchOf, INLINE, colour, shape, point, withoutValues,
    isOf, ofTask, interval, pValue, signedNumber, line,
  };
})();
