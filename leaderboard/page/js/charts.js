// Pictures: each chart is an entry of `charts`, drawn again whenever something is chosen.
function chartNames() {
  return Object.keys(charts).filter((name) => dataOf(name));
}

/** What a chart draws; two charts may draw the same (`data`: under which name it stands). */
function dataOf(name) {
  return payload.pictures[charts[name].data || name];
}

/** What a chart must know of the choices. */
function chartState(view) {
  const [baseline, table] = [payload.baseline, view.table];
  const label = view.heads.find((head) => head.key === state.sort && head.label);
  return {
    table: {
      synthetic: table.synthetic, protocol: table.protocol, fraction: table.fraction, metric: table.metric,
      metric_title: table.title, higher: table.higher, tested: table.tested, columns: table.columns.map(({title, dataset}) => ({title, dataset})),
    },
    columns: table.columns.map((column) => column.title).filter((title) => (view.cut ? title === view.column.title : !state.hide.has(title))),
    encoders: view.rows.map((row) => row.name),
    label: label ? label.label : MACRO,
    dataset: view.cut ? view.column.dataset : "",
    by: view.cut && view.cut !== "labels" ? view.cut : "",
    baseline: baseline === null ? null : payload.encoders[baseline].name,
    colours: Object.fromEntries(payload.encoders.map((one, who) => [one.name, colourOf(who)])),
    width: Math.max(300, Math.min(1100, at("picture").clientWidth - 32)),
  };
}

function drawCharts(view) {
  const names = chartNames();
  at("pictures").hidden = !names.length;
  if (!names.length) return;
  if (!names.includes(state.chart)) state.chart = names[0];
  const tab = (name) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "picture", "aria-selected": String(name === state.chart),
    tabindex: name === state.chart ? 0 : -1, onclick: () => choose({chart: name}),
  }, charts[name].title);
  const focused = at("tabs").contains(document.activeElement);
  at("tabs").replaceChildren(...names.map(tab));
  if (focused) at(`tab-${state.chart}`).focus();
  const chart = charts[state.chart];
  const drawn = chart.draw(dataOf(state.chart), chartState(view));
  const note = (payload.pictures.notes || {})[chart.data || state.chart];
  at("picture").setAttribute("aria-labelledby", `tab-${state.chart}`);
  at("picture").replaceChildren(h("p", {class: "quiet"}, chart.hint, note ? ` Shown: ${note}.` : ""), drawn || h("p", {}, "There is nothing to draw for this choice."));
}

function listenInTabs() {
  at("tabs").addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const names = chartNames();
    choose({chart: names[(names.indexOf(state.chart) + step + names.length) % names.length]});
  });
}
