// Finds words in all guides and in the reference, without a server. `index.js` beside this file holds the sections;
// it is a script and not JSON, as pages that were opened from a disk may not read other files.
"use strict";
(() => {
  const assets = new URL(".", document.currentScript.src);
  const MOST = 30; // results that are shown
  const PER_PAGE = 4; // of one page
  let index = null;

  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  // "pruning", "pruned" and "prune" are one word; short words stay whole.
  const stem = (word) => word.replace(/^(.{4,}?)(ing|ies|ed|es|e|s|y)$/, "$1");

  /** The words of a query: how they are found, whole or from their beginning, and the query as one phrase. */
  function parse(query) {
    const phrase = query.trim().toLowerCase().replace(/^-+/, "");
    const words = [...new Set(phrase.match(/[\p{L}\p{N}]+/gu) ?? [])].map((word) => ({
      begins: new RegExp(`(?<![\\p{L}\\p{N}])${escaped(stem(word))}`, "gu"),
      whole: new RegExp(`(?<![\\p{L}\\p{N}])${escaped(word)}(?![\\p{L}\\p{N}])`, "u"),
    }));
    const loose = escaped(phrase).replace(/(\\?-|_|\s)+/g, "[-_\\s]+");
    return {
      words,
      phrase: new RegExp(`(?<![\\p{L}\\p{N}])${loose}`, "u"),
      ends: new RegExp(`(^|\\.)-*${loose}$`, "u"),
      whole: new RegExp(`^-*${loose}$`, "u"),
    };
  }

  /** How well a word fits each section: BM25 in its text, more for its heading and the title of its page. */
  function weigh({ begins, whole }) {
    const counts = index.sections.map(({ low, head, title }) => ({
      text: low.match(begins)?.length ?? 0,
      head: head.search(begins) < 0 ? 0 : whole.test(head) ? 1 : 0.6,
      title: title.search(begins) < 0 ? 0 : whole.test(title) ? 1 : 0.6,
    }));
    const found = counts.filter(({ text, head, title }) => text || head || title).length;
    const rarity = Math.log(1 + (counts.length - found + 0.5) / (found + 0.5));
    return counts.map(({ text, head, title }, place) => {
      const length = 0.25 + (0.75 * index.sections[place].low.length) / index.average;
      return rarity * ((text * 2.2) / (text + 1.2 * length) + 3 * head + 1.5 * title);
    });
  }

  /** The sections that have all words of a query, or if none has, any of them; the best first. */
  function search(query) {
    const { words, phrase, ends, whole } = parse(query);
    if (!words.length) return [];
    const weights = words.map(weigh);
    const scored = index.sections.map((section, place) => {
      const each = weights.map((weight) => weight[place]);
      let score = each.reduce((sum, one) => sum + one, 0);
      if (whole.test(section.full)) score *= 10;
      else if (phrase.test(section.full)) score *= ends.test(section.full) ? 3 : 2;
      else if (phrase.test(section.low)) score *= 1.5;
      return { section, score: score * section.weight, all: each.every((one) => one > 0) };
    });
    const all = scored.filter(({ all, score }) => all && score > 0);
    const some = (all.length ? all : scored.filter(({ score }) => score > 0)).sort((one, other) => other.score - one.score);
    const shown = new Map();
    return some.filter(({ section: { page } }) => {
      shown.set(page, (shown.get(page) ?? 0) + 1);
      return shown.get(page) <= PER_PAGE;
    });
  }

  /** A few words around the first match, as nodes with the matches marked. */
  function excerpt(text, { words, phrase }) {
    const low = text.toLowerCase();
    const places = [low.search(phrase), ...words.map(({ begins }) => low.search(begins))].filter((place) => place >= 0);
    const first = Math.max(0, (places[0] ?? 0) - 60);
    const start = first ? text.indexOf(" ", first) + 1 : 0;
    const part = text.slice(start, start + 180);
    const marks = words.map(({ begins }) => `${begins.source}[\\p{L}\\p{N}]*`).join("|");
    const nodes = [start ? "… " : ""];
    let end = 0;
    for (const match of part.matchAll(new RegExp(marks, "giu"))) {
      const mark = document.createElement("mark");
      mark.textContent = match[0];
      nodes.push(part.slice(end, match.index), mark);
      end = match.index + match[0].length;
    }
    return [...nodes, part.slice(end), start + 180 < text.length ? " …" : ""];
  }

  function load() {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("index.js", assets);
      script.onerror = reject;
      script.onload = () => {
        const { pages, sections } = window.yoccIndex;
        index = {
          sections: sections.map(([page, anchor, heading, text]) => ({
            page, heading, text,
            url: new URL(`../${pages[page][0]}${anchor ? `#${encodeURIComponent(anchor)}` : ""}`, assets).href,
            name: pages[page][1],
            title: pages[page][1].toLowerCase(), head: heading.toLowerCase(), low: text.toLowerCase(),
            full: (pages[page][0].startsWith("api/") ? [pages[page][1], heading].filter(Boolean).join(".") : heading).toLowerCase(),
            weight: pages[page][2],
          })),
        };
        const guides = index.sections.filter(({ weight }) => weight === 1); // entries of the reference are far shorter
        index.average = guides.reduce((sum, { low }) => sum + low.length, 0) / guides.length;
        resolve();
      };
      document.head.append(script);
    });
  }

  const dialog = document.createElement("dialog");
  dialog.className = "yocc-search";
  dialog.setAttribute("aria-label", "Search");
  dialog.innerHTML =
    '<input type="search" role="combobox" aria-expanded="true" aria-controls="yocc-found" aria-label="Search guides and reference" placeholder="Search guides and reference" autocomplete="off" spellcheck="false">' +
    '<p role="status"></p><div id="yocc-found" role="listbox" aria-label="Found"></div>';
  const [input, status, list] = dialog.children;

  function show() {
    const query = parse(input.value);
    const found = index && query.words.length ? search(input.value) : [];
    status.textContent = !index ? "Loading …"
      : !query.words.length ? "Arrows choose, Enter opens, Escape closes."
      : !found.length ? "Nothing has these words."
      : found.length > MOST ? `The best ${MOST} of ${found.length}` : `${found.length} found`;
    list.replaceChildren(...found.slice(0, MOST).map(({ section }, place) => {
      const link = document.createElement("a");
      const where = document.createElement("small");
      const what = document.createElement("small");
      link.href = section.url;
      link.id = `yocc-found-${place}`;
      link.setAttribute("role", "option");
      link.tabIndex = -1;
      link.append(section.heading || section.name);
      where.textContent = section.name;
      what.append(...excerpt(section.text, query));
      link.append(where, what);
      link.addEventListener("click", () => dialog.close());
      return link;
    }));
    choose(0);
  }

  function choose(place) {
    const links = [...list.children];
    for (const [each, link] of links.entries()) link.setAttribute("aria-selected", String(each === place));
    input.setAttribute("aria-activedescendant", links[place]?.id ?? "");
    links[place]?.scrollIntoView({ block: "nearest" });
  }

  function open() {
    if (!dialog.isConnected) document.body.append(dialog);
    if (!dialog.open) dialog.showModal();
    input.select();
    show();
    if (!index) load().then(show, () => { status.textContent = "The index was not found: assets/index.js."; });
  }

  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    const chosen = [...list.children].findIndex((link) => link.getAttribute("aria-selected") === "true");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && list.children.length) {
      choose((chosen + step + list.children.length) % list.children.length);
      event.preventDefault();
    } else if (event.key === "Escape") {
      dialog.close(); // which some browsers do only once the field is empty
      event.preventDefault();
    } else if (event.key === "Enter") {
      list.children[chosen]?.click();
      event.preventDefault();
    }
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    open();
  });
  for (const place of document.querySelectorAll("[data-search]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "yocc-open";
    button.innerHTML = "Search <kbd>/</kbd>";
    button.addEventListener("click", open);
    place.replaceChildren(button);
  }
})();
