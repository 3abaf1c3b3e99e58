// The atlas as a deep-zoom map: of its levels, the finest one whose cells are large enough to read.
"use strict";

(async () => {
  const READABLE = 44; // px that a cell takes on the screen at least: the target size of WCAG 2.2, 2.5.5
  const FADE = 0.25; // s from one level to the next
  const MOST = 40; // labels in the legend

  const map = document.querySelector("[data-atlas]");
  const about = map.querySelector(".about");
  const slug = map.dataset.atlas;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let atlas;
  try {
    atlas = await lucent.load(`atlas:${slug}`, `data/atlas-${slug}.js`);
  } catch (error) {
    about.textContent = `${error.message} is missing: keep the folder of these pages together.`;
    return;
  }
  const { levels, labels } = atlas;
  for (const level of levels) {
    level.at = new Map(level.cells.map((cell) => [cell[0] * level.grid + cell[1], cell]));
  }

  const source = (level) => ({
    width: level.width,
    height: level.height,
    tileSize: level.tile,
    tileOverlap: level.overlap,
    minLevel: level.min_level,
    maxLevel: level.max_level,
    getTileUrl: (depth, x, y) => lucent.url(`${level.path}/${depth}/${x}_${y}.${level.format}`),
    hasTransparency: () => level.alpha,
  });
  const view = lucent.make("div", { class: "view" });
  map.prepend(view);
  const viewer = OpenSeadragon({
    element: view,
    tileSources: levels.map((level) => ({ tileSource: source(level), x: 0, y: 0, width: 1, opacity: 0 })),
    showNavigationControl: false,
    animationTime: calm ? 0 : 0.6,
    blendTime: calm ? 0 : 0.1,
    minZoomImageRatio: 0.9,
    maxZoomPixelRatio: 2.5,
    visibilityRatio: 0.6,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  });
  viewer.canvas.setAttribute("aria-label", `Map of ${atlas.name}; arrow keys move, plus and minus zoom`);
  viewer.canvas.setAttribute("role", "application");

  // Marks over the map: one drawing that the viewer scales with it.
  const SVG = "http://www.w3.org/2000/svg";
  const marks = document.createElementNS(SVG, "svg");
  marks.setAttribute("class", "marks");
  marks.setAttribute("preserveAspectRatio", "none");
  let now = levels[0];
  let label = -1;

  function rectangle(cell, kind) {
    const shape = document.createElementNS(SVG, "rect");
    const box = { x: cell[1], y: cell[0], width: 1, height: 1, class: kind };
    for (const [name, value] of Object.entries(box)) shape.setAttribute(name, value);
    return shape;
  }

  function mark(cell) {
    marks.setAttribute("viewBox", `0 0 ${now.grid} ${now.grid}`);
    const chosen = label < 0 ? [] : now.cells.filter((other) => other[3] === label);
    marks.replaceChildren(...chosen.map((other) => rectangle(other, "chosen")));
    if (cell) marks.append(rectangle(cell, "at"));
  }

  function tell(point) {
    const cell = now.at.get(Math.floor(point.y * now.grid) * now.grid + Math.floor(point.x * now.grid));
    const inside = cell && point.x >= 0 && point.x < 1;
    mark(inside ? cell : null);
    if (!inside) {
      about.textContent = "";
      return;
    }
    const [, , count, index, share] = cell;
    const name = lucent.make("bdi", {}, labels[index] ?? "");
    const part = share === null ? "" : ` (${Math.round(100 * share)} %)`;
    const counted = lucent.counted(count, "activation");
    about.replaceChildren(...(index < 0 ? [counted] : [name, `${part} · ${counted}`]));
  }

  /** The finest level with readable cells; the coarsest one when none has them. */
  function fitting() {
    const width = viewer.viewport.getZoom(true) * viewer.viewport.getContainerSize().x;
    return levels.findLast((level) => width / level.grid >= READABLE) ?? levels[0];
  }

  let fading = 0;
  function fade(from) {
    const begun = performance.now();
    cancelAnimationFrame(fading);
    const before = levels.map((_, index) => viewer.world.getItemAt(index).getOpacity());
    const frame = (time) => {
      const part = calm || !from ? 1 : Math.min(1, Math.max(0, (time - begun) / (1000 * FADE)));
      levels.forEach((level, index) => {
        const goal = level === now ? 1 : 0;
        viewer.world.getItemAt(index).setOpacity(before[index] + (goal - before[index]) * part);
      });
      if (part < 1) fading = requestAnimationFrame(frame);
    };
    frame(begun);
  }

  function level() {
    const next = fitting();
    if (next === now) return;
    const from = now;
    now = next;
    map.dataset.level = now.grid;
    fade(from);
    mark(null);
  }

  // The place on the map that the address names: its centre, and its zoom where 1 shows the whole.
  function visit() {
    const [x, y, zoom] = ["x", "y", "zoom"].map((name) => Number(lucent.kept().get(name) ?? NaN));
    if (![x, y].every(Number.isFinite) || !(zoom > 0)) return;
    viewer.viewport.zoomTo(zoom * viewer.viewport.getHomeZoom(), null, true);
    viewer.viewport.panTo(new OpenSeadragon.Point(x, y), true);
    viewer.viewport.applyConstraints(true);
  }

  function keep() {
    const { x, y } = viewer.viewport.getCenter();
    const place = { x, y, zoom: viewer.viewport.getZoom() / viewer.viewport.getHomeZoom() };
    const entries = Object.entries(place).map(([name, value]) => [name, value.toFixed(4)]);
    lucent.keep(place.zoom.toFixed(3) === "1.000" ? [] : entries);
  }
  addEventListener("hashchange", visit);

  viewer.addHandler("open", () => {
    visit();
    viewer.addOverlay({ element: marks, location: new OpenSeadragon.Rect(0, 0, 1, 1) });
    now = fitting();
    map.dataset.level = now.grid;
    fade(null);
    mark(null);
    viewer.addHandler("animation", level);
  });
  const pointed = (position) => tell(viewer.viewport.pointFromPixel(position));
  new OpenSeadragon.MouseTracker({
    element: viewer.canvas,
    moveHandler: (event) => pointed(event.position),
    leaveHandler: (event) => {
      if (event.pointerType !== "mouse") return; // a finger leaves with every tap
      mark(null);
      about.textContent = "";
    },
  });
  viewer.addHandler("canvas-click", (event) => pointed(event.position));
  viewer.addHandler("canvas-key", (event) => {
    // Turning and mirroring the map would only confuse what is where.
    event.preventDefaultAction = /^[rf]$/i.test(event.originalEvent.key);
  });
  viewer.addHandler("animation-finish", () => {
    keep();
    if (viewer.canvas === document.activeElement) tell(viewer.viewport.getCenter());
  });

  const moves = {
    in: () => viewer.viewport.zoomBy(1.6),
    out: () => viewer.viewport.zoomBy(1 / 1.6),
    home: () => viewer.viewport.goHome(),
  };
  for (const button of map.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      moves[button.dataset.zoom]();
      viewer.viewport.applyConstraints();
    });
  }

  // The labels of the finest level, most frequent first; a click marks their cells.
  const totals = new Map();
  for (const cell of levels.at(-1).cells) {
    if (cell[3] >= 0) totals.set(cell[3], (totals.get(cell[3]) ?? 0) + cell[2]);
  }
  const frequent = [...totals].sort((one, other) => other[1] - one[1]).slice(0, MOST);
  const buttons = frequent.map(([index, total]) => {
    const button = lucent.make("button", { type: "button", "aria-pressed": "false" },
      lucent.make("bdi", {}, labels[index]), lucent.make("span", { class: "value" }, total.toLocaleString("en")));
    button.addEventListener("click", () => {
      label = label === index ? -1 : index;
      buttons.forEach((other, place) => other.setAttribute("aria-pressed", frequent[place][0] === label));
      mark(null);
    });
    return button;
  });
  if (buttons.length) {
    const list = lucent.make("ul", {}, ...buttons.map((button) => lucent.make("li", {}, button)));
    document.querySelector(".legend").append(lucent.make("h2", {}, "Labels"), list);
  }
})();
