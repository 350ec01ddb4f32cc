// Pictures: each chart is an entry of `charts`, drawn again whenever something is chosen.
/** Charts that have data: those that say who is better first. */
function chartNames() {
  const there = Object.keys(charts).filter((name) => at(`picture-${charts[name].data || name}`));
  return there.sort((a, b) => charts[a].place - charts[b].place);
}

/** The data of a picture, read once; null where there are none. */
function pictureData(name) {
  const element = at(`picture-${name}`);
  if (!(name in pictureData.read)) pictureData.read[name] = element ? JSON.parse(element.textContent) : null;
  return pictureData.read[name];
}
pictureData.read = Object.create(null);

/** What a chart must know of the choices. */
function chartState(view, width) {
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
    width,
  };
}

function drawTabs() {
  const names = chartNames();
  at("pictures").hidden = !names.length;
  if (!names.length) return;
  if (!names.includes(state.chart)) state.chart = names[0];
  const tab = (name) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "picture", "aria-selected": String(name === state.chart),
    tabindex: name === state.chart ? 0 : -1, onclick: () => chooseChart(name),
  }, charts[name].title);
  const focused = at("tabs").contains(document.activeElement);
  at("tabs").replaceChildren(...names.map(tab));
  if (focused) at(`tab-${state.chart}`).focus();
  at("picture").setAttribute("aria-labelledby", `tab-${state.chart}`);
}

function drawChart(view, width = Math.max(300, Math.min(1100, at("picture").clientWidth - 32))) {
  const chart = charts[state.chart];
  if (!chart) return;
  const name = chart.data || state.chart;
  const drawn = chart.draw(pictureData(name), chartState(view, width));
  const note = (pictureData("notes") || {})[name];
  at("picture").replaceChildren(
    h("p", {class: "quiet"}, chart.hint, note ? ` Shown: ${note}.` : ""), drawn || h("p", {}, "There is nothing to draw for this choice."),
  );
}

/** The picture comes after the table: it may take longer. */
function drawChartLater() {
  afterFrame("chart", () => drawChart(shown));
}

function chooseChart(name) {
  state.chart = name;
  drawTabs();
  drawChart(shown);
  writeHash();
}

function listenInTabs() {
  at("tabs").addEventListener("keydown", (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (!step) return;
    event.preventDefault();
    const names = chartNames();
    chooseChart(names[(names.indexOf(state.chart) + step + names.length) % names.length]);
  });
}
