// Of each pair of encoders how far they lie apart, and whether a paired test separates them.
{
  const build = (of, state) => (draw) => {
    const columns = of.columns.filter((one) => state.columns.includes(one.task));
    const all = [...(of.mean && columns.length > 1 ? [of.mean] : []), ...columns];
    if (!all.length) return null;
    const options = all.map((one) => [one.task, one.task || "Mean over the columns"]);
    const one = all.find((column) => column.task === plot.pick("matrix column", options));
    const rows = state.encoders.filter((e) => one.encoders.includes(e)).length;
    return [
      plot.choices(plot.choice("matrix column", "Column", options, draw)), key(),
      rows > TWICE ? h("p", {class: "quiet"}, "Of so many rows each pair is drawn once, the upper row first.") : null, squares(of, one, state),
    ];
  };

  /** The place of a pair i < j of k in a condensed matrix. */
  const place = (i, j, k) => i * k - (i * (i + 1)) / 2 + (j - i - 1);
  const TWICE = 24; // rows up to which each pair is drawn from both sides
  const STROKE = "; stroke: var(--faint)";
  const VERDICTS = {
    better: {draw: (x, y, r) => `M${x - r},${y + 0.8 * r}h${2 * r}l${-r},${-1.7 * r}z`, style: `fill: var(--c0); fill-opacity: .45${STROKE}`, says: "the row is better"},
    worse: {draw: (x, y, r) => `M${x - r},${y - 0.8 * r}h${2 * r}l${-r},${1.7 * r}z`, style: `fill: var(--c1); fill-opacity: .4${STROKE}`, says: "the row is worse"},
    alike: {draw: () => "", style: `fill: var(--card)${STROKE}`, says: "no test separates them"},
    unknown: {draw: (x, y, r) => `M${x - r},${y - r}l${2 * r},${2 * r}l${-0.3 * r},${0.3 * r}l${-2 * r},${-2 * r}z`, style: `fill: transparent${STROKE}`, says: "not tested"},
  };

  function squares(of, one, state) {
    const places = state.encoders.map((e) => one.encoders.indexOf(e)).filter((k) => k >= 0 && one.value[k] !== null);
    const n = places.length;
    if (n < 2) return h("p", {}, "Fewer than two of these rows have a value here.");
    const names = Math.min(200, state.width * 0.33);
    const side = Math.max(15, Math.min(52, (state.width - names - 10) / n));
    const top = Math.min(150, 20 + 5.4 * Math.max(...places.map((k) => [...plot.fitted(one.encoders[k], 180)].length)));
    const sign = of.about.higher ? 1 : -1;
    const once = n > TWICE;
    const inside = side >= 38; // room for p within a square
    const symbols = Object.fromEntries(Object.keys(VERDICTS).map((verdict) => [verdict, []]));
    const cells = places.flatMap((a, i) => places.flatMap((b, j) => {
      if (a === b || (once && i > j)) return [];
      const p = one.p[place(Math.min(a, b), Math.max(a, b), one.encoders.length)];
      const gain = sign * (one.value[a] - one.value[b]);
      const verdict = p === null ? "unknown" : p >= of.alpha ? "alike" : gain > 0 ? "better" : "worse";
      const [x, y] = [names + j * side, top + i * side];
      symbols[verdict].push([x + side / 2, y + side / 2 - (inside ? 8 : 0)]);
      const told = () => `${one.encoders[a]} against ${one.encoders[b]}\n${plot.signedNumber(gain)}, two-sided ${plot.pValue(p)} (Holm): ${VERDICTS[verdict].says}`;
      return [
        plot.mark(s("rect", {x: x + 0.5, y: y + 0.5, width: side - 1, height: side - 1, style: VERDICTS[verdict].style}), told),
        inside && p !== null ? s("text", {x: x + side / 2, y: y + side / 2 + (verdict === "alike" ? 4 : 13), style: "font-size: 12px; text-anchor: middle; pointer-events: none"}, p < 0.001 ? "<.001" : p.toFixed(3).replace(/^0/, "")) : null,
      ];
    }));
    const drawn = Object.entries(symbols).map(([verdict, at]) => s("path", {d: at.map(([x, y]) => VERDICTS[verdict].draw(x, y, Math.min(5, side * 0.22))).join(""), style: "fill: var(--ink); pointer-events: none"}));
    const width = names + n * side + top * 0.65; // the last name leans out
    return plot.picture(width, top + n * side + 6, `Significance of all pairs, ${one.task || "mean over the columns"}`,
      ...places.flatMap((k, i) => [
        plot.name(one.encoders[k], names - 6, top + i * side + side / 2 + 4, names - 8, {"text-anchor": "end", ...small(side)}),
        plot.name(one.encoders[k], 0, 0, top * 1.15, {transform: `translate(${names + i * side + side / 2 + 4},${top - 6}) rotate(-60)`, ...small(side)}),
      ]), ...cells, ...drawn);
  }

  const small = (side) => (side < 18 ? {class: "label"} : {});

  const key = () => plot.key(Object.values(VERDICTS).map(({draw, style, says}) => [
    s("svg", {class: "swatch", viewBox: "0 0 16 16", style: plot.INLINE, "aria-hidden": "true"}, s("rect", {x: 0.5, y: 0.5, width: 15, height: 15, style}), s("path", {d: draw(8, 8, 4), style: "fill: var(--ink)"})), says,
  ]));

  charts.matrix = {
    place: 1,
    title: "Significance matrix",
    hint: "Row against column, on the same patients: two-sided tests, Holm over all pairs of the table, 5%. An empty square says that these test sets cannot tell the two apart, not that they are the same.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
