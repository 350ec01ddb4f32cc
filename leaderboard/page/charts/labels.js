// Each encoder's value on each label of a task, as a heat map.
{
  const STRONGEST = 0.6; // how much of the colour the best cell has: text on it stays readable

  const CENTRED = "font-size: 12px; text-anchor: middle; pointer-events: none";

  const build = (of, state) => (draw) => {
    const tasks = of.tasks.filter((one) => state.columns.includes(one.task));
    const options = tasks.map((one) => [one.task, one.task]);
    const one = tasks.find((task) => task.task === plot.pick("labels task", options));
    if (!one) return null;
    return [plot.choices(plot.choice("labels task", "Task", options, draw)), map(of, one, state), plot.withoutValues(one, state.encoders)];
  };

  function map(of, one, state) {
    const encoders = state.encoders.map((e) => one.encoders.indexOf(e)).filter((k) => k >= 0);
    if (!encoders.length) return h("p", {}, "None of these rows has a value here.");
    const labels = one.labels.map((label, k) => k).filter((k) => encoders.some((e) => one.value[e][k] !== null));
    if (!labels.length) return h("p", {}, "None of these rows has a value here.");
    const across = encoders.length <= 8 && labels.length > encoders.length; // encoders as columns: fewer than labels
    const [rows, columns] = across ? [labels, encoders] : [encoders, labels];
    const nameOf = (k, label) => (label ? one.labels[k] : one.encoders[k]);
    const [low, high] = plot.extent(encoders.flatMap((e) => one.value[e]), 0) || [0, 1];
    const names = Math.min(220, state.width * 0.34);
    const side = Math.max(46, Math.min(92, (state.width - names - 8) / (columns.length + 1)));
    const [row, longest] = [26, Math.max(...columns.map((k) => [...plot.fitted(nameOf(k, !across), 170)].length))];
    const top = Math.min(150, 20 + 5.6 * longest);
    const place = (e, l) => (across ? [names + encoders.indexOf(e) * side, top + labels.indexOf(l) * row] : [names + labels.indexOf(l) * side, top + encoders.indexOf(e) * row]);
    const strength = (v) => 0.04 + STRONGEST * (of.about.higher ? v - low : high - v) / (high - low || 1);
    const cell = (e, l) => {
      const [[x, y], v] = [place(e, l), one.value[e][l]];
      const better = one.p_holm[e][l] !== null && one.p_holm[e][l] < 0.05;
      const told = () => `${one.encoders[e]}, ${one.labels[l]}\n${of.about.title} ${fixed(v)}${plot.interval(one.lower[e][l], one.upper[e][l])}${tested(of, one, e, l)}\n${one.positives[l].toLocaleString("en")} of ${one.images[l].toLocaleString("en")} images positive`;
      return [
        plot.mark(s("rect", {x: x + 1, y: y + 1, width: side - 2, height: row - 2, style: v === null ? "fill: transparent; stroke: var(--faint)" : `fill: var(--c0); fill-opacity: ${strength(v).toFixed(3)}`}), told),
        s("text", {x: x + side / 2, y: y + row / 2 + 4, style: CENTRED}, v === null ? ABSENT : fixed(v, side < 54 ? 2 : 3) + (better ? "*" : "")),
      ];
    };
    const mean = (e) => {
      const n = encoders.indexOf(e);
      const [x, y] = across ? [names + n * side, top + rows.length * row + 6] : [names + columns.length * side + 6, top + n * row];
      return s("text", {x: x + side / 2, y: y + row / 2 + 4, "text-anchor": "middle", style: "font-size: 12px; font-weight: 600"}, fixed(one.mean[e], side < 54 ? 2 : 3));
    };
    const heading = (text, n) => plot.name(text, 0, 0, top * 1.2, {transform: `translate(${names + n * side + side / 2 + 4},${top - 6}) rotate(-60)`});
    return plot.picture(names + (columns.length + (across ? 0 : 1)) * side + top * 0.65, top + (rows.length + (across ? 1 : 0)) * row + 14, `${of.about.title} by label, ${one.task}`,
      ...columns.map((k, n) => heading(nameOf(k, !across), n)),
      ...rows.map((k, n) => plot.name(nameOf(k, across), names - 6, top + n * row + row / 2 + 4, names - 8, {"text-anchor": "end"})),
      across ? s("text", {x: names - 6, y: top + rows.length * row + 6 + row / 2 + 4, "text-anchor": "end", style: "font-weight: 600"}, "mean") : heading("mean", columns.length),
      ...(across ? labels.flatMap((l) => encoders.flatMap((e) => cell(e, l))) : encoders.flatMap((e) => labels.flatMap((l) => cell(e, l)))),
      ...encoders.map(mean));
  }

  /** What a cell is against the baseline. */
  function tested(of, one, e, l) {
    const base = one.encoders.indexOf(of.about.baseline);
    if (base < 0 || base === e || one.value[e][l] === null || one.value[base][l] === null) return "";
    return `\ngain over ${of.about.baseline} ${plot.signedNumber((of.about.higher ? 1 : -1) * (one.value[e][l] - one.value[base][l]))}, ${plot.pValue(one.p_holm[e][l])}`;
  }

  charts.labels = {
    place: 3,
    title: "By label",
    hint: "The deeper the colour, the better the value among all that are shown. *: better than the baseline on that label, one-tailed p < 0.05, Holm over all labels and groups of the task. Labels differ in difficulty: compare within a label, not between them.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
