// ROC and precision-recall: the same square, with other axes.
const curveChart = (() => {
  const MEAN = "macro";

  const build = (of, state, about) => (draw) => {
    const tasks = of.filter((one) => state.columns.includes(one.task));
    const options = tasks.map((one) => [one.task, one.task]);
    const one = tasks.find((task) => task.task === plot.pick("curves task", options));
    if (!one) return null;
    const labels = [...new Set(one.curves.map((curve) => curve.label))].filter((label) => label === MEAN || one.counted.length !== 1 || label !== one.counted[0]).map((label) => [label, label === MEAN ? meanOf(one) : label]);
    const label = plot.pick("curves label", labels);
    const curves = state.encoders.map((e) => one.curves.find((curve) => curve.encoder === e && curve.label === label)).filter(Boolean);
    if (!curves.length) return null;
    const area = (e) => ` ${fixed(curves.find((curve) => curve.encoder === e).area)}`;
    return [
      plot.choices(plot.choice("curves task", "Task", options, draw), plot.choice("curves label", "Label", labels, draw)),
      square(one, label, curves, state, about),
      plot.legend(curves.map((curve) => curve.encoder), state, area),
    ];
  };

  const meanOf = (one) => (one.counted.length > 1 ? `Mean over ${one.counted.length} labels` : one.counted[0]);

  function square(one, label, curves, state, about) {
    const side = Math.min(state.width, 560);
    const [left, right, top, bottom] = [54, side - 12, 10, side - 54];
    const [x, y] = [plot.scale(0, 1, left, right), plot.scale(0, 1, bottom, top)];
    const height = one.labels.indexOf(label === MEAN && one.counted.length === 1 ? one.counted[0] : label);
    const chance = about.kind === "roc" ? [[0, 0], [1, 1]] : height < 0 ? [] : [[0, one.prevalence[height]], [1, one.prevalence[height]]];
    return plot.picture(side, side, `${about.title} of ${one.task}`,
      ...plot.axisX(x, top, bottom, about.x), ...plot.axisY(y, left, right, about.y),
      chance.length ? s("path", {d: plot.line(chance.map((p) => x(p[0])), chance.map((p) => y(p[1]))), class: "axis", style: "stroke-dasharray: 4 3"}) : null,
      ...curves.map((curve) => s("path", {d: plot.line(curve.x.map(x), curve.y.map(y)), style: `fill: none; stroke: ${plot.colour(state, curve.encoder)}; stroke-width: 1.8; stroke-linejoin: round`})),
      ...curves.flatMap((curve, n) => marks(curve, n, curves.length).map((k) => plot.point(state, curve.encoder, x(curve.x[k]), y(curve.y[k]),
        `${curve.encoder}: ${about.area} ${fixed(curve.area)}\n${about.x} ${fixed(curve.x[k], 2)}, ${about.y} ${fixed(curve.y[k], 2)}`, 4.5))));
  }

  /** Where along a curve its shape stands: a few points, other ones than of its neighbours. */
  function marks(curve, n, count) {
    const wanted = count > 12 ? [0.5] : [0.2, 0.5, 0.8];
    const lengths = [0];
    for (let k = 1; k < curve.x.length; k += 1) lengths.push(lengths[k - 1] + Math.hypot(curve.x[k] - curve.x[k - 1], curve.y[k] - curve.y[k - 1]));
    const whole = lengths[lengths.length - 1];
    const shift = (0.25 * (n - count / 2)) / count;
    return [...new Set(wanted.map((part) => lengths.findIndex((length) => length >= Math.min(0.97, Math.max(0.03, part + shift)) * whole)))];
  }

  return (about) => ({
    place: about.place,
    title: about.title,
    hint: about.hint,
    draw(data, state) {
      const of = data.filter((one) => plot.ofTask(one, state.table));
      return of.length ? plot.chosen(build(of, state, about)) : null;
    },
  });
})();
