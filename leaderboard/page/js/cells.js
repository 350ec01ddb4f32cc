// One cell: what is known of it, what is written in it, and what is said when it is pointed at.
const P_UNIT = 10000;
const ALPHA = 0.05;

/** The cell of encoder `who` in a part of a column (a label, a group), or null where it has no result there. */
function cellOf(part, who) {
  const k = part ? part.who.indexOf(who) : -1;
  if (k < 0) return null;
  const of = (name) => (part[name] ? part[name][k] : null);
  return {
    value: of("v"), lower: of("lo"), upper: of("hi"), sd: of("sd"), gain: of("g"), gainLower: of("gl"),
    gainUpper: of("gh"), p: of("p"), chance: of("chance"), ties: of("ties"), note: of("note"), seen: of("seen") === 1,
    seeds: of("seeds") || 1, part, rank: 0,
  };
}

const thousandth = (v) => fixed(v === null || v === undefined ? null : v / 1000);
const signed = (v) => (v < 0 ? "" : "+") + thousandth(v);
const better = (cell) => cell.p !== null && cell.p < ALPHA * P_UNIT;

/** What stands beside a value: its interval, or its spread over training seeds or folds. */
function beside(cell) {
  if (cell.text !== undefined || cell.value === null) return "";
  if (cell.chance !== null && cell.chance !== undefined) return `(${thousandth(cell.chance)} by chance)`;
  if (payload.spread === "sd") return cell.sd === null || cell.sd === undefined ? "" : `± ${thousandth(cell.sd)}`;
  return cell.lower === null ? "" : `[${thousandth(cell.lower)}, ${thousandth(cell.upper)}]`;
}

/** The parts of a cell's text, of which the table and all exports are made. */
function written(cell) {
  if (!cell) return {value: ABSENT, rank: 0, dagger: "", beside: "", star: "", ties: ""};
  if (cell.text !== undefined) return {value: cell.text, rank: 0, dagger: "", beside: "", star: "", ties: ""};
  const known = cell.value !== null;
  return {
    value: thousandth(cell.value), rank: cell.rank, dagger: known && cell.seen ? "†" : "", beside: beside(cell),
    star: known && better(cell) ? "*" : "", ties: known && cell.lettered ? cell.ties || ABSENT : "",
  };
}

const count = (n) => n.toLocaleString("en-US");

/** What a cell rests on, a line each. */
function details(cell, head, name, table) {
  const lines = [`${name}, ${head.title}`];
  if (!cell) return [...lines, "no result"];
  if (cell.why) return [...lines, `cannot be asked this: ${cell.why}`];
  if (cell.published) return [...lines, `published: ${cell.published.source}`, ...cell.published.differs.map((d) => `differs: ${d}`)];
  if (cell.text !== undefined) return [...lines, cell.text];
  lines.push(`${table.title} ${thousandth(cell.value)}${cell.lower === null || cell.lower === undefined ? "" : `, 95% interval ${thousandth(cell.lower)} to ${thousandth(cell.upper)}`}`);
  if (cell.gain !== null && cell.gain !== undefined) {
    const limits = cell.gainLower === null ? "" : `, 90% interval ${signed(cell.gainLower)} to ${signed(cell.gainUpper)}`;
    lines.push(`gain over ${payload.encoders[payload.baseline].name}: ${signed(cell.gain)}${limits}`);
  }
  if (cell.p !== null && cell.p !== undefined) lines.push(`p ${cell.p ? `= ${fixed(cell.p / P_UNIT, 4)}` : "< 0.0001"}, one-tailed, Holm`);
  if (cell.part) {
    const of = cell.part;
    const positives = of.positives === undefined || head.numbers ? "" : `, ${count(of.positives)} positive`;
    lines.push(`${count(of.n)} ${table.rows} of ${count(of.patients)} patients${positives}`);
  }
  if (cell.seeds > 1) lines.push(`${cell.seeds} training seeds`);
  if (cell.seen) lines.push("† it may have seen images of this data set: see the notes");
  if (cell.note) lines.push(cell.note);
  return lines;
}
