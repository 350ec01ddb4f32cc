// What each encoder makes of fewer training labels, with bands.
{
  const BANDS = 6; // more of them hide each other

  const build = (of, state) => (draw) => {
    const datasets = state.table.columns.map((one) => one.title).filter((title) => state.columns.includes(title));
    const tasks = of.tasks.filter((one) => datasets.includes(one.task));
    const options = tasks.map((one) => [one.task, one.task]);
    const one = tasks.find((task) => task.task === plot.pick("fractions task", options));
    if (!one) return null;
    const shown = state.encoders.filter((e) => one.encoders.includes(e));
    if (!shown.length) return null;
    return [
      plot.choices(plot.choice("fractions task", "Task", options, draw)), curves(of, one, shown, state), plot.legend(shown, state),
      shown.length > BANDS ? h("p", {class: "quiet"}, `Bands are drawn of up to ${BANDS} rows; here intervals are in the tips.`) : null,
    ];
  };

  function curves(of, one, shown, state) {
    const rows = shown.map((e) => one.encoders.indexOf(e));
    const span = plot.extent(rows.flatMap((e) => [...one.value[e], ...one.lower[e], ...one.upper[e]]), 0.04, of.about.share ? [0, 1] : null);
    if (!span) return h("p", {}, "None of these rows has a value here.");
    const width = Math.min(state.width, 860);
    const [left, right, top, bottom] = [58, width - 16, 14, Math.min(430, width * 0.72)];
    const [first, last] = [one.fractions[0], one.fractions[one.fractions.length - 1]];
    const x = plot.scale(first / 1.12, last * 1.12, left, right, true);
    const y = plot.scale(...span, bottom, top);
    x.ticks = one.fractions;
    const bands = shown.length <= BANDS;
    const parts = rows.flatMap((e) => {
      const colour = plot.colour(state, one.encoders[e]);
      const known = one.fractions.map((f, k) => k).filter((k) => one.value[e][k] !== null);
      const sure = known.filter((k) => one.lower[e][k] !== null);
      const [xs, back] = [sure.map((k) => x(one.fractions[k])), [...sure].reverse()];
      const band = plot.line([...xs, ...back.map((k) => x(one.fractions[k]))], [...sure.map((k) => y(one.upper[e][k])), ...back.map((k) => y(one.lower[e][k]))]);
      return [
        bands && sure.length > 1 ? s("path", {d: `${band}z`, style: `fill: ${colour}; fill-opacity: .14`}) : null,
        s("path", {d: plot.line(known.map((k) => x(one.fractions[k])), known.map((k) => y(one.value[e][k]))), style: `fill: none; stroke: ${colour}; stroke-width: 2`}),
      ];
    });
    const points = rows.flatMap((e) => one.fractions.map((f, k) => (one.value[e][k] === null ? null : plot.point(state, one.encoders[e], x(f), y(one.value[e][k]),
      `${one.encoders[e]}, ${percent(f)} of the training labels\n${of.about.title} ${fixed(one.value[e][k])}${plot.interval(one.lower[e][k], one.upper[e][k])}\n${one.seeds[e][k]} training seed${one.seeds[e][k] === 1 ? "" : "s"}`))));
    return plot.picture(width, bottom + 44, `${of.about.title} by label fraction, ${one.task}`,
      ...plot.axisX(x, top, bottom, "training labels", percent), ...plot.axisY(y, left, right, of.about.title), ...parts, ...points);
  }

  charts.fractions = {
    place: 5,
    title: "Label efficiency",
    hint: "The same probe with fewer training labels; bands are 95% intervals over patients, and over training seeds (which draw the labelled patients) where several were run. With one seed a band does not know how much the choice of those patients matters.",
    draw(data, state) {
      const of = data.find((one) => one.about.metric === state.table.metric && one.about.protocol === state.table.protocol && one.about.synthetic === state.table.synthetic);
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
