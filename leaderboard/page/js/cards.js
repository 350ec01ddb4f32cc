// What is known of an encoder, and its colour.
const COLOURS = 8;

function colourOf(who) {
  return {colour: `var(--c${who % COLOURS})`, marker: (who + Math.floor(who / COLOURS)) % SHAPES.length};
}

function showCard(who) {
  const one = payload.encoders[who];
  const dialog = at("card");
  const facts = [["Name", one.name], ...(one.spec === one.name ? [] : [["In full", one.spec]]), ...one.facts, ...costs(one.cost)];
  const known = new Map();
  for (const [name, value] of facts) known.set(name, [...(known.get(name) || []), value]);
  dialog.replaceChildren(
    h("h2", {id: "card-title"}, swatch(who), named(one.name)),
    h("dl", {}, [...known].map(([name, values]) => h("div", {}, h("dt", {}, name), values.map((value) => h("dd", {}, named(value)))))),
    h("div", {class: "bar"}, h("button", {type: "button", onclick: () => dialog.close()}, "Close")),
  );
  dialog.showModal();
}

function costs(cost) {
  return Object.entries(cost)
    .filter(([name, value]) => value !== null && name !== "parameters")
    .map(([name, value]) => [name.replaceAll("_", " ").replace("gflops", "GFLOPs"), typeof value === "number" ? count(Number(value.toPrecision(4))) : String(value)]);
}

/** All rows of the board, each a way to its card. */
function drawNames() {
  at("names").replaceChildren(...payload.encoders.map((one, who) => h("li", {},
    h("button", {type: "button", class: "plain", onclick: () => showCard(who)}, swatch(who), named(one.name)))));
}
