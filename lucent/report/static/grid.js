// The grid of all units of a layer: only rows near the window are in the document.
"use strict";

(async () => {
  const GAP = 12; // px between cells
  const WORDS = 24; // px for the line under a picture: its line height and margin in lucent.css, rounded up
  const BEYOND = 2; // rows kept above and below the window, so that scrolling meets pictures
  const SMALL = 64; // px; the words under smaller pictures would be cut off

  const section = document.querySelector("[data-grid]");
  const grid = section.querySelector(".grid");
  const control = (name) => section.querySelector(`[data-${name}]`);
  const slug = section.dataset.grid;
  let layer;
  try {
    layer = await lucent.load(`layer:${slug}`, `data/layer-${slug}.js`);
  } catch (error) {
    section.querySelector(".found").textContent = `${error.message} is missing: keep the folder of these pages together.`;
    return;
  }
  const labels = layer.labels.map((label) => label.toLowerCase());
  const label = (place) => layer.labels[layer.label[place]] ?? "";

  // Unknown values come last in every order.
  const by = (values, sign) => (one, other) => {
    const [a, b] = [values[one], values[other]];
    if (a === b) return one - other;
    if (a === null) return 1;
    if (b === null) return -1;
    return sign * (a < b ? -1 : 1);
  };
  const named = layer.label.map((index) => (index < 0 ? null : labels[index]));
  const known = (values) => values.some((value) => value !== null);
  const orders = [
    ["index", "number", (one, other) => one - other],
    ["label", "label", by(named, 1), known(named)],
    ["strength", "strength", by(layer.score, -1), known(layer.score)],
    ["weakness", "strength, weakest first", by(layer.score, 1), known(layer.score)],
    ["sparse", "sparsity, sparsest first", by(layer.sparsity, -1), known(layer.sparsity)],
    ["dense", "sparsity, densest first", by(layer.sparsity, 1), known(layer.sparsity)],
  ].filter(([, , , there = true]) => there);

  const usual = { sort: "index", q: "", size: "88" };
  const state = { ...usual };
  const cells = new Map(); // place in `shown` -> element
  let shown = []; // places in layer.units, in the order of the grid
  let at = 0; // where in `shown` the arrow keys are
  let columns = 1;
  let side = 0; // px of a picture
  let row = 0; // px from row to row

  function select() {
    const query = state.q.trim().toLowerCase();
    const fits = labels.map((text) => text.includes(query));
    const order = orders.find(([name]) => name === state.sort) ?? orders[0];
    shown = layer.units.map((_, place) => place)
      .filter((place) => !query || fits[layer.label[place]] || String(layer.units[place]) === query)
      .sort(order[2]);
    at = 0;
    const all = lucent.counted(layer.units.length, "unit");
    const some = shown.length.toLocaleString("en");
    section.querySelector(".found").textContent = query ? `${some} of ${all}` : all;
  }

  function measure() {
    const size = Number(state.size);
    const width = grid.clientWidth;
    columns = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
    side = (width - GAP * (columns - 1)) / columns;
    row = side + GAP + (size < SMALL ? 0 : WORDS);
    grid.style.height = `${Math.max(0, Math.ceil(shown.length / columns) * row - GAP)}px`;
  }

  function fill(index) {
    const place = shown[index];
    const unit = layer.units[place];
    const cell = lucent.make("a", {
      class: "cell", href: lucent.url(lucent.unitPath(layer, unit)), tabindex: index === at ? "0" : "-1",
    });
    const picture = lucent.make("span", { class: "picture" });
    picture.style.height = `${side}px`;
    lucent.icon(picture, layer, place);
    cell.append(picture);
    const words = lucent.make("span", { class: "words" }, lucent.make("span", {}, unit), lucent.make("bdi", {}, label(place)));
    if (Number(state.size) < SMALL) words.classList.add("spoken");
    cell.append(words);
    cell.title = label(place) ? `${unit} ${label(place)}` : unit;
    const item = lucent.make("div", { role: "listitem", "aria-setsize": shown.length, "aria-posinset": index + 1 }, cell);
    cell.style.width = `${side}px`;
    cell.style.transform = `translate(${(index % columns) * (side + GAP)}px, ${Math.floor(index / columns) * row}px)`;
    cell.addEventListener("focus", () => { rove(index); });
    return item;
  }

  function draw() {
    const above = -grid.getBoundingClientRect().top;
    const first = Math.max(0, (Math.floor(above / row) - BEYOND) * columns);
    const last = Math.min(shown.length, (Math.ceil((above + innerHeight) / row) + BEYOND) * columns);
    for (const [index, cell] of cells) {
      if ((index < first || index >= last) && index !== at) {
        cell.remove();
        cells.delete(index);
      }
    }
    const add = (index) => {
      if (cells.has(index) || !(index in shown)) return;
      cells.set(index, fill(index));
      grid.append(cells.get(index));
    };
    add(at);
    for (let index = first; index < last; index += 1) add(index);
  }

  function redraw() {
    for (const cell of cells.values()) cell.remove();
    cells.clear();
    measure();
    draw();
  }

  function rove(index) {
    cells.get(at)?.firstElementChild.setAttribute("tabindex", "-1");
    at = index;
    draw();
    cells.get(at)?.firstElementChild.setAttribute("tabindex", "0");
  }

  function go(index) {
    rove(Math.min(Math.max(index, 0), shown.length - 1));
    const cell = cells.get(at)?.firstElementChild;
    if (!cell) return;
    const fixed = control("filter").parentElement.getBoundingClientRect().bottom + GAP;
    const box = cell.getBoundingClientRect();
    if (box.top < fixed) scrollBy(0, box.top - fixed);
    else if (box.top + row > innerHeight) scrollBy(0, box.top + row - innerHeight);
    cell.focus({ preventScroll: true });
  }

  // Without a focus in the grid, up and down scroll the page as everywhere.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const inside = grid.contains(document.activeElement);
    const page = Math.max(1, Math.floor(innerHeight / row) - 1) * columns;
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      PageUp: -page, PageDown: page, Home: -shown.length, End: shown.length,
    };
    const step = steps[event.key];
    if (!step) return;
    if (!inside && (event.target !== document.body || !event.key.match(/Left|Right/))) return;
    event.preventDefault();
    go(inside ? at + step : at);
  });

  const keep = () => lucent.keep(Object.entries(state).filter(([name, value]) => value !== usual[name]));
  for (const [name, value] of lucent.kept()) {
    if (name in state) state[name] = value;
  }

  const bind = (name, key, change) => {
    const input = control(name);
    input.value = state[key]; // which takes only what it offers
    if (!input.value) input.value = usual[key];
    state[key] = input.value;
    input.addEventListener("input", () => {
      state[key] = input.value;
      change();
    });
    input.addEventListener("change", keep); // once for a drag of the slider: browsers limit how often
  };
  control("sort").append(...orders.map(([value, name]) => lucent.make("option", { value }, name)));
  const reselect = () => { select(); redraw(); };
  bind("sort", "sort", reselect);
  bind("filter", "q", reselect);
  bind("size", "size", redraw);

  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  addEventListener("scroll", soon, { passive: true });
  let width = grid.clientWidth;
  new ResizeObserver(() => {
    if (width === grid.clientWidth) return;
    width = grid.clientWidth;
    redraw();
  }).observe(section);
  reselect();
})();
