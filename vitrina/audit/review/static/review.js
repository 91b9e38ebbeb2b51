// Keys, dialogs and focus. What is decided, and what is shown next, is the server's.
(() => {
  "use strict";
  const find = (what, where = document) => where.querySelector(what);
  const TYPING = "input:not([type=checkbox]), textarea, select";
  const PRESSED = ["Enter", "NumpadEnter", "Space"];

  const open = name => {
    const dialog = document.getElementById(name);
    if (!dialog || dialog.open) return;
    dialog.showModal();
    if (name === "picker") {
      const input = find("input", dialog);
      input.value = "";
      input.focus();
      htmx.trigger(input, "opened");
    }
  };

  const options = () => [...document.querySelectorAll("#options [role=option]")];
  const select = chosen => {
    for (const one of options()) one.setAttribute("aria-selected", String(one === chosen));
    const input = find("#picker input");
    if (chosen) {
      input.setAttribute("aria-activedescendant", chosen.id);
      chosen.scrollIntoView({ block: "nearest" });
    } else input.removeAttribute("aria-activedescendant");
  };

  // The list may still be of fewer letters than were typed; nobody chose from that one.
  const fresh = () =>
    find("#options ul")?.dataset.for.trim() === find("#picker input").value.trim();

  const pick = event => {
    const all = options();
    const at = all.findIndex(one => one.getAttribute("aria-selected") === "true");
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.code in steps && all.length) {
      event.preventDefault();
      const next = at + steps[event.code];
      const around = (next + all.length) % all.length;
      const kept = Math.min(Math.max(next, 0), all.length - 1);
      select(all[Math.abs(steps[event.code]) === 1 ? around : kept]);
    } else if (event.code.endsWith("Enter") && event.target.matches("input")) {
      event.preventDefault();
      if (at >= 0 && fresh() && !event.repeat) all[at].click();
    }
  };

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const dialog = find("dialog[open]");
    if (dialog) {
      if (dialog.id === "picker") pick(event);
      return;
    }
    const target = event.target;
    if (event.code === "Escape") {
      const panel = find("#filters[open]");
      if (panel) {
        panel.open = false;
        find("summary", panel).focus();
        return;
      }
    }
    if (target.closest(TYPING)) return;
    if (PRESSED.includes(event.code) && target.closest("button, a, summary, label, input")) return;
    // By the place of the key, not by its letter: the layout may be Russian.
    const key = event.key === "?" || (event.shiftKey && event.code === "Slash") ? "?" : event.code;
    const button = find(`[data-keys~="${CSS.escape(key)}"]`);
    if (!button) return;
    event.preventDefault();
    if (!event.repeat || key.startsWith("Arrow")) button.click();
  });

  document.addEventListener("click", event => {
    const opener = event.target.closest("[data-open]");
    if (opener) open(opener.dataset.open);
    if (event.target.closest("[data-close]") || event.target.matches("dialog")) {
      event.target.closest("dialog").close();
    }
    if (event.target.closest("#zoom img")) find("#zoom").close();
    const panel = find("#filters[open]");
    if (panel && !panel.contains(event.target)) panel.open = false;
  });

  document.addEventListener("htmx:beforeRequest", event => {
    const from = event.detail.elt;
    if (from.closest("[role=option]")) find("#picker")?.close();
    if (!from.matches("#picker input")) find("#desk").setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", () => find("#desk").removeAttribute("aria-busy"));
  document.addEventListener("htmx:afterSwap", event => {
    if (event.detail.target.id === "options") select(options()[0]);
    if (event.detail.target.id === "desk") {
      window.scrollTo(0, 0);
      find("#desk [data-focus]")?.focus({ preventScroll: true });
    }
  });
  for (const kind of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(kind, () => {
      const alert = find("#alert");
      alert.textContent = alert.dataset.offline;
    });
  }
})();
