// What stands under the table that is shown, and above it: which tests were made, what the columns are.
function titleOf(view) {
  const {table, cut, column} = view;
  const mean = table.of && cut !== "labels" ? `, mean over ${table.of}` : "";
  const several = payload.tables.some((one) => one.synthetic === table.synthetic && one.fraction !== 1);
  const fraction = several ? `, ${percent(table.fraction)} of the training labels` : "";
  const of = !cut ? "" : cut === "labels" ? `: labels of ${column.title}` : `: ${column.title} by ${cut}`;
  return `${table.named}: ${table.title}${mean}${fraction}${of}`;
}

function chanceNote(parts) {
  const some = parts.some((part) => part && part.chance);
  return some ? ["By chance: what such scores would have if they were exactly right. Such a metric is not tested."] : [];
}

function notesOfDataSets(table, columns) {
  const notes = [];
  if (payload.baseline !== null && table.tested) {
    const [cells, means] = table.tests;
    notes.push(`Tests made: ${means ? `${cells} of cells and ${means} of means` : cells}.`);
    if (!table.headline) notes.push("Marks for this metric in its own right.");
  }
  if (columns.length < table.columns.length && Object.keys(table.means).length) {
    notes.push(`Mean and what is over all columns: of all ${table.columns.length} data sets, of which ${columns.length} are shown.`);
  }
  return [...notes, ...chanceNote(columns.map(headlineOf))];
}

function notesOfLabels(table, column) {
  const parts = column.parts.filter((part) => labelOf(part).name !== MACRO);
  const tests = parts.flatMap((part) => part.p || []).filter((p) => p !== null).length;
  const made = payload.baseline === null ? "" : ` Tests made: ${tests}.`;
  return [
    `Labels: * is one-tailed against the baseline, Holm over all labels and groups of a task, shown or not: of all of these a false * has a probability of at most 5%.${made}`,
    "Labels of fewer than 10 patients on the rarer side are not tested, those of fewer than 5 have no interval.",
    ...chanceNote(column.parts),
  ];
}

function notesOfGroups(group) {
  const tests = group.parts.flatMap((part) => part.p || []).filter((p) => p !== null).length;
  return [
    `* is within the group: over all groups, encoders and data sets of a metric, protocol and label fraction a false * has a probability of at most 5% (Holm). Tests made here: ${tests}.`,
    "Gap: of the encoder's worst group to its best, on the same resamples. With more than two groups these two were picked for lying far apart, so their gap is larger than it would be in other patients. Gaps are not tested.",
    ...group.notes,
  ];
}

/** What is hidden, in words: a print, and whoever cannot see the controls, must know. */
function chosenText(view) {
  const all = view.order.length;
  const what = `${view.rows.length} of ${all} ${payload.row}s`;
  const sets = view.cut ? "" : `, ${view.table.columns.filter((c) => !state.hide.has(c.title)).length} of ${view.table.columns.length} data sets`;
  const why = [
    state.without.size ? `without ${[...state.without].join(", ")}` : "",
    state.find ? `names with “${state.find}”` : "",
    {all: "", none: "without results marked †", only: "only with results marked †"}[state.dagger],
  ].filter(Boolean).join(", ");
  return `${what}${sets}${why ? ` (${why})` : ""}`;
}

/** How one cell of this board is read: the best of the first column. */
function example(view) {
  const head = view.heads.find((one) => one.ranked);
  const row = view.rows.find((one) => head && one.cells[view.heads.indexOf(head)] && one.cells[view.heads.indexOf(head)].rank === 1);
  if (!row) return null;
  const cell = row.cells[view.heads.indexOf(head)];
  const text = written(cell);
  const parts = [
    [text.value, `${view.table.title} on ${head.title}: ${view.table.higher ? "higher" : "lower"} is better${text.rank === 1 ? "; bold: the best of the rows shown" : ""}`],
    [text.beside, payload.spread === "sd" ? "SD over training seeds or folds" : "95% interval: how far the value may be off, for it rests on these patients and not on others like them"],
    [text.star, payload.baseline === null ? "" : `better than ${payload.encoders[payload.baseline].name}, and not by chance (5%, all tests of the table together)`],
    [text.dagger, "the encoder may have seen images of this data set"],
    [text.ties, `${payload.row}s that share a letter in this column are not told apart by these patients`],
  ];
  return h("dl", {class: "example"}, h("div", {}, h("dt", {}, named(row.name)), h("dd", {}, `the ${payload.row}`)),
    parts.filter(([mark]) => mark).map(([mark, what]) => h("div", {}, h("dt", {}, mark), h("dd", {}, what))));
}
