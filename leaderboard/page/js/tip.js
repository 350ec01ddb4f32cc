// One tooltip for everything: shown on hover, on focus, and on a tap; Escape takes it away.
const tips = new WeakMap();

/** Let an element say `text` (a string, or a function that gives lines) when it is pointed at or focused. */
function tip(element, text) {
  tips.set(element, text);
  if (typeof text === "string" && !element.hasAttribute("tabindex")) {
    element.setAttribute("tabindex", "0");
    element.setAttribute("aria-label", text);
  }
  return element;
}

function told(target) {
  for (let one = target; one && one !== document; one = one.parentNode) if (tips.has(one)) return one;
  return null;
}

function showTip(element) {
  const text = tips.get(element);
  const lines = typeof text === "string" ? text.split("\n") : text();
  const box = at("tip");
  if (!lines.length) return hideTip();
  box.replaceChildren(...lines.map((line, k) => h(k ? "span" : "strong", {}, named(line))));
  box.hidden = false;
  box.style.left = "0px";  // or its width would be what is left of where it was
  const [of, own] = [element.getBoundingClientRect(), box.getBoundingClientRect()];
  const left = Math.max(8, Math.min(of.left, innerWidth - own.width - 8));
  const above = of.bottom + own.height + 14 > innerHeight && of.top > own.height + 14;
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${(above ? of.top - own.height - 6 : of.bottom + 6) + scrollY}px`;
  element.setAttribute("aria-describedby", "tip");
  showTip.of = element;
}

function hideTip() {
  at("tip").hidden = true;
  if (showTip.of) showTip.of.removeAttribute("aria-describedby");
  showTip.of = null;
}

function listenForTips() {
  const show = (event) => {
    const element = told(event.target);
    if (element !== showTip.of) element ? showTip(element) : hideTip();
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("focusout", hideTip);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
}
