
"use strict";
(() => {
  const list = document.querySelector("[role=tablist]");
  const tabs = [...list.querySelectorAll("[role=tab]")];
  const panels = tabs.map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
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

  function choose(index) {
    select(index);
    tabs[index].focus({ preventScroll: true });
    history.replaceState(null, "", "#" + panels[index].id);
  }

  // Shows what an address points at, be it a part or something inside one.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    const panel = target && target.closest(".panel");
    if (!panel) return;
    select(panels.indexOf(panel));
    if (target instanceof HTMLDetailsElement) target.open = true;
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

  addEventListener("hashchange", reveal);
  wide.addEventListener("change", orient);
  orient();
  list.hidden = false;
  select(0);
  reveal();
})();
