// Each encoder within groups of patients, and how far its worst group lies below its best.
{
  const build = (pictures, state) => (draw) => {
    const by = pictures.map((one) => [one.by, one.by]);
    const of = pictures.find((one) => one.by === (pictures.some((p) => p.by === state.by) ? state.by : plot.pick("groups by", by)));
    const tasks = of.tasks.filter((one) => state.columns.includes(one.task));
    const options = tasks.map((one) => [one.task, one.task]);
    const one = tasks.find((task) => task.task === plot.pick("groups task", options));
    if (!one) return null;
    const at = one.encoders.map((e, k) => k).filter((k) => state.encoders.includes(one.encoders[k]));
    if (!at.length) return null;
    return [
      plot.choices(pictures.some((p) => p.by === state.by) ? null : plot.choice("groups by", "By", by, draw), plot.choice("groups task", "Task", options, draw)),
      rows(of, one, at, state), plot.key(one.groups.map((group, g) => [plot.swatchOf(g, colourOfGroup(g)), named(group), ` ${one.images[g].toLocaleString("en")} images, ${one.patients[g].toLocaleString("en")} patients`])),
      one.notes.length ? h("ul", {class: "quiet"}, ...one.notes.map((note) => h("li", {}, note))) : null,
    ];
  };

  const colourOfGroup = (g) => `var(--c${g % 8})`;

  function rows(of, one, at, state) {
    const wide = state.width > 560;
    const [names, numbers] = [Math.min(230, state.width * (wide ? 0.27 : 0.33)), wide ? 180 : 60];
    const [top, row] = [26, 26];
    const bottom = top + at.length * row + 4;
    const span = plot.extent(at.flatMap((k) => one.value[k]), 0.06, of.about.share ? [0, 1] : null);
    if (!span) return h("p", {}, "None of these rows has a value here.");
    const x = plot.scale(...span, names + 14, state.width - numbers - 12);
    return plot.picture(state.width, bottom + 44, `${of.about.title} by ${of.by}, ${one.task}`,
      s("text", {x: state.width - numbers, y: 14, class: "label"}, wide ? "gap [95% interval]" : "gap"),
      ...plot.axisX(x, top, bottom, of.about.title),
      ...at.flatMap((k, n) => {
        const y = top + n * row + row / 2;
        const known = one.value[k].filter((v) => v !== null);
        return [
          plot.name(one.encoders[k], names, y + 4, names - 4, {"text-anchor": "end"}),
          known.length > 1 ? s("line", {x1: x(Math.min(...known)), x2: x(Math.max(...known)), y1: y, y2: y, style: "stroke: var(--line); stroke-width: 2"}) : null,
          ...one.groups.map((group, g) => {
            if (one.value[k][g] === null) return null;
            const dot = marker(g, x(one.value[k][g]), y, 5);
            dot.style.color = colourOfGroup(g);
            const role = group === one.worst[k] ? ", its worst group" : group === one.best[k] ? ", its best group" : "";
            return plot.mark(dot, `${one.encoders[k]}, ${group}${role}\n${of.about.title} ${fixed(one.value[k][g])}${plot.interval(one.lower[k][g], one.upper[k][g])}\n${one.patients[g].toLocaleString("en")} patients${one.p_holm[k][g] === null ? "" : `\nagainst ${state.baseline}: ${plot.pValue(one.p_holm[k][g])}`}`);
          }),
          one.gap[k] === null ? null : s("text", {x: state.width - numbers, y: y + 4}, fixed(one.gap[k]),
            wide ? s("tspan", {class: "label", dx: 6}, plot.interval(one.gap_lower[k], one.gap_upper[k])) : null),
        ];
      }));
  }

  charts.groups = {
    place: 9,
    title: "Subgroups",
    hint: "Each encoder within groups of patients, the smallest gap from worst to best first. Groups differ in how hard their images are, so look at how gaps differ between encoders. With more than two groups the two that lie farthest apart were picked, so their gap is larger than it would be in other patients. Gaps are not tested.",
    draw(data, state) {
      const of = data.filter((one) => plot.isOf(one.about, state.table));
      return of.length ? plot.chosen(build(of, state)) : null;
    },
  };
}
