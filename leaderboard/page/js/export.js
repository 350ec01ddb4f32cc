// The table that is shown as CSV, LaTeX and Markdown: the same rows, columns, order and marks.
const LATEX = {"–": "--", "±": "$\\pm$", "†": "\\dag{}", "%": "\\%", "↑": "$\\uparrow$", "↓": "$\\downarrow$"};
const latexText = (text) => text.replace(/[–±†%↑↓]/g, (letter) => LATEX[letter]);
const words = (...parts) => parts.filter(Boolean).join(" ");

function asMarkdown(view) {
  const cell = (one) => {
    const t = written(one);
    const value = t.rank === 1 ? `**${t.value}**` : t.rank === 2 ? `<u>${t.value}</u>` : t.value;
    return words(value + t.dagger, t.beside, t.star ? "\\*" : "", t.ties);
  };
  const italic = (text) => (text && text !== ABSENT ? `*${text}*` : text);
  const lines = [
    [ROW, ...view.heads.map((head) => head.md)],
    ...view.rows.map((row) => [row.md, ...row.cells.map(cell)]),
    ...view.published.map((row) => [`*${row.md}*`, ...row.cells.map((one) => italic(one ? one.text : ABSENT))]),
    ...view.feet.map((title, k) => [`*${title}*`, ...view.heads.map((head) => italic(head.feet[k]))]),
  ].map((line) => line.map((text) => text.replaceAll("|", "\\|")));
  const widths = lines[0].map((_, k) => Math.max(...lines.map((line) => [...line[k]].length)));
  const padded = lines.map((line) => `| ${line.map((text, k) => text + " ".repeat(widths[k] - [...text].length)).join(" | ")} |`);
  const rule = `|${widths.map((width) => "-".repeat(width + 2)).join("|")}|`;
  return [padded[0], rule, ...padded.slice(1), ""].join("\n");
}

function asLatex(view) {
  const cell = (one) => {
    const t = written(one);
    const value = t.rank === 1 ? `\\textbf{${t.value}}` : t.rank === 2 ? `\\underline{${t.value}}` : t.value;
    return words(latexText(value + t.dagger), latexText(t.beside), t.star ? "$^{*}$" : "", latexText(t.ties));
  };
  const italic = (text) => (text ? `\\emph{${latexText(text)}}` : "");
  const line = (texts) => `${texts.join(" & ")} \\\\`;
  return [
    "% needs \\usepackage{booktabs}",
    `% ${titleOf(view)}; ${chosenText(view)}`.replace(/[\r\n]/g, " "),
    `\\begin{tabular}{${"l".repeat(view.heads.length + 1)}}`, "\\toprule",
    line([ROW, ...view.heads.map((head) => head.tex)]), "\\midrule",
    ...view.rows.map((row) => line([row.tex, ...row.cells.map(cell)])),
    ...view.published.map((row) => line([`\\emph{${row.tex}}`, ...row.cells.map((one) => italic(one ? one.text : ABSENT))])),
    "\\midrule",
    ...view.feet.map((title, k) => line([italic(title), ...view.heads.map((head) => italic(head.feet[k]))])),
    "\\bottomrule", "\\end{tabular}", "",
  ].join("\n");
}

/** Numbers in columns of their own; empty where nothing is known. What a spreadsheet would compute is text. */
function asCsv(view) {
  const quoted = (text) => {
    const safe = /^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const plain = (v) => (v === null || v === undefined ? "" : thousandth(v));
  const has = (k, of) => view.rows.some((row) => row.cells[k] && row.cells[k].text === undefined && of(row.cells[k]));
  const blocks = view.heads.map((head, k) => {
    const value = [[head.title, (cell) => (cell.text !== undefined ? cell.text : plain(cell.value))]];
    const rest = [
      ["by chance", (cell) => plain(cell.chance), (cell) => cell.chance],
      ["lower", (cell) => plain(cell.lower), (cell) => payload.spread !== "sd" && cell.lower !== null],
      ["upper", (cell) => plain(cell.upper), (cell) => payload.spread !== "sd" && cell.upper !== null],
      ["SD", (cell) => plain(cell.sd), (cell) => payload.spread === "sd" && cell.sd !== null],
      ["mark", (cell) => words(written(cell).dagger, written(cell).star), (cell) => written(cell).dagger || written(cell).star],
      ["ties", (cell) => written(cell).ties, (cell) => written(cell).ties],
    ].filter(([, , there]) => has(k, there)).map(([name, of]) => [`${head.title} ${name}`, (cell) => (cell.text !== undefined ? "" : of(cell))]);
    return [...value, ...rest];
  });
  const row = (name, cells) => [name, ...blocks.flatMap((block, k) => block.map(([, of]) => (cells[k] ? of(cells[k]) : "")))];
  const lines = [
    [payload.row, ...blocks.flat().map(([title]) => title)],
    ...view.rows.map((one) => row(one.name, one.cells)),
    ...view.published.map((one) => row(`published: ${one.name}`, one.cells)),
    ...view.feet.map((title, k) => row(title, view.heads.map((head) => ({text: head.feet[k] === ABSENT ? "" : head.feet[k]})))),
  ];
  return `${lines.map((line) => line.map(quoted).join(",")).join("\n")}\n`;
}

const EXPORTS = {csv: ["CSV", asCsv, "csv"], latex: ["LaTeX", asLatex, "tex"], markdown: ["Markdown", asMarkdown, "md"]};

/** The text in a window of its own, to be copied or saved. */
function showText(kind, view) {
  const [title, write, ending] = EXPORTS[kind];
  const text = write(view);
  const area = h("textarea", {readonly: true, rows: 14, spellcheck: "false", "aria-label": `The table as ${title}`});
  area.value = text;
  const said = h("span", {role: "status", class: "quiet"});
  const copy = async () => {
    area.select();
    let done = false;
    try {
      await navigator.clipboard.writeText(text);
      done = true;
    } catch {
      done = document.execCommand("copy");  // a page from a file, in some browsers
    }
    said.textContent = done ? "Copied." : "Select the text and copy it.";
  };
  const save = h("a", {class: "button", download: `board.${ending}`, href: URL.createObjectURL(new Blob([text], {type: "text/plain"}))}, "Save");
  const dialog = at("text");
  dialog.replaceChildren(
    h("h2", {id: "text-title"}, `${title}: ${titleOf(view)}`), area,
    h("div", {class: "bar"}, h("button", {type: "button", onclick: copy}, "Copy"), save, said,
      h("button", {type: "button", onclick: () => dialog.close()}, "Close")),
  );
  dialog.onclose = () => URL.revokeObjectURL(save.href);
  dialog.showModal();
  area.focus();
}
