// What is on the screen, as plain values: rows, columns and cells after all choices. Table and exports are made of it.
const MACRO = "macro";
const labelOf = (part) => payload.labels[part.label];
const headlineOf = (column) => column.parts.find((part) => labelOf(part).name === MACRO);
const own = (name) => ({title: name, md: name, tex: latexText(name)});
const formsOf = (one) => ({title: one.name, md: one.md, tex: one.tex});

/** How the columns may be cut: `[value, what a reader is told]`. */
function cuts(table) {
  const found = [["", "data sets"]];
  for (const column of table.columns) {
    if (column.parts.length > 1) found.push([`labels ${column.title}`, `labels of ${column.title}`]);
    for (const group of column.groups || []) found.push([`${group.by} ${column.title}`, `${group.by}: ${column.title}`]);
  }
  return found;
}

function buildView() {
  const table = chosenTable();
  if (!cuts(table).some(([value]) => value === state.columns)) state.columns = "";
  const [cut, title] = [state.columns.split(" ", 1)[0], state.columns.split(" ").slice(1).join(" ")];
  const column = table.columns.find((one) => one.title === title);
  const part = !cut ? ofDataSets(table) : cut === "labels" ? ofLabels(table, column) : ofGroups(table, column, cut);
  const view = {table, cut, column, ...part};
  view.rows = shownRows(view);
  sortRows(view);
  view.published = publishedRows(view);
  if (table.tested) view.heads.forEach((head, k) => head.ranked && markRanks(view.rows, k, head.sign));
  return view;
}

function ofDataSets(table) {
  const columns = table.columns.filter((column) => !state.hide.has(column.title));
  const several = table.order.length > 1;
  const heads = columns.map((column) => {
    const part = headlineOf(column);
    const lettered = several || Boolean(part && part.ties);
    return {
      key: column.title, ...formsOf(column), label: MACRO, task: column.title, numbers: column.numbers, ranked: true,
      sign: table.higher ? 1 : -1,
      cell: (who) => withLetters(cellOf(part, who), lettered) || absent(column, who),
      feet: [thousandth(column.detectable), `${count(column.images)} (${count(column.patients)})`],
    };
  });
  return {
    heads: [...heads, ...overAll(table)],
    order: table.order.filter((who) => heads.length === 0 || heads.some((head) => head.cell(who))),
    feet: ["smallest detectable difference", `test ${table.rows} (patients)`],
    notes: notesOfDataSets(table, columns),
  };
}

const withLetters = (cell, lettered) => cell && Object.assign(cell, {lettered});

function absent(column, who) {
  return who in column.absent ? {text: "n/a", why: column.absent[who]} : null;
}

/** The mean over all columns of a table, and what is said over all of them. */
function overAll(table) {
  const heads = [];
  if (Object.keys(table.means).length) {
    heads.push({
      key: "mean", ...own("Mean"), ranked: true, sign: table.higher ? 1 : -1, feet: ["", ""],
      cell: (who) => {
        if (!(who in table.means)) return null;
        const over = table.overall[who] || {lo: null, hi: null, p: null};
        return {value: table.means[who], lower: over.lo, upper: over.hi, p: over.p, sd: null, rank: 0, interval: true};
      },
    });
  }
  const extra = [["rank", "Mean rank", -1], ["best", "Best mean", 1], ["gain", "Gain of the mean [90% interval]", 1],
    ["elsewhere", "Elsewhere: better / equal / worse", 1]];
  const there = Object.values(table.overall);
  for (const [name, title, sign] of extra) {
    if (!there.some((one) => name in one)) continue;
    const cell = (who) => {
      const found = (table.overall[who] || {})[name];
      return found ? {text: found[1], number: found[0]} : null;
    };
    heads.push({key: `over ${name}`, ...own(title), sign, cell, feet: ["", ""]});
  }
  return heads;
}

function ofLabels(table, column) {
  const heads = column.parts.map((part) => {
    const label = labelOf(part);
    const forms = label.name === MACRO ? own(`mean over ${table.of || "the label"}`) : formsOf(label);
    const positives = part.positives === undefined || column.numbers ? "" : `${count(part.positives)} / `;
    return {
      key: `label ${label.name}`, ...forms, label: label.name, task: column.title, numbers: column.numbers, ranked: true,
      sign: table.higher ? 1 : -1, cell: (who) => cellOf(part, who) || absent(column, who),
      feet: [`${positives}${count(part.n)}`],
    };
  });
  const feet = [column.numbers ? table.rows : `positives / ${table.rows}`];
  return {heads, order: byFirst(table, heads), feet, notes: notesOfLabels(table, column)};
}

