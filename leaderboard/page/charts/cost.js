// Quality against what it takes, and who is on the Pareto front.
{
  const NAMED = 14; // more names than that cover each other

  const build = (of, state) => (draw) => {
    const columns = of.columns.filter((one) => (one.task === "" ? state.columns.length > 1 : state.columns.includes(one.task)));
    const options = columns.map((one) => [one.task, one.task || "Mean over the columns"]);
    const column = columns.find((one) => one.task === plot.pick("cost column", options));
    if (!column) return null;
    const axes = column.axes.map((one) => [one.name, one.title]);
    const axis = column.axes.find((one) => one.name === plot.pick("cost axis", axes));
    const at = column.encoders.map((e, k) => k).filter((k) => state.encoders.includes(column.encoders[k]) && axis.cost[k] !== null && column.value[k] !== null);
    const unknown = state.encoders.filter((e) => column.encoders.includes(e)).length - at.length;
    return [
      plot.choices(plot.choice("cost column", "Column", options, draw), plot.choice("cost axis", "Cost", axes, draw)),
      at.length ? scatter(of, column, axis, at, state) : h("p", {}, "Of none of these rows it is known."),
      plot.legend(at.map((k) => column.encoders[k]), state),
      unknown ? h("p", {class: "quiet"}, `Of ${unknown} more rows the cost is not known.`) : null,
      axis.name === "images_per_second" ? h("p", {class: "quiet"}, speeds(of, state)) : null,
    ];
  };

  function speeds(of, state) {
    const found = of.devices.filter(([e]) => state.encoders.includes(e));
    const kinds = [...new Set(found.map(([, device]) => device))];
    if (kinds.length === 1) return `All speeds were measured on ${kinds[0]}.`;
    return `Speeds were measured on different devices, and cannot be compared across them: ${found.map(([e, device]) => `${e} on ${device}`).join("; ")}.`;
  }

  function scatter(of, column, axis, at, state) {
    const width = Math.min(state.width, 860);
    const [left, right, top, bottom] = [58, width - 16, 14, Math.min(460, width * 0.8)];
    const costs = at.map((k) => axis.cost[k]);
    const above = costs.filter((cost) => cost > 0);
    const [least, most] = above.length ? [Math.min(...above), Math.max(...above)] : [1, 1];
    const room = Math.max(1.15, (most / least) ** 0.08);
    const free = costs.length > above.length; // what costs nothing stands left of the logarithmic axis
    const log = plot.scale(least / room, most * room, left + (free ? 56 : 0), right, true);
    const x = Object.assign((v) => (v > 0 ? log(v) : left + 26), log, {ticks: [...(free ? [0] : []), ...log.ticks]});
    const y = plot.scale(...plot.extent(at.flatMap((k) => [column.value[k], column.lower[k], column.upper[k]]), 0.05, of.about.share ? [0, 1] : null), bottom, top);
    const named = at.length <= NAMED ? at : at.filter((k) => axis.front[k]);
    const names = named.length * 40 > width ? [] : named; // too many for so little room: tips and the list name them
    return plot.picture(width, bottom + 44, `${of.about.title} against ${axis.title}`,
      ...plot.axisX(x, top, bottom, `${axis.title} (${axis.less ? "less" : "more"} is better)`), ...plot.axisY(y, left, right, of.about.title),
      front(of, column, axis, at, x, y, left, right),
      ...at.map((k) => (column.lower[k] === null ? null : s("line", {x1: x(axis.cost[k]), x2: x(axis.cost[k]), y1: y(column.lower[k]), y2: y(column.upper[k]), style: `stroke: ${plot.colour(state, column.encoders[k])}; stroke-opacity: .6`}))),
      ...labelled(names, column, axis, x, y, right),
      ...at.map((k) => plot.point(state, column.encoders[k], x(axis.cost[k]), y(column.value[k]),
        `${column.encoders[k]}\n${of.about.title} ${fixed(column.value[k])}${plot.interval(column.lower[k], column.upper[k])}\n${axis.title}: ${plot.short(axis.cost[k])}${axis.front[k] ? "\non the Pareto front" : ""}`, axis.front[k] ? 6.5 : 4.5)));
  }

  /** The front as steps: what is the best quality that can be had for a cost. */
  function front(of, column, axis, at, x, y, left, right) {
    const on = at.filter((k) => axis.front[k]).sort((a, b) => (axis.less ? 1 : -1) * (axis.cost[a] - axis.cost[b]));
    if (!on.length) return null;
    const [xs, ys] = [[], []];
    on.forEach((k, n) => {
      if (n) {
        xs.push(x(axis.cost[k]));
        ys.push(ys[ys.length - 1]);
      }
      xs.push(x(axis.cost[k]));
      ys.push(y(column.value[k]));
    });
    xs.push(axis.less ? right : left);
    ys.push(ys[ys.length - 1]);
    return s("path", {d: plot.line(xs, ys), class: "axis", style: "stroke: var(--ink); stroke-dasharray: 5 3"});
  }

  /** Names beside their points, on the side where there is room, moved apart where they would cover each other. */
  function labelled(at, column, axis, x, y, right) {
    const taken = [];
    return [...at].sort((a, b) => column.value[b] - column.value[a]).map((k) => {
      const text = plot.fitted(column.encoders[k], 150);
      const [wide, px] = [6.6 * [...text].length, x(axis.cost[k])];
      const flip = px + 10 + wide > right;
      const from = flip ? px - 10 - wide : px + 10;
      let line = y(column.value[k]) - 7;
      while (taken.some(([a, b, at_y]) => from < b && from + wide > a && Math.abs(at_y - line) < 13)) line += 4;
      taken.push([from, from + wide, line]);
      return plot.name(column.encoders[k], flip ? px - 10 : px + 10, line, 150, {"text-anchor": flip ? "end" : "start", class: "label"});
    });
  }

  charts.cost = {
    place: 10,
    title: "Cost",
    hint: "Quality with its 95% interval against what an encoder takes, on a logarithmic axis. The dashed steps are the Pareto front, of all encoders of the table: nobody else is better in one and at least as good in the other. It goes by the values alone, not by tests.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
