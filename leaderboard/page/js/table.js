// The table on the screen: one stop of the tab key, arrow keys within it, headings that sort.
const ROW_HEIGHT = 44;
const HEIGHT = 0.85;  // of the window, as the style sheet has it

/** The table of a view within `board`. Rows that nobody sees yet come after the frame: fifty rows of forty cells take a while. */
function drawTable(view, board = at("board"), whole = false) {
  const keep = board.contains(document.activeElement) ? place(document.activeElement.closest("th,td")) : null;
  const seen = whole || keep ? Infinity : Math.ceil((board.scrollTop + HEIGHT * innerHeight) / ROW_HEIGHT);
  const body = h("tbody", {}, view.rows.slice(0, seen).map((row) => bodyRow(row, view)));
  const grid = h("table", {role: "grid", "aria-labelledby": "table-title", "aria-rowcount": view.rows.length + 1},
    h("thead", {}, h("tr", {}, heading({key: "name", title: ROW}, view), view.heads.map((head) => heading(head, view)))),
    body,
    view.published.length ? h("tbody", {class: "published"}, view.published.map((row) => bodyRow(row, view))) : null,
    h("tfoot", {}, view.feet.map((title, k) => h("tr", {}, h("th", {scope: "row", tabindex: "-1"}, title), view.heads.map((head) => h("td", {tabindex: "-1"}, head.feet[k]))))),
  );
  board.replaceChildren(grid);
  if (!whole) afterFrame("rows", () => body.append(...view.rows.slice(seen).map((row) => bodyRow(row, view))));
  const start = keep ? stop(grid, ...keep) : null;
  (start || stop(grid, 0, 0)).tabIndex = 0;
  if (start) start.focus({preventScroll: true});
}

function heading(head, view) {
  const chosen = state.sort === head.key;
  const ascending = head.key === "name" ? !state.up : (head.sign < 0) === !state.up;
  const sort = chosen ? (ascending ? "ascending" : "descending") : null;
  return h("th", {scope: "col", "aria-sort": sort},
    h("button", {type: "button", tabindex: "-1", "data-sort": head.key}, named(head.title),
      h("span", {class: "sort", "aria-hidden": "true"}, sort ? (ascending ? "▲" : "▼") : "↕")));
}

function bodyRow(row, view) {
  const name = row.published ? named(row.name) : [row.who === undefined ? null : swatch(row.who), named(row.name)];
  const first = row.who === undefined ? h("th", {scope: "row", tabindex: "-1"}, name)
    : h("th", {scope: "row"}, h("button", {type: "button", tabindex: "-1", "data-card": row.who}, name));
  return h("tr", {}, first, row.cells.map((cell, k) => bodyCell(cell, view.heads[k], row, view)));
}

function bodyCell(cell, head, row, view) {
  const t = written(cell);
  const value = t.rank ? h(t.rank === 1 ? "strong" : "u", {}, t.value) : t.value;
  const td = document.createElement("td");
  td.tabIndex = -1;
  td.append(value, t.dagger, t.star ? ` ${t.star}` : "", t.ties ? ` ${t.ties}` : "");
  if (t.beside) {
    const small = document.createElement("small");
    small.textContent = t.beside;
    td.append(" ", small);
  }
  if (!cell || (cell.text !== undefined && !cell.why)) td.className = "other";
  return tip(td, () => details(cell, head, row.name, view.table));
}

/** The colour and shape of an encoder, as in all pictures. */
function swatch(who) {
  const {colour, marker: shape} = colourOf(who);
  return s("svg", {viewBox: "-8 -8 16 16", class: "swatch", style: `color:${colour}`, "aria-hidden": "true"}, marker(shape, 0, 0, 5));
}

/** Row and column of a cell, in the table as it stands. */
function place(cell) {
  return [cell.parentNode.rowIndex, cell.cellIndex];
}

/** What takes the focus at a row and column: a cell, or the button in it. */
function stop(grid, row, column) {
  const line = grid.rows[Math.max(0, Math.min(grid.rows.length - 1, row))];
  const cell = line.cells[Math.max(0, Math.min(line.cells.length - 1, column))];
  return cell.querySelector("button") || cell;
}

const MOVES = {
  ArrowUp: (r, c) => [r - 1, c], ArrowDown: (r, c) => [r + 1, c], ArrowLeft: (r, c) => [r, c - 1],
  ArrowRight: (r, c) => [r, c + 1], Home: (r) => [r, 0], End: (r) => [r, Infinity], PageUp: (r, c) => [r - 10, c],
  PageDown: (r, c) => [r + 10, c],
};

function listenInTable(board) {
  board.addEventListener("keydown", (event) => {
    const cell = event.target.closest("th,td");
    if (!cell || !(event.key in MOVES) || event.altKey || event.metaKey) return;
    event.preventDefault();
    let [row, column] = MOVES[event.key](...place(cell));
    if (event.ctrlKey && event.key === "Home") row = 0;
    if (event.ctrlKey && event.key === "End") row = Infinity;
    focusAt(stop(board.querySelector("table"), row, column));
  });
  board.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.dataset.sort) sortBy(button.dataset.sort);
    else if (button && button.dataset.card) showCard(Number(button.dataset.card));
    else if (event.target.closest("td")) focusAt(event.target.closest("td"));
  });
}

function focusAt(target) {
  for (const other of at("board").querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  target.tabIndex = 0;
  target.focus();
  target.scrollIntoView({block: "nearest", inline: "nearest"});
}

/** Best first, then worst first, then as it was. */
function sortBy(key) {
  if (state.sort !== key) [state.sort, state.up] = [key, ""];
  else if (!state.up) state.up = "1";
  else [state.sort, state.up] = ["", ""];
  update();
}
