// What every page can do: data that comes as scripts, colours, keys, search.
// Pages opened from a folder may not fetch files; they may load scripts that call lucent.data.
"use strict";

const lucent = (() => {
  const root = document.documentElement;
  const top = root.dataset.root;
  const arrived = new Map();
  const expected = new Map();

  root.classList.add("js");

  /** Address, from this page, of a path of the site. */
  const url = (path) => top + path.split("/").map(encodeURIComponent).join("/");

  /** Take what a data script brings. */
  function data(key, value) {
    arrived.set(key, value);
    expected.get(key)?.(value);
  }

  /** Promise of what `data` was or will be given for a key; `path` names a script to load for it. */
  function load(key, path) {
    if (arrived.has(key)) return Promise.resolve(arrived.get(key));
    return new Promise((resolve, reject) => {
      expected.set(key, resolve);
      if (!path) return;
      const script = document.createElement("script");
      script.src = url(path);
      script.onerror = () => reject(new Error(path));
      document.head.append(script);
    });
  }

  /** A new element with attributes and children; text stays text. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** Show the icon of the unit at a place of a layer's list as the background of an element. */
  function icon(element, layer, place) {
    const sheet = layer.sprites.find(({ first, count }) => place >= first && place < first + count);
    if (!sheet) {
      element.classList.add("icon", "blank");
      return;
    }
    // Without the outer half pixel of an icon: smooth scaling would mix its neighbours into a rim.
    const rim = 0.5 / sheet.size;
    const size = (count) => (100 * count) / (1 - 2 * rim);
    const share = (index, count) => (100 * (index + rim)) / (count - 1 + 2 * rim);
    const at = place - sheet.first;
    const row = Math.floor(at / sheet.columns);
    element.style.backgroundImage = `url("${url(sheet.path)}")`;
    element.style.backgroundSize = `${size(sheet.columns)}% ${size(sheet.rows)}%`;
    element.style.backgroundPosition = `${share(at % sheet.columns, sheet.columns)}% ${share(row, sheet.rows)}%`;
  }

  /** Keep what is chosen on a page in its address: it comes back with it, and can be shared. */
  function keep(values) {
    const chosen = new URLSearchParams(values);
    try {
      history.replaceState(history.state, "", chosen.size ? `#${chosen}` : location.pathname + location.search);
    } catch { /* a browser that does not allow it for files */ }
  }

  /** What `keep` put into the address, by its names. */
  const kept = () => new URLSearchParams(location.hash.slice(1));

  /** A number of things in words: "1 unit", "1,024 units". */
  const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

  const unitPath = (layer, unit) => `units/${layer.slug}/${unit}.html`;

  // Colours. Where the browser keeps nothing for pages of a folder, the choice holds for the page.
  const remembered = {
    get(name) {
      try { return localStorage.getItem(`lucent-${name}`); } catch { return null; }
    },
    set(name, value) {
      try { localStorage.setItem(`lucent-${name}`, value); } catch { /* nothing is kept */ }
    },
  };
  const chosen = remembered.get("theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  function themeButton() {
    const button = document.querySelector("[data-theme-toggle]");
    const system = matchMedia("(prefers-color-scheme: dark)");
    const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
    const tell = () => button.setAttribute("aria-pressed", dark());
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      remembered.set("theme", root.dataset.theme);
      tell();
    });
    system.addEventListener("change", tell);
    tell();
  }

  // Keys: an element that says its key in aria-keyshortcuts or data-key is clicked by it.
  function keys() {
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
      const key = CSS.escape(event.key);
      const target = document.querySelector(`[aria-keyshortcuts~="${key}"], [data-key~="${key}"]`);
      if (!target) return;
      event.preventDefault();
      target.click();
    });
  }

  function dialogs() {
    for (const button of document.querySelectorAll("[data-opens]")) {
      button.addEventListener("click", () => document.getElementById(button.dataset.opens).showModal());
    }
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog || event.target.closest("[data-closes]")) dialog.close();
      });
    }
  }

  /** Name examples to who points at them, and remember what the switches say. */
  function examples() {
    for (const picture of document.querySelectorAll(".stack img")) picture.title = picture.alt;
    for (const box of document.querySelectorAll(".switches input")) {
      box.checked = remembered.get(box.id) === "on";
      box.addEventListener("change", () => remembered.set(box.id, box.checked ? "on" : "off"));
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    themeButton();
    keys();
    dialogs();
    examples();
  });

  return { data, load, url, make, icon, keep, kept, counted, unitPath };
})();
