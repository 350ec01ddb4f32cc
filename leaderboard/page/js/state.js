// What the reader has chosen. It stands in the address of the page, so that a link keeps it.
const ABSENT = "–";
const payload = JSON.parse(at("payload").textContent);
for (const table of payload.tables) {
  for (const column of table.columns) for (const part of column.parts) part.who = part.who || column.who;
}
const ROW = payload.row[0].toUpperCase() + payload.row.slice(1);
const charts = Object.create(null);
const state = Object.create(null);
const ONE = {data: "", protocol: "", fraction: "", metric: "", columns: "", dagger: "all", find: "", sort: "", up: "", chart: "", theme: ""};
const MANY = ["hide", "without"];  // columns by title; families

/** Nothing chosen. */
function cleared() {
  Object.assign(state, ONE);
  for (const name of MANY) state[name] = new Set();
}

function readHash() {
  cleared();
  const found = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(ONE)) if (found.has(name)) state[name] = found.get(name);
  for (const name of MANY) for (const value of found.getAll(name)) state[name].add(value);
}

function writeHash() {
  const found = new URLSearchParams();
  for (const [name, usual] of Object.entries(ONE)) if (state[name] !== usual) found.set(name, state[name]);
  for (const name of MANY) for (const value of state[name]) found.append(name, value);
  const text = found.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

const unique = (values) => [...new Set(values)];
const synthetic = () => state.data === "synthetic";
const percent = (fraction) => `${Number((100 * fraction).toPrecision(6))}%`;

/** The table that is chosen; where a choice cannot be had with those before it, the nearest that can. */
function chosenTable() {
  const kinds = unique(payload.tables.map((table) => table.synthetic));
  if (!kinds.includes(synthetic()) || !["real", "synthetic"].includes(state.data)) {
    state.data = kinds[0] ? "synthetic" : "real";
  }
  let left = payload.tables.filter((table) => table.synthetic === synthetic());
  const narrowed = (name, of, usual) => {
    const there = unique(left.map(of));
    if (!there.includes(state[name])) state[name] = of(usual(left));
    left = left.filter((table) => of(table) === state[name]);
  };
  narrowed("protocol", (table) => table.protocol, (tables) => tables[0]);
  narrowed("fraction", (table) => String(table.fraction), (tables) => tables[0]);
  narrowed("metric", (table) => table.metric, (tables) => tables.find((table) => table.headline) || tables[0]);
  return left[0];
}

/** What may be chosen beside each other: tables that differ from the chosen one in one thing. */
function choices(table) {
  const here = payload.tables.filter((one) => one.synthetic === table.synthetic);
  const of = here.filter((one) => one.protocol === table.protocol);
  return {
    protocol: unique(here.map((one) => one.protocol)).map((p) => [p, here.find((one) => one.protocol === p).named]),
    fraction: unique(of.map((one) => one.fraction)).map((f) => [String(f), percent(f)]),
    metric: of.filter((one) => one.fraction === table.fraction).map((one) => [one.metric, `${one.title} ${one.higher ? "↑" : "↓"}`]),
  };
}
