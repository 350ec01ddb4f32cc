// On paper a wide table does not scroll: it is cut into several, each with the names.
const COLUMNS_ON_PAPER = 8;
const WIDTH_ON_PAPER = 900;  // of a picture

function layOut(view) {
  const parts = [];
  for (let start = 0; start < view.heads.length; start += COLUMNS_ON_PAPER) {
    const within = (list) => list.slice(start, start + COLUMNS_ON_PAPER);
    const rows = (of) => of.map((row) => ({...row, cells: within(row.cells)}));
    parts.push({...view, heads: within(view.heads), rows: rows(view.rows), published: rows(view.published)});
  }
  at("paper").replaceChildren(h("p", {}, chosenText(view)), ...parts.map((part) => {
    const box = h("div", {});
    drawTable(part, box, true);
    for (const button of box.querySelectorAll("button")) button.replaceWith(...button.childNodes);
    return box;
  }));
}

function listenForPrint() {
  addEventListener("beforeprint", () => {
    layOut(shown);
    drawChart(shown, WIDTH_ON_PAPER);
  });
  addEventListener("afterprint", () => {
    at("paper").replaceChildren();
    drawChart(shown);
  });
}