function ofGroups(table, column, by) {
  const group = column.groups.find((one) => one.by === by);
  const sign = table.higher ? 1 : -1;
  const heads = group.parts.map((part) => ({
    key: `group ${labelOf(part).name}`, ...formsOf(labelOf(part)), ranked: true, sign, numbers: column.numbers,
    cell: (who) => cellOf(part, who), feet: [`${count(part.n)} (${count(part.patients)})`],
  }));
  heads.push({
    key: "worst", ...own("Worst"), sign: 1, feet: [""],
    cell: (who) => (who in group.gaps ? {text: group.gaps[who][0], number: 0} : null),
  }, {
    key: "gap", ...own("Gap to the best [95% interval]"), sign: -1, feet: [""],
    cell: (who) => {
      if (!(who in group.gaps)) return null;
      const [, , gap, lower, upper] = group.gaps[who];
      const limits = lower === null ? "" : ` [${signed(lower)}, ${signed(upper)}]`;
      return {text: `${thousandth(gap)}${limits}`, number: gap};
    },
  });
  return {heads, order: byFirst(table, heads), feet: [`test ${table.rows} (patients)`], notes: notesOfGroups(group)};
}

/** Rows as their first column has them, the best first. */
function byFirst(table, heads) {
  const there = table.order.filter((who) => heads.some((head) => head.cell(who)));
  return there.sort((a, b) => compared(heads[0], heads[0].cell(a), heads[0].cell(b)) || byName(a, b));
}

const collator = new Intl.Collator("en", {numeric: true});
const byName = (a, b) => collator.compare(payload.encoders[a].name, payload.encoders[b].name) || a - b;

function sortable(cell) {
  if (!cell) return null;
  return cell.text !== undefined ? (cell.number === undefined ? null : cell.number) : cell.value;
}

/** The better one first; without a value last. */
function compared(head, a, b) {
  const [x, y] = [sortable(a), sortable(b)];
  if (x === null || y === null) return (x === null) - (y === null);
  return head.sign * (y - x);
}

function shownRows(view) {
  const wanted = state.find.trim().toLowerCase();
  const rows = view.order
    .filter((who) => !state.without.has(payload.encoders[who].family))
    .filter((who) => !wanted || `${payload.encoders[who].name} ${payload.encoders[who].spec}`.toLowerCase().includes(wanted))
    .map((who) => ({who, ...payload.encoders[who], cells: view.heads.map((head) => head.cell(who))}));
  if (state.dagger === "all") return rows;
  return rows.filter((row) => row.cells.some((cell) => cell && cell.seen) === (state.dagger === "only"));
}

function sortRows(view) {
  const back = state.up ? -1 : 1;
  if (state.sort === "name") view.rows.sort((a, b) => back * byName(a.who, b.who));
  const k = view.heads.findIndex((head) => head.key === state.sort);
  if (k < 0) return;
  const {title} = view.heads[k];
  view.rows.sort((a, b) => {
    const [x, y] = [a.cells[k], b.cells[k]];
    if (title === "Worst" && x && y) return back * collator.compare(x.text, y.text) || byName(a.who, b.who);
    const missing = (sortable(x) === null) - (sortable(y) === null);
    return missing || back * compared(view.heads[k], x, y) || byName(a.who, b.who);
  });
}

/** Best and second of a column by what is printed: what reads the same is marked the same. */
function markRanks(rows, k, sign) {
  const cells = rows.map((row) => row.cells[k]).filter((cell) => cell && cell.text === undefined && cell.value !== null);
  if (cells.length < 2) return;
  const [best, second] = unique(cells.map((cell) => cell.value)).sort((a, b) => sign * (b - a));
  for (const cell of cells) cell.rank = cell.value === best ? 1 : cell.value === second ? 2 : 0;
}

/** Figures of papers for the columns that are shown; they take no part in anything. */
function publishedRows(view) {
  const found = new Map();
  view.heads.forEach((head, k) => {
    if (!head.task) return;
    for (const one of payload.published) {
      const here = one.task === head.task && one.metric === view.table.metric && one.label === head.label;
      if (!here || one.fraction !== view.table.fraction) continue;
      if (!found.has(one.name)) found.set(one.name, {...one, cells: view.heads.map(() => null)});
      found.get(one.name).cells[k] = {text: one.text, published: one};
    }
  });
  return [...found.values()];
}
