// Each encoder's value with its interval, a panel per column, and where the baseline stands.
{
  const ROWS = 70; // so many are drawn at once; else one column after the other
  const VALUE = "value", GAIN = "gain", EVERY = "every column";

  const build = (of, state) => (draw) => {
    const columns = of.columns.filter((one) => state.columns.includes(one.task));
    const all = [...(of.mean && columns.length > 1 ? [of.mean] : []), ...columns];
    if (!all.length) return null;
    const few = all.length * state.encoders.length <= ROWS;
    const options = [...(few && all.length > 1 ? [[EVERY, "All"]] : []), ...all.map((one) => [one.task, one.task || "Mean over the columns"])];
    const what = state.baseline && of.about.tested ? [[VALUE, of.about.title], [GAIN, `Gain over ${state.baseline}`]] : [[VALUE, of.about.title]];
    const [column, kind] = [plot.pick("forest column", options), plot.pick("forest what", what)];
    const shown = column === EVERY ? all : all.filter((one) => one.task === column);
    const panels = shown.map((one) => panel(of, one, state, kind)).filter(Boolean);
    return [
      plot.choices(plot.choice("forest column", "Column", options, draw), plot.choice("forest what", "What", what, draw)),
      ...(panels.length ? panels : [h("p", {}, "None of these rows has a value here.")]),
    ];
  };

  function panel(of, one, state, kind) {
    const at = state.encoders.map((e) => one.encoders.indexOf(e)).filter((k) => k >= 0 && one.value[k] !== null);
    const [value, low, high] = kind === GAIN ? [one.gain, one.gain_lower, one.gain_upper] : [one.value, one.lower, one.upper];
    const reference = kind === GAIN ? 0 : one.baseline;
    const span = plot.extent([...at.flatMap((k) => [value[k], low[k], high[k]]), reference], 0.05, kind === VALUE && of.about.share ? [0, 1] : null);
    if (!at.length || !span) return null;
    const wide = state.width > 560;
    const [names, numbers] = [Math.min(230, state.width * (wide ? 0.27 : 0.33)), wide ? 170 : 58];
    const [top, row] = [34, 24];
    const bottom = top + at.length * row + 4;
    const x = plot.scale(...span, names + 14, state.width - numbers - 12);
    const title = one.task ? `${one.task}: ${one.patients.toLocaleString("en")} patients` : "Mean over the columns";
    const write = kind === GAIN ? plot.signedNumber : fixed;
    return plot.picture(state.width, bottom + 44, `${of.about.title}, ${title}`,
      plot.name(title, 0, 18, 0.88 * state.width, {style: "font-weight: 600"}),
      ...plot.axisX(x, top, bottom, kind === GAIN ? "gain, 90% interval" : `${of.about.title}, 95% interval`),
      reference === null ? null : s("line", {x1: x(reference), x2: x(reference), y1: top, y2: bottom, style: "stroke: var(--ink); stroke-dasharray: 4 3"}),
      ...at.flatMap((k, n) => {
        const [e, y] = [one.encoders[k], top + n * row + row / 2];
        const beyond = value[k] === null ? null : value[k];
        const better = one.p_holm[k] !== null && one.p_holm[k] < 0.05;
        const text = beyond === null ? (e === state.baseline ? "baseline" : ABSENT) : `${write(beyond)}${one.contaminated[k] ? "†" : ""}${better ? " *" : ""}`;
        return [
          plot.name(e, names, y + 4, names - 4, {"text-anchor": "end"}),
          low[k] === null || beyond === null ? null : s("line", {x1: x(low[k]), x2: x(high[k]), y1: y, y2: y, style: `stroke: ${plot.colour(state, e)}; stroke-width: 2`}),
          beyond === null ? null : plot.point(state, e, x(beyond), y, told(of, one, k, state)),
          s("text", {x: state.width - numbers, y: y + 4, class: wide ? null : "label"}, text,
            wide && beyond !== null ? s("tspan", {class: "label", dx: 6}, plot.interval(low[k], high[k])) : null),
        ];
      }));
  }

  function told(of, one, k, state) {
    const lines = [one.encoders[k], `${one.task || "Mean over the columns"}: ${of.about.title} ${fixed(one.value[k])}${plot.interval(one.lower[k], one.upper[k])}`];
    if (one.contaminated[k]) lines.push("† has seen images of this data set while it was pretrained");
    if (one.gain[k] !== null) lines.push(`gain over ${state.baseline} ${plot.signedNumber(one.gain[k])}, 90% interval ${plot.signedNumber(one.gain_lower[k])} to ${plot.signedNumber(one.gain_upper[k])}, ${plot.pValue(one.p_holm[k])}`);
    if (one.by_chance[k] !== null) lines.push(`by chance ${fixed(one.by_chance[k])}`);
    if (one.ties[k]) lines.push(`ties: ${one.ties[k]}`);
    if (one.notes[k]) lines.push(one.notes[k]);
    return lines.join("\n");
  }

  charts.forest = {
    place: 0,
    title: "Forest plot",
    hint: "Each mark is a value, its line the 95% interval over patients (and training seeds), the dashed line the baseline. *: better than the baseline, one-tailed p < 0.05, Holm. †: has seen images of the data set. Overlapping intervals do not mean that two encoders are alike: comparisons are paired, see the significance matrix.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
