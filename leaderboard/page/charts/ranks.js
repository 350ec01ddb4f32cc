// Mean ranks over the columns with intervals, and bars over encoders that no test separates.
{
  function draw(of, state) {
    const at = of.encoders.map((e, k) => k).filter((k) => state.encoders.includes(of.encoders[k]));
    if (at.length < 2) return null;
    const bars = of.bars.map((bar) => bar.filter((k) => at.includes(k))).filter((bar) => bar.length > 1);
    const wide = state.width > 560;
    const room = bars.length * 14 + 8;
    const [names, numbers] = [Math.min(230, state.width * (wide ? 0.27 : 0.33)), wide ? 130 : 44];
    const [top, row] = [10, 26];
    const bottom = top + at.length * row + 4;
    const right = Math.max(names + 120, state.width - numbers - room - 12);
    const x = plot.scale(0.8, Math.max(...at.map((k) => of.rank_upper[k])) + 0.2, names + 14, right);
    const y = (k) => top + at.indexOf(k) * row + row / 2;
    return plot.picture(right + 12 + room + numbers, bottom + 44, `Mean ranks over ${of.columns.length} columns`,
      ...plot.axisX(Object.assign(x, {ticks: x.ticks.filter((v) => v >= 1 && Number.isInteger(v))}), top, bottom, "mean rank (1 is best), 95% interval"),
      ...bars.map((bar, n) => {
        const across = right + 14 + n * 14;
        return plot.mark(s("g", {style: "color: var(--ink)"},
          s("line", {x1: across, x2: across, y1: y(bar[0]), y2: y(bar[bar.length - 1]), style: "stroke: var(--ink); stroke-width: 3; stroke-linecap: round"}),
          ...bar.map((k) => marker(0, across, y(k), 4.5))),
        `No test separates the means of\n${bar.map((k) => of.encoders[k]).join(", ")}`);
      }),
      ...at.flatMap((k) => {
        const e = of.encoders[k];
        const text = `${e}\nmean rank ${of.rank[k].toFixed(2)} [${of.rank_lower[k].toFixed(2)}, ${of.rank_upper[k].toFixed(2)}]\nmean ${of.about.title} ${fixed(of.value[k])}${plot.interval(of.lower[k], of.upper[k])}\nthe best mean in ${(100 * of.best[k]).toFixed(0)}% of the resamples`;
        return [
          plot.name(e, names, y(k) + 4, names - 4, {"text-anchor": "end"}),
          s("line", {x1: x(of.rank_lower[k]), x2: x(of.rank_upper[k]), y1: y(k), y2: y(k), style: `stroke: ${plot.colour(state, e)}; stroke-width: 2`}),
          plot.point(state, e, x(of.rank[k]), y(k), text),
          s("text", {x: right + 12 + room, y: y(k) + 4}, of.rank[k].toFixed(2),
            wide ? s("tspan", {class: "label", dx: 6}, `[${of.rank_lower[k].toFixed(2)}, ${of.rank_upper[k].toFixed(2)}]`) : null),
        ];
      }));
  }

  charts.ranks = {
    place: 2,
    title: "Critical difference",
    hint: "Mean rank over all columns of the table, with its interval over resampled patients. A bar joins encoders whose means no paired test separates (two-sided, Holm over all pairs, 5%): its dots are its members, it may pass over others. It is about these test sets, not about data sets at large.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? draw(of, state) : null;
    },
  };
}
