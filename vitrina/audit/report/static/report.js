//<![CDATA[
// Draws the cards of an audit's suspects as they come into view, and filters them. What comes from
// the catalogue is put in as text only; nothing here parses markup.
"use strict";
(() => {
const place = document.getElementById("cards");
if (!place) return;
const GROUP = 10;      // Cards that come and go together.
const KEPT = 24;       // Chunks of data kept parsed.
const AHEAD = "1400px";
const index = JSON.parse(document.getElementById("index").textContent);
const paths = index.categories.map(path => path.split("->").map(part => part.trim()));
const lower = index.categories.map(path => path.toLowerCase());
const total = index.score.length;

// Elements

const make = (name, kind, ...inside) => {
  const one = document.createElement(name);
  if (kind) one.className = kind;
  one.append(...inside.filter(part => part !== null));
  return one;
};
const drawn = (name, attributes) => {
  const one = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  return one;
};
const bar = share => {
  const box = drawn("svg", {
    class: "bar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true"});
  const width = 100 * Math.min(Math.max(share, 0), 1);
  box.append(drawn("rect", {width: 100, height: 8}), drawn("path", {d: `M0 0H${width}V8H0z`}));
  return box;
};
const number = value => value.toLocaleString("en");
const percent = value => value === null ? "–" : `${Math.round(100 * value)}%`;
// No estimate is ever certain.
const chance = value => value === null ? "–" : value > 0.99 ? ">99%" : value < 0.01 ? "<1%"
  : percent(value);
const leaf = code => code < 0 ? "no category" : paths[code].at(-1) || index.categories[code];

// Data

const chunks = new Map();
const card = at => {
  const name = Math.floor(at / index.chunk);
  let chunk = chunks.get(name);
  if (!chunk) {
    chunk = JSON.parse(document.getElementById(`chunk${name}`).textContent);
    if (chunks.size >= KEPT) chunks.delete(chunks.keys().next().value);
  } else chunks.delete(name);
  chunks.set(name, chunk);  // The last used stands last.
  return chunk[at % index.chunk];
};

// Photos stand last in the file: until all of it is read, one that is missing may still come.

let waiting = [];
const photo = product => {
  let held = document.getElementById(`p${product}`);
  if (held && held.dataset.same) held = document.getElementById(held.dataset.same);
  return held && `data:image/webp;base64,${held.textContent}`;
};
const show = (box, product) => {
  const source = photo(product);
  if (source) {
    const image = make("img");
    image.setAttribute("alt", "");
    image.setAttribute("decoding", "async");
    image.setAttribute("src", source);
    box.replaceChildren(image);
  } else if (document.readyState === "loading") {
    if (!waiting.length) setTimeout(again, 100);
    waiting.push([box, product]);
  } else {
    box.classList.add("none");
    box.replaceChildren(make("span", "", "no photo"));
  }
};
const again = () => {
  const asked = waiting;
  waiting = [];
  for (const [box, product] of asked) if (box.isConnected) show(box, product);
};
const frame = (kind, product) => {
  const box = make("div", `photo ${kind}`);
  show(box, product);
  return box;
};

// Cards

const category = (kind, words, code, probability) => {
  const path = code < 0 ? [] : paths[code].slice(0, -1);
  return make("div", `label-box ${kind}`,
    make("p", "head", make("span", "", words), make("span", "share", chance(probability))),
    path.length ? make("p", "part-of", path.join(" › ")) : null,
    make("p", "leaf", leaf(code)));
};
const near = (found, one) => {
  const [product, id, title, code, score] = found;
  const kind = code === one.given ? "given" : code === one.suggested ? "suggested" : "other";
  const words = {given: "as given", suggested: "as suggested", other: "another"}[kind];
  const tile = make("li", `near ${kind}`, frame("small", product),
    make("div", "", make("p", "title", title || id), make("p", "in", leaf(code)),
      make("p", "sign", make("span", "mark-of", words),
        make("span", "", score === null ? "" : score.toFixed(2)))));
  tile.setAttribute("title", `${title}\n${code < 0 ? "" : paths[code].join(" › ")}\nproduct ${id}`);
  return tile;
};
const strip = (words, found, one) => make("div", "strip",
  make("h4", "", words), make("ul", "", ...found.map(each => near(each, one))));
const told = one => {
  const words = [];
  if (one.text !== undefined && one.image !== undefined) {
    words.push(`Its text by itself says ${leaf(one.text)}, its photo ${leaf(one.image)}.`);
  } else if (one.text !== undefined) words.push(`Its text by itself says ${leaf(one.text)}.`);
  else if (one.image !== undefined) words.push(`Its photo by itself says ${leaf(one.image)}.`);
  if (one.mates) {
    words.push(one.mates > 1 ? `${number(one.mates)} other suspects look like it and are in the ` +
      "same case." : "One other suspect looks like it and is in the same case.");
  }
  return words.length ? make("p", "more", words.join(" ")) : null;
};
const copier = id => {
  const button = make("button", "id", `product ${id}`);
  button.type = "button";
  button.setAttribute("title", "Copy the id");
  button.addEventListener("click", async () => {
    let done = true;
    try { await navigator.clipboard.writeText(id); } catch { done = copied(id); }
    button.textContent = done ? "copied" : `product ${id}`;
    setTimeout(() => { button.textContent = `product ${id}`; }, 1200);
  });
  return button;
};
// For pages opened from a disk, where some browsers have no clipboard.
const copied = words => {
  const field = make("textarea");
  field.value = words;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
};
const draw = at => {
  const one = card(at);
  const title = make("h3", "", one.title || "(no title)");
  title.setAttribute("title", one.title);
  if (!one.title) title.className = "untitled";
  const reasons = make("ul", "why", ...one.reasons.map(at => make("li", "", index.reasons[at].whole)));
  const evidence = make("dl", "evidence", ...one.evidence.map(([kind, value]) => make("div", "",
    make("dt", "", make("span", "", kind), make("span", "", percent(value))),
    make("dd", "", bar(value === null ? 0 : value)))));
  const box = make("article", "card suspect",
    frame("large", one.product),
    make("div", "what",
      make("p", "rank", make("b", "", `#${number(one.rank)}`), copier(one.id),
        one.decision ? make("span", "decision", one.decision) : null),
      title,
      make("div", "labels", category("given", "Given", one.given, one.given_probability),
        make("span", "to", "→"),
        category("suggested", "Suggested", one.suggested, one.suggested_probability))),
    make("div", "case",
      make("p", "chance", make("b", "", chance(one.score)), make("span", "", " against its label")),
      evidence),
    make("div", "because", reasons, told(one)));
  const strips = make("div", "strips");
  if (one.neighbours.length) strips.append(strip("Nearest labelled products", one.neighbours, one));
  if (one.copies) {
    const more = one.more_copies ? `, the nearest of ${one.copies.length + one.more_copies}` : "";
    strips.append(strip(`Near-duplicates of it${more}`, one.copies, one));
  }
  if (strips.firstChild) box.append(strips);
  return box;
};

// The list: groups of cards that are drawn near the window and emptied far from it.

let rows = [];
let tall = matchMedia("(max-width:800px)").matches ? 790 : 420;  // Of a card, as long as none was measured.
let width = place.clientWidth;
const fill = group => {
  const start = group.dataset.at * GROUP;
  group.replaceChildren(...rows.slice(start, start + GROUP).map(draw));
  group.style.height = "";
};
const watch = new IntersectionObserver(seen => {
  for (const {target, isIntersecting, boundingClientRect} of seen) {
    if (isIntersecting && !target.firstChild) fill(target);
    else if (!isIntersecting && target.firstChild) {
      target.style.height = `${boundingClientRect.height}px`;
      target.replaceChildren();
    }
  }
}, {rootMargin: AHEAD});
const list = () => {
  watch.disconnect();
  place.replaceChildren();
  const made = document.createDocumentFragment();
  for (let at = 0; at * GROUP < rows.length; at++) {
    const group = make("div", "group");
    group.dataset.at = at;
    group.style.height = `${tall * Math.min(GROUP, rows.length - at * GROUP)}px`;
    made.append(group);
  }
  place.append(made);
  if (place.firstChild) fill(place.firstChild);
  const first = place.querySelector(".group:first-child");
  if (first) tall = first.getBoundingClientRect().height / first.childElementCount;
  for (const group of place.children) {
    if (!group.firstChild) {
      const cards = Math.min(GROUP, rows.length - group.dataset.at * GROUP);
      group.style.height = `${tall * cards}px`;
    }
    watch.observe(group);
  }
};
new ResizeObserver(() => {
  if (Math.abs(place.clientWidth - width) < 2) return;
  width = place.clientWidth;
  const full = [...place.children].find(group => group.firstChild);
  if (!full) return;
  tall = full.getBoundingClientRect().height / full.childElementCount;
  for (const group of place.children) {
    const cards = Math.min(GROUP, rows.length - group.dataset.at * GROUP);
    if (!group.firstChild) group.style.height = `${tall * cards}px`;
  }
}).observe(place);

// Filters

const filters = document.getElementById("filters");
const find = document.getElementById("category");
const found = document.getElementById("found");
const score = document.getElementById("score");
const clear = document.getElementById("clear");
const lowest = Number(score.value);
const chosen = {reasons: 0, category: "", exact: -1, pair: null, least: lowest, state: "all"};
const fits = at => {
  const {given, suggested, why, open} = index;
  if (chosen.reasons && !(why[at] & chosen.reasons)) return false;
  if (chosen.least > lowest && !(index.score[at] * 100 >= chosen.least - 1e-9)) return false;
  if (chosen.state !== "all" && (open[at] === 1) !== (chosen.state === "open")) return false;
  if (chosen.pair) return given[at] === chosen.pair[0] && suggested[at] === chosen.pair[1];
  if (chosen.exact >= 0) return given[at] === chosen.exact || suggested[at] === chosen.exact;
  const part = chosen.category;
  return !part || lower[given[at]].includes(part) || lower[suggested[at]].includes(part);
};
const apply = () => {
  rows = [];
  for (let at = 0; at < total; at++) if (fits(at)) rows.push(at);
  const all = rows.length === total;
  document.getElementById("shown").textContent = all ? `${number(total)} suspects`
    : `${number(rows.length)} of ${number(total)} suspects`;
  const pair = chosen.pair;
  document.getElementById("chosen").textContent = pair ? `${leaf(pair[0])} → ${leaf(pair[1])}` : "";
  clear.hidden = all && !pair && !find.value;
  document.getElementById("least").textContent = `${chosen.least}%`;
  list();
  if (!rows.length) place.append(make("p", "card empty", "No suspect is like that."));
};
// Back to the list's top, where a reader who had scrolled down would else stand in nowhere.
const changed = () => {
  apply();
  const top = document.getElementById("suspects").getBoundingClientRect().top;
  if (top < -40) document.getElementById("suspects").scrollIntoView();
};
const press = (buttons, on) => {
  for (const one of buttons) one.setAttribute("aria-pressed", String(on(one)));
};
const reasonButtons = filters.querySelectorAll("[data-reason]");
const stateButtons = filters.querySelectorAll("[data-state]");
for (const button of reasonButtons) {
  button.addEventListener("click", () => {
    chosen.reasons ^= 1 << Number(button.dataset.reason);
    press(reasonButtons, one => Boolean(chosen.reasons & 1 << Number(one.dataset.reason)));
    changed();
  });
}
for (const button of stateButtons) {
  button.addEventListener("click", () => {
    chosen.state = button.dataset.state;
    press(stateButtons, one => one === button);
    changed();
  });
}
let timer = 0;
const soon = () => { clearTimeout(timer); timer = setTimeout(changed, 160); };
score.addEventListener("input", () => {
  chosen.least = Number(score.value);
  document.getElementById("least").textContent = `${chosen.least}%`;
  soon();
});

// Finding a category: what is typed filters by itself; one of the list is chosen exactly.

const counts = paths.map(() => 0);
for (let at = 0; at < total; at++) {
  counts[index.given[at]]++;
  if (index.suggested[at] !== index.given[at]) counts[index.suggested[at]]++;
}
const byCount = [...counts.keys()].filter(code => counts[code]).sort((a, b) => counts[b] - counts[a]);
let marked = -1;
const close = () => {
  found.hidden = true;
  find.setAttribute("aria-expanded", "false");
  find.removeAttribute("aria-activedescendant");
};
const mark = at => {
  marked = at;
  [...found.children].forEach((one, number) => {
    one.setAttribute("aria-selected", String(number === at));
    if (number === at) {
      one.scrollIntoView({block: "nearest"});
      find.setAttribute("aria-activedescendant", one.id);
    }
  });
};
const pick = code => {
  Object.assign(chosen, {exact: code, category: "", pair: null});
  find.value = leaf(code);
  close();
  changed();
};
const suggest = () => {
  const part = find.value.trim().toLowerCase();
  const fitting = byCount.filter(code => lower[code].includes(part)).slice(0, 40);
  found.replaceChildren(...fitting.map((code, number) => {
    const one = make("li", "", make("span", "", leaf(code),
      make("span", "part-of", paths[code].slice(0, -1).join(" › "))),
      make("small", "", String(counts[code])));
    one.id = `found${number}`;
    one.setAttribute("role", "option");
    one.dataset.code = code;
    one.addEventListener("pointerdown", event => event.preventDefault());
    one.addEventListener("click", () => pick(code));
    return one;
  }));
  found.hidden = !fitting.length;
  find.setAttribute("aria-expanded", String(!found.hidden));
  mark(-1);
};
find.addEventListener("focus", () => { find.select(); suggest(); });
find.addEventListener("blur", close);
find.addEventListener("input", () => {
  Object.assign(chosen, {exact: -1, category: find.value.trim().toLowerCase(), pair: null});
  suggest();
  soon();
});
find.addEventListener("keydown", event => {
  const last = found.children.length - 1;
  if (event.key === "ArrowDown") mark(Math.min(marked + 1, last));
  else if (event.key === "ArrowUp") mark(Math.max(marked - 1, -1));
  else if (event.key === "Enter" && marked >= 0) pick(Number(found.children[marked].dataset.code));
  else if (event.key === "Enter" || event.key === "Escape") close();
  else return;
  event.preventDefault();
});
clear.addEventListener("click", () => {
  Object.assign(chosen, {reasons: 0, category: "", exact: -1, pair: null, least: lowest, state: "all"});
  find.value = "";
  score.value = String(lowest);
  press(reasonButtons, () => false);
  press(stateButtons, one => one.dataset.state === "all");
  changed();
});

// Each pair of categories leads to its suspects.

for (const row of document.querySelectorAll("tr[data-given]")) {
  const pair = [row.dataset.given, row.dataset.suggested].map(id => index.ids.indexOf(id));
  const cell = row.cells[2];
  if (pair.includes(-1)) continue;
  const button = make("button", "link", ...cell.childNodes);
  button.type = "button";
  button.setAttribute("title", "Show these suspects");
  button.addEventListener("click", () => {
    clear.click();
    Object.assign(chosen, {pair});
    apply();
    document.getElementById("suspects").scrollIntoView();
  });
  cell.replaceChildren(button);
}

filters.hidden = false;
document.getElementById("count").hidden = false;
apply();
document.addEventListener("DOMContentLoaded", again);
})();
//]]>
