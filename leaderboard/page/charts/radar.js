// A few encoders on the labels of a task, a spoke per label.
{
  const FEW = 6; // lines that can be told apart
  const RINGS = 4;

  const LEAST = 3; // spokes

  const build = (of, state) => (draw) => {
    const tasks = of.tasks.filter((one) => state.columns.includes(one.task) && one.labels.length >= LEAST);
    const options = tasks.map((one) => [one.task, one.task]);
    const one = tasks.find((task) => task.task === plot.pick("labels task", options));
    if (!one) return null;
    const there = state.encoders.filter((e) => one.encoders.includes(e));
    const shown = there.slice(0, FEW);
    const labels = one.labels.map((label, k) => k).filter((k) => shown.some((e) => one.value[one.encoders.indexOf(e)][k] !== null));
    return [
      plot.choices(plot.choice("labels task", "Task", options, draw)), 
      labels.length < LEAST ? h("p", {}, "Fewer than three labels have a value here.") : spokes(of, one, labels, shown, state), plot.legend(shown, state),
      plot.withoutValues(one, shown),
      there.length > FEW ? h("p", {class: "quiet"}, `The first ${FEW} of ${there.length} rows: sort or filter the table to see others.`) : null,
    ];
  };

  function spokes(of, one, labels, shown, state) {
    const n = labels.length;
    const rows = shown.map((e) => one.encoders.indexOf(e));
    const [low, high] = plot.extent(rows.flatMap((e) => one.value[e]), 0.08, of.about.share ? [0, 1] : null) || [0, 1];
    const width = Math.max(n > 9 ? 480 : 300, Math.min(state.width, 720)); // narrower, the labels would cover each other
    const room = Math.min(150, width * 0.26);
    const radius = (width - 2 * room) / 2;
    const [cx, cy] = [width / 2, radius + 34];
    const at = (k, v) => {
      const [angle, far] = [(2 * Math.PI * k) / n - Math.PI / 2, (radius * Math.max(0, of.about.higher ? v - low : high - v)) / (high - low)];
      return [cx + far * Math.cos(angle), cy + far * Math.sin(angle)];
    };
    const ring = (v) => `${plot.line(...[0, 1].map((d) => labels.map((label, k) => at(k, v)[d])))}z`;
    const rings = Array.from({length: RINGS}, (ignored, k) => (of.about.higher ? low + ((k + 1) * (high - low)) / RINGS : high - ((k + 1) * (high - low)) / RINGS));
    const outer = of.about.higher ? high : low;
    return plot.picture(width, 2 * radius + 68, `${of.about.title} by label, ${one.task}`,
      ...rings.map((v) => s("path", {d: ring(v), class: "grid"})),
      ...labels.flatMap((label, k) => {
        const [x, y] = at(k, outer);
        const [dx, dy] = [(x - cx) / radius, (y - cy) / radius];
        const anchor = Math.abs(dx) < 0.15 ? "middle" : dx > 0 ? "start" : "end";
        return [
          s("line", {x1: cx, y1: cy, x2: x, y2: y, class: "grid"}),
          plot.name(one.labels[label], x + 8 * dx, y + 4 + 12 * dy, anchor === "middle" ? 160 : room - 12, {"text-anchor": anchor, class: "label"}),
        ];
      }),
      ...rings.map((v) => s("text", {x: at(0, v)[0] + 4, y: at(0, v)[1] + 11, class: "label", style: "font-size: 10px"}, fixed(v, 2))),
      ...rows.flatMap((e) => outline(of, one, labels, e, at, state)));
  }

  /** An encoder's line, broken where a label has no value, and its marks. */
  function outline(of, one, labels, e, at, state) {
    const name = one.encoders[e];
    const known = labels.map((label, k) => k).filter((k) => one.value[e][labels[k]] !== null);
    const places = known.map((k) => at(k, one.value[e][labels[k]]));
    const whole = known.length === labels.length;
    const path = plot.line(places.map((p) => p[0]), places.map((p) => p[1])) + (whole ? "z" : "");
    return [
      s("path", {d: path, style: `stroke: ${plot.colour(state, name)}; fill: ${whole ? plot.colour(state, name) : "none"}; fill-opacity: .06; stroke-width: 2`}),
      ...known.map((k, n) => plot.point(state, name, ...places[n],
        `${name}, ${one.labels[labels[k]]}\n${of.about.title} ${fixed(one.value[e][labels[k]])}${plot.interval(one.lower[e][labels[k]], one.upper[e][labels[k]])}`, 4)),
    ];
  }

  charts.radar = {
    place: 4,
    title: "Radar",
    data: "labels",
    hint: "The farther out, the better. The centre is not zero: the axis runs over the values that are shown. Areas mean nothing, and neither does the order of the spokes; intervals are in the tips.",
    draw(data, state) {
      const of = data.find((one) => plot.isOf(one.about, state.table));
      return of ? plot.chosen(build(of, state)) : null;
    },
  };
}
