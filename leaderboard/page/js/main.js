// From a choice to the screen.
let shown = null;

function update() {
  shown = buildView();
  hideTip();
  drawData();
  drawTheme();
  drawControls(shown);
  at("table-title").textContent = titleOf(shown);
  at("count").textContent = chosenText(shown);
  drawTable(shown);
  at("under").replaceChildren(...shown.notes.map((note) => h("p", {}, note)));
  const read = example(shown);
  at("example").replaceChildren(...(read ? [read] : []));
  drawTabs();
  drawChartLater();
  writeHash();
}

function begin() {
  at("page").hidden = false;
  readHash();
  drawNames();
  listenInTable(at("board"));
  listenInTabs();
  listenForBoxes();
  listenForTips();
  listenForPrint();
  for (const kind of Object.keys(EXPORTS)) at(`as-${kind}`).addEventListener("click", () => showText(kind, shown));
  at("theme").addEventListener("click", () => {
    state.theme = isDark() ? "light" : "dark";
    drawTheme();
    writeHash();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTheme);
  addEventListener("hashchange", () => {
    readHash();
    update();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width !== innerWidth) drawChartLater();
    width = innerWidth;
  });
  document.addEventListener("DOMContentLoaded", () => {  // pictures stand below this script
    drawTabs();
    drawChartLater();
  });
  update();
}

begin();
