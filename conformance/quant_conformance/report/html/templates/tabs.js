
"use strict";
(() => {
  const list = document.querySelector("[role=tablist]");
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
  const main = document.getElementById("report");
  const wide = matchMedia("(min-width: 60rem)");

  function select(index) {
    tabs.forEach((tab, i) => {
      tab.setAttribute("aria-selected", String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
      panels[i].hidden = i !== index;
    });
    // Only the list itself may scroll: the page stays where the reader is.
    const tab = tabs[index];
    list.scrollLeft = tab.offsetLeft - (list.clientWidth - tab.offsetWidth) / 2;
    list.scrollTop = tab.offsetTop - (list.clientHeight - tab.offsetHeight) / 2;
  }

  // Whatever part is chosen, its heading is where that of the part before was.
  function settle() {
    const edge = wide.matches ? 0 : list.offsetHeight;
    const above = main.getBoundingClientRect().top - edge;
    if (above < 0) scrollBy(0, above);
  }

  function choose(index) {
    select(index);
    settle();
    tabs[index].focus({ preventScroll: true });
    history.replaceState(null, "", "#" + panels[index].id);
  }

  // Shows what an address points at, be it a part or something inside one.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    const panel = target && target.closest(".panel");
    if (!panel) return;
    select(panels.indexOf(panel));
    if (target === panel) return settle();
    for (let part = target; part && part !== panel; part = part.parentElement) {
      if (part instanceof HTMLDetailsElement) part.open = true;
    }
    target.scrollIntoView();
  }

  function orient() {
    list.setAttribute("aria-orientation", wide.matches ? "vertical" : "horizontal");
  }

  panels.forEach((panel, i) => {
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tabs[i].id);
  });
  tabs.forEach((tab, i) => tab.addEventListener("click", () => choose(i)));
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement);
    const to = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1,
      Home: 0, End: tabs.length - 1,
    }[event.key];
    if (at < 0 || to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    choose((to + tabs.length) % tabs.length);
  });

  // A clause opens beside what breaks it; without scripts the link leads to its text.
  const dialog = document.getElementById("clause-dialog");
  for (const link of document.querySelectorAll("a.clause")) {
    const source = document.getElementById(link.hash.slice(1));
    link.title = source.querySelector(".title").textContent + "\n"
      + source.querySelector(".text").textContent.trim();
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const heading = source.querySelector(".id").textContent + " "
        + source.querySelector(".title").textContent;
      document.getElementById("clause-dialog-title").textContent = heading;
      const text = source.querySelector(".text").cloneNode(true);
      document.getElementById("clause-dialog-text").replaceChildren(text);
      dialog.showModal();
    });
  }

  // What is listed can be filtered by words, all of which must occur.
  for (const box of document.querySelectorAll(".filter")) {
    const root = document.getElementById(box.dataset.list);
    const input = box.querySelector("input");
    const output = box.querySelector("output");
    const items = [...root.querySelectorAll("[data-item]")];
    const groups = [...root.querySelectorAll("details:not([data-item])")];
    const opened = new Map();
    const texts = new Map();

    function textOf(item) {
      if (!texts.has(item)) {
        const group = item.closest(".kind");
        const title = group ? group.querySelector("summary").textContent : "";
        texts.set(item, (title + " " + item.textContent).toLowerCase());
      }
      return texts.get(item);
    }

    function apply() {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of items) {
        item.hidden = !words.every((word) => textOf(item).includes(word));
        shown += !item.hidden;
      }
      for (const group of groups) {
        group.hidden = !group.querySelector("[data-item]:not([hidden])");
        if (words.length && !opened.has(group)) opened.set(group, group.open);
        if (words.length) group.open = !group.hidden;
        else if (opened.has(group)) group.open = opened.get(group);
      }
      if (!words.length) opened.clear();
      output.textContent = words.length ? `${shown} of ${items.length}` : "";
    }

    input.addEventListener("input", apply);
    box.hidden = items.length < 2;
  }

  addEventListener("hashchange", reveal);
  wide.addEventListener("change", orient);
  document.documentElement.classList.add("scripted");
  orient();
  list.hidden = false;
  select(0);
  reveal();
})();
