// What each encoder's probabilities said against what was so, a square per encoder.
{
  const AT_ONCE = 12;
  const POOLED = "";

  const build = (of, state) => (draw) => {
    const tasks = of.filter((one) => state.columns.includes(one.task));
    const options = tasks.map((one) => [one.task, one.task]);
    const task = tasks.find((one) => one.task === plot.pick("reliability task", options));
    if (!task) return null;
    const labels = [...new Set(task.panels.map((one) => one.label))].map((label) => [label, label || "All labels pooled"]);
    const label = plot.pick("reliability label", labels);
    const there = state.encoders.map((e) => task.panels.find((one) => one.encoder === e && one.label === label)).filter(Boolean);
    if (!there.length) return null;
    const pages = Array.from({length: Math.ceil(there.length / AT_ONCE)}, (ignored, k) => [String(k), `${k * AT_ONCE + 1} to ${Math.min(there.length, (k + 1) * AT_ONCE)} of ${there.length}`]);
    const shown = there.slice(AT_ONCE * Number(plot.pick("reliability page", pages)), AT_ONCE * (1 + Number(plot.pick("reliability page", pages))));
    const end = Math.min(1, Math.ceil(10 * Math.max(...there.flatMap((one) => [...one.said, ...one.upper]))) / 10);
    const columns = Math.max(1, Math.min(4, Math.floor(state.width / 250), shown.length));
    const side = Math.min(300, state.width / columns - 14);
    return [
      plot.choices(plot.choice("reliability task", "Task", options, draw), plot.choice("reliability label", "Label", labels, draw), plot.choice("reliability page", "Rows", pages, draw)),
      h("div", {style: "display: flex; flex-wrap: wrap; gap: 6px 14px"}, ...shown.map((one) => square(one, end, side, state))),
    ];
  };

  function square(one, end, side, state) {
    const [left, top] = [44, 40];
    const size = side - left - 8;
    const [x, y] = [plot.scale(0, end, left, left + size), plot.scale(0, end, top + size, top)];
    x.ticks = y.ticks = [0, 1, 2, 3, 4].map((k) => (k * end) / 4);
    const colour = plot.colour(state, one.encoder);
    const [below, tall] = [top + size + 26, 34];
    const most = Math.log1p(Math.max(...one.counts));
    const write = (v) => String(Number(v.toPrecision(3)));
    return plot.picture(side, below + tall + 24, `Reliability of ${one.encoder}`,
      plot.name(one.encoder, left, 15, 0.88 * size, {style: "font-weight: 600"}),
      s("text", {x: left, y: 31, class: "label"}, `ECE ${fixed(one.ece)} · log loss ${fixed(one.nll)}`),
      ...plot.axisX(x, top, top + size, "", write), ...plot.axisY(y, left, left + size, "", write),
      s("line", {x1: x(0), y1: y(0), x2: x(end), y2: y(end), class: "axis", style: "stroke-dasharray: 4 3"}),
      s("path", {d: plot.line(one.said.map(x), one.observed.map(y)), style: `fill: none; stroke: ${colour}; stroke-width: 1.5`}),
      ...one.said.map((v, k) => s("line", {x1: x(v), x2: x(v), y1: y(Math.min(end, one.upper[k])), y2: y(one.lower[k]), style: `stroke: ${colour}`})),
      ...one.said.map((v, k) => plot.point(state, one.encoder, x(v), y(one.observed[k]), `${one.encoder}\nsaid ${fixed(v)}, so was ${fixed(one.observed[k])}${plot.interval(one.lower[k], one.upper[k])}`, 3.5)),
      ...one.counts.map((count, k) => {
        const [from, to] = [k / one.counts.length, (k + 1) / one.counts.length];
        const high = most ? (tall * Math.log1p(count)) / most : 0;
        return to > end + 1e-9 || !count ? null : s("rect", {x: x(from) + 0.5, y: below + tall - high, width: x(to) - x(from) - 1, height: high, style: `fill: ${colour}; fill-opacity: .5`}, s("title", {}, `${count.toLocaleString("en")} scores from ${write(from)} to ${write(to)}`));
      }),
      s("line", {x1: left, x2: left + size, y1: below + tall, y2: below + tall, class: "axis"}),
      s("text", {x: left + size / 2, y: below + tall + 16, class: "label", "text-anchor": "middle"}, "score; bars: how many (log)"));
  }

  charts.reliability = {
    place: 8,
    title: "Reliability",
    hint: "On the dashed line probabilities are right: of all images given 20%, one in five has the finding. 15 bins of equal mass; bars are 95% Wilson intervals, patients as trials. Calibration is not discrimination: an encoder that says the same of everybody may be perfectly calibrated.",
    draw(data, state) {
      const of = data.filter((one) => plot.ofTask(one, state.table));
      return of.length ? plot.chosen(build(of, state)) : null;
    },
  };
}
