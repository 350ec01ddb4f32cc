// What can be chosen: data, protocol, label fraction, metric, columns, data sets, families, contamination, names.
function field(label, control) {
  return h("label", {class: "field"}, h("span", {}, label), control);
}

function select(name, options, label) {
  const control = h("select", {id: `choose-${name}`, onchange: (event) => choose({[name]: event.target.value})},
    options.map(([value, text]) => h("option", {value, selected: value === state[name]}, text)));
  control.disabled = options.length < 2;
  return field(label, control);
}

/** Boxes to tick, folded; `hidden` is the set of those that are not shown. */
function boxes(title, values, hidden, open) {
  const shown = values.filter((value) => !hidden.has(value)).length;
  const box = (value) => h("label", {}, h("input", {type: "checkbox", checked: !hidden.has(value), "data-of": title, value, onchange: (event) => {
    event.target.checked ? hidden.delete(value) : hidden.add(value);
    update();
  }}), named(value));
  const all = (on) => h("button", {type: "button", class: "plain", onclick: () => {
    hidden.clear();
    if (!on) values.forEach((value) => hidden.add(value));
    update();
  }}, on ? "all" : "none");
  return h("details", {class: "field boxes", "data-boxes": title, open}, h("summary", {}, `${title} (${shown} of ${values.length})`),
    h("div", {role: "group", "aria-label": title}, h("div", {}, all(true), all(false)), values.map(box)));
}

/** The controls for what is chosen now; whatever had the focus keeps it. */
function drawControls(view) {
  const form = at("controls");
  const active = document.activeElement;
  const again = active && form.contains(active) ? selectorOf(active) : "";
  const caret = active && active.type === "search" ? active.selectionStart : null;
  const open = new Set([...form.querySelectorAll("details[open]")].map((one) => one.dataset.boxes));
  const of = choices(view.table);
  const titles = view.table.columns.map((column) => column.title);
  const families = unique(view.order.map((who) => payload.encoders[who].family)).sort();
  form.replaceChildren(...[
    select("protocol", of.protocol, "Protocol"), select("fraction", of.fraction, "Training labels"),
    select("metric", of.metric, "Metric"), select("columns", cuts(view.table), "Columns"),
    view.cut ? null : boxes("Data sets", titles, state.hide, open.has("Data sets")),
    boxes(payload.row === "encoder" ? "Families" : "Protocols", families, state.without, open.has("Families") || open.has("Protocols")),
    select("dagger", [["all", "shown"], ["none", "hidden"], ["only", "only these"]], "Contaminated †"),
    field(`Find ${payload.row}s`, h("input", {type: "search", id: "choose-find", value: state.find, autocomplete: "off", oninput: (event) => choose({find: event.target.value})})),
    h("button", {type: "button", id: "reset", class: "plain", onclick: reset}, "Reset"),
  ].filter(Boolean));
  const next = again ? form.querySelector(again) : null;
  if (next) next.focus({preventScroll: true});
  if (next && caret !== null) next.setSelectionRange(caret, caret);
}

function selectorOf(element) {
  if (element.id) return `#${element.id}`;
  if (element.tagName === "SUMMARY") return `[data-boxes="${element.parentNode.dataset.boxes}"] summary`;
  if (element.dataset.of) return `input[data-of="${element.dataset.of}"][value="${CSS.escape(element.value)}"]`;
  return "";
}

function drawData() {
  const kinds = unique(payload.tables.map((table) => table.synthetic));
  const box = at("data");
  const button = (on) => h("label", {}, h("input", {
    type: "radio", name: "data", value: on ? "synthetic" : "real", checked: on === synthetic(),
    onchange: () => choose({data: on ? "synthetic" : "real"}),
  }), on ? "Synthetic data" : "Real data");
  if (kinds.length > 1 && !box.firstChild) box.replaceChildren(...kinds.map(button));
  for (const input of box.querySelectorAll("input")) input.checked = input.value === state.data;
  box.hidden = kinds.length < 2;
  at("synthetic").hidden = !synthetic();
  for (const one of document.querySelectorAll("[data-synthetic]")) one.hidden = one.dataset.synthetic !== String(synthetic());
}

function choose(what) {
  Object.assign(state, what);
  update();
}

function reset() {
  const {data, theme} = state;
  cleared();
  choose({data, theme});
}

function drawTheme() {
  const root = document.documentElement;
  root.style.colorScheme = state.theme === "dark" || state.theme === "light" ? state.theme : "";
  at("theme").textContent = isDark() ? "Light" : "Dark";
  at("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
}

function isDark() {
  return state.theme ? state.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Folded boxes close when something else is chosen, or with Escape. */
function listenForBoxes() {
  const others = (target) => [...document.querySelectorAll("details.boxes[open]")].filter((one) => !one.contains(target));
  document.addEventListener("pointerdown", (event) => others(event.target).forEach((one) => { one.open = false; }));
  at("controls").addEventListener("keydown", (event) => {
    const box = event.target.closest("details.boxes[open]");
    if (event.key !== "Escape" || !box) return;
    box.open = false;
    box.querySelector("summary").focus();
  });
}
