// Search over units, labels, layers and atlases; the index is loaded when the box opens first.
"use strict";

(() => {
  const MOST = 60; // results shown: more is read by nobody, and each is a picture
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

  /** How well a text answers a query: 3 equal, 2 begins with it, 1 a word does, 0.5 has it, 0 not at all. */
  function fit(text, query) {
    const at = text.indexOf(query);
    if (at < 0) return 0;
    if (at === 0) return text.length === query.length ? 3 : 2;
    return /[\p{L}\p{N}]/u.test(text[at - 1]) ? 0.5 : 1;
  }

  /** Places in the list of a layer that a query names by number: "mixed4a:3", "mixed4a 3" or "3". */
  function numbered(layer, query) {
    const digits = /^(.*?)[\s:#]*(\d+)$/su.exec(query);
    if (!digits) return [0, -1];
    const name = digits[1].trim();
    return [name === "" ? 1 : fit(layer.folded, name), layer.places.get(Number(digits[2])) ?? -1];
  }

  function prepare(index) {
    for (const layer of index.layers) {
      layer.folded = fold(layer.name);
      layer.foldedLabels = layer.labels.map(fold);
      layer.places = new Map(layer.units.map((unit, place) => [unit, place]));
    }
    for (const atlas of index.atlases) atlas.folded = fold(atlas.name);
    return index;
  }

  /** Results as {score, layer, place} of units, {score, layer} of layers and {score, atlas}; best first. */
  function find(index, text) {
    const query = fold(text).trim();
    if (!query) return [];
    const found = [];
    for (const layer of index.layers) {
      const [score, named] = numbered(layer, query);
      if (score && named >= 0) found.push({ score: score + 3, layer, place: named });
      if (fit(layer.folded, query)) found.push({ score: fit(layer.folded, query) + 2, layer });
      const fits = layer.foldedLabels.map((label) => fit(label, query));
      layer.label.forEach((label, place) => {
        if (label >= 0 && fits[label]) found.push({ score: fits[label], layer, place });
      });
    }
    for (const atlas of index.atlases) {
      if (fit(atlas.folded, query)) found.push({ score: fit(atlas.folded, query) + 1.5, atlas });
    }
    return found.sort((one, other) => other.score - one.score);
  }

  function words(name, note) {
    const shown = lucent.make("span", { class: "words" }, lucent.make("bdi", {}, name));
    if (note) shown.append(lucent.make("bdi", { class: "note" }, note));
    return shown;
  }

  function entry(result, number) {
    const attributes = { class: "result", role: "option", id: `result-${number}`, tabindex: "-1", "aria-selected": "false" };
    const picture = lucent.make("span", { class: "picture", "aria-hidden": "true" });
    if (result.atlas) {
      const href = lucent.url(`atlas/${result.atlas.slug}.html`);
      return lucent.make("a", { ...attributes, href }, picture, words(result.atlas.name, "Atlas"));
    }
    const { layer, place } = result;
    lucent.icon(picture, layer, place ?? 0);
    if (place === undefined) {
      const href = lucent.url(`layers/${layer.slug}.html`);
      const note = `Layer of ${lucent.counted(layer.units.length, "unit")}`;
      return lucent.make("a", { ...attributes, href }, picture, words(layer.name, note));
    }
    const href = lucent.url(lucent.unitPath(layer, layer.units[place]));
    const label = layer.label[place] >= 0 ? layer.labels[layer.label[place]] : "";
    return lucent.make("a", { ...attributes, href }, picture, words(`${layer.name}:${layer.units[place]}`, label));
  }

  function begin() {
    const dialog = document.getElementById("search");
    const input = dialog.querySelector("input");
    const list = dialog.querySelector("[role=listbox]");
    const status = dialog.querySelector("[role=status]");
    let index = null;

    function choose(option) {
      for (const other of list.children) other.setAttribute("aria-selected", other === option);
      if (option) {
        input.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      } else {
        input.removeAttribute("aria-activedescendant");
      }
    }

    function show() {
      if (!index) return;
      const found = find(index, input.value);
      list.replaceChildren(...found.slice(0, MOST).map(entry));
      list.scrollTop = 0;
      choose(list.firstElementChild);
      if (!input.value.trim()) status.textContent = "";
      else if (!found.length) status.textContent = "Nothing has that name, number or label.";
      else if (found.length > MOST) status.textContent = `The best ${MOST} of ${found.length.toLocaleString("en")}.`;
      else status.textContent = `${found.length} found.`;
    }

    async function prepareOnce() {
      if (index) return;
      try {
        index = prepare(await lucent.load("search", "data/search.js"));
        show();
      } catch {
        status.textContent = "data/search.js is missing: keep the folder of these pages together.";
      }
    }

    for (const button of document.querySelectorAll("[data-opens=search]")) {
      button.addEventListener("click", () => {
        input.select();
        prepareOnce();
      });
    }
    input.addEventListener("input", show);
    list.addEventListener("pointermove", (event) => {
      const option = event.target.closest(".result");
      if (option && option.getAttribute("aria-selected") !== "true") choose(option);
    });
    input.addEventListener("keydown", (event) => {
      const now = list.querySelector("[aria-selected=true]");
      if (event.key === "ArrowDown") choose(now?.nextElementSibling ?? list.firstElementChild);
      else if (event.key === "ArrowUp") choose(now?.previousElementSibling ?? list.lastElementChild);
      else if (event.key === "Enter") now?.click();
      else if (event.key === "Escape") dialog.close(); // some browsers only empty the field
      else return;
      event.preventDefault();
    });
  }

  document.addEventListener("DOMContentLoaded", begin);
})();
