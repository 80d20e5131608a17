// Comforts on pages that work without them: copy buttons, tabs, times that stay true, menus, dialogs, toasts, the palette.
"use strict";

const UNITS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [30 * 86400, 86400, "d"]];

function relative(seconds) {
  // The same rule as plugsend/templatetags/ui.py.
  const size = Math.abs(seconds);
  if (size < 5) return seconds > 0 ? "any moment" : "just now";
  for (const [limit, unit, name] of UNITS) {
    if (size < limit) return seconds > 0 ? `in ${Math.floor(size / unit)} ${name}` : `${Math.floor(size / unit)} ${name} ago`;
  }
  return null; // older: the server's date stands
}

function refreshTimes() {
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const seconds = (new Date(time.dateTime) - Date.now()) / 1000;
    const words = time.dataset.relative === "due" && seconds < 0 ? "any moment" : relative(seconds);
    if (words && time.textContent !== words) time.textContent = words;
  }
}

function makeTabs(box) {
  const panels = [...box.querySelectorAll(":scope > section")];
  if (box.classList.contains("is-live") || panels.length < 2) return;
  const list = document.createElement("div");
  list.className = "tablist";
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", box.dataset.label || "Variants");
  const tabs = panels.map((panel, index) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.className = "tab";
    tab.id = `${box.id}-tab-${index}`;
    panel.id ||= `${box.id}-panel-${index}`;
    tab.textContent = panel.querySelector(".tab-title").textContent;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => { select(index); remember(tab.textContent); });
    list.append(tab);
    return tab;
  });
  function select(chosen) {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
      panels[index].hidden = index !== chosen;
    });
  }
  list.addEventListener("keydown", (event) => {
    const at = tabs.indexOf(document.activeElement), last = tabs.length - 1;
    const next = { ArrowRight: at < last ? at + 1 : 0, ArrowLeft: at > 0 ? at - 1 : last, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(next);
    remember(tabs[next].textContent);
    tabs[next].focus();
  });
  // Whoever reads Ruby once reads Ruby on the next page, too.
  const name = `tab ${box.dataset.label}`;
  function remember(title) {
    if (!("remember" in box.dataset)) return;
    try { localStorage.setItem(name, title); } catch { /* not allowed here: then it is not remembered */ }
  }
  function remembered() {
    try { return localStorage.getItem(name); } catch { return null; }
  }
  box.classList.add("is-live");
  box.prepend(list);
  select(Math.max(0, tabs.findIndex((tab) => tab.textContent === remembered())));
}

function prepare(root) {
  if (navigator.clipboard) root.querySelectorAll("[data-copy]").forEach((button) => { button.hidden = false; });
  root.querySelectorAll(".tabs").forEach(makeTabs);
  root.querySelectorAll("[data-filters], [data-put-away]").forEach((one) => { one.hidden = false; });
  root.querySelectorAll("[data-toast]").forEach(prepareToast);
  refreshTimes();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = button.dataset.copy || button.closest("[data-copy-source]").querySelector("pre").innerText;
  await navigator.clipboard.writeText(source);
  const label = button.querySelector("span");
  const before = label.textContent;
  label.textContent = "Copied";
  button.classList.add("is-copied");
  setTimeout(() => { label.textContent = before; button.classList.remove("is-copied"); }, 1600);
});

// ---- Menus: details elements ----------------------------------------------------------------------------------------

function closeMenu(menu) {
  const had = menu.contains(document.activeElement);
  menu.open = false;
  if (had) menu.querySelector("summary").focus();
}

document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details[data-menu][open]");
  if (event.key === "Escape") {
    const open = document.querySelectorAll("details[data-menu][open]");
    open.forEach(closeMenu);
    if (open.length) event.preventDefault(); // the drawer around it stays
  } else if (menu && ["ArrowDown", "ArrowUp"].includes(event.key) && !event.target.matches("select, textarea")) {
    const items = [...menu.querySelectorAll("summary, a, button, input")].filter((one) => one.checkVisibility());
    const step = event.key === "ArrowDown" ? 1 : -1;
    items[(items.indexOf(event.target) + step + items.length) % items.length].focus();
    event.preventDefault();
  }
});
document.addEventListener("click", (event) => {
  document.querySelectorAll("details[data-menu][open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});
document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-filters]")) return;
  const words = event.target.value.trim().toLowerCase(), around = event.target.parentElement;
  const items = [...around.querySelectorAll("[data-filtered] > li")];
  for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(words);
  for (const group of around.querySelectorAll("[data-filtered-group]")) group.hidden = !group.querySelector("li:not([hidden])");
  const none = around.querySelector("[data-filtered-none]");
  if (none) none.hidden = items.some((item) => !item.hidden);
});

// ---- Light or dark: at once; the server remembers -------------------------------------------------------------------

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-theme-form]")) return;
  event.preventDefault();
  const chosen = event.submitter.value, root = document.documentElement;
  if (chosen === "system") delete root.dataset.theme; else root.dataset.theme = chosen;
  document.querySelector("meta[name=color-scheme]").content = chosen === "system" ? "light dark" : chosen;
  for (const one of document.querySelectorAll("[data-theme-form] button")) one.setAttribute("aria-pressed", String(one.value === chosen));
  fetch(form.action, { method: "POST", body: new FormData(form, event.submitter), redirect: "manual" });
});

// ---- Toasts ---------------------------------------------------------------------------------------------------------

const READ_MS = 6000;

function prepareToast(toast) {
  if (toast.dataset.toast !== "success") return; // what went wrong stays until it is put away
  let timer = setTimeout(() => toast.remove(), READ_MS);
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(timer));
  for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, () => { timer = setTimeout(() => toast.remove(), READ_MS); });
}

// ---- Dialogs: a page that asks something, shown over the one that leads to it -----------------------------------------

async function openAsDialog(link) {
  const answer = await fetch(link.href).catch(() => null);
  const page = answer?.ok && !answer.redirected && new DOMParser().parseFromString(await answer.text(), "text/html");
  const title = page && page.querySelector("#main h1"), form = page && page.querySelector("#main form[method=post]");
  if (!title || !form) { location.href = link.href; return; } // such as: who are you
  const dialog = document.createElement("dialog"), head = document.createElement("div"), heading = document.createElement("h2");
  dialog.className = "dialog";
  dialog.setAttribute("aria-labelledby", "dialog-title");
  head.className = "dialog-head";
  heading.id = "dialog-title";
  heading.textContent = title.textContent;
  head.append(heading);
  dialog.append(head);
  const text = title.nextElementSibling;
  let top = title;
  while (top.parentElement.parentElement.id !== "main") top = top.parentElement;
  const rest = [...top.parentElement.children].slice([...top.parentElement.children].indexOf(top) + 1);
  dialog.append(...(text?.matches("p") ? [text] : []), ...rest);
  if (!form.hasAttribute("action")) form.action = link.href;
  form.querySelectorAll("a.button-quiet").forEach((one) => one.setAttribute("data-close", "")); // Cancel
  document.body.append(dialog);
  dialog.addEventListener("close", () => { dialog.remove(); link.focus(); });
  prepare(dialog);
  dialog.showModal();
  // Not the button that does it: a second press of Enter would.
  (form.querySelector("input:not([type=hidden]), select, textarea") || form.querySelector("[data-close]"))?.focus();
}

document.addEventListener("click", (event) => {
  const plain = !event.defaultPrevented && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  const link = event.target.closest("a[data-dialog]");
  if (link && plain) { event.preventDefault(); openAsDialog(link); }
  const closes = event.target.closest("[data-close]");
  if (closes) { event.preventDefault(); closes.closest("dialog").close(); }
  if (event.target.matches("dialog")) event.target.close(); // the backdrop
  if (event.target.closest("[data-put-away]")) event.target.closest("[data-toast]").remove();
  const opens = event.target.closest("a[data-palette]");
  if (opens && plain && palette) { event.preventDefault(); openPalette(); }
});

// ---- Command palette ------------------------------------------------------------------------------------------------

const palette = document.getElementById("palette");
const asks = palette?.querySelector("input");
const told = document.getElementById("palette-told");
const options = () => [...palette.querySelectorAll("[role=option]")];
// What is pasted here stands in addresses and logs: of a key only the beginning, which is no secret.
const withoutSecret = (text) => text.replace(/(ps_live_\w{8})\w+/g, "$1");

function openPalette() {
  if (palette.open) return;
  document.getElementById("sidebar")?.hidePopover?.();
  palette.showModal();
  asks.select();
  look();
}

let turn = 0, soon;

async function look() {
  const mine = ++turn, query = new URLSearchParams({ q: withoutSecret(asks.value) });
  const answer = await fetch(`${asks.form.action}?${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (mine !== turn) return; // an answer to what was typed before
  if (!answer?.ok || answer.redirected) { asks.form.submit(); return; }
  const results = document.getElementById("palette-results");
  results.innerHTML = await answer.text();
  results.scrollTop = 0;
  const list = results.querySelector("[data-number]");
  asks.setAttribute("aria-expanded", String(list.dataset.number !== "0"));
  if (list.id) asks.setAttribute("aria-controls", list.id); else asks.removeAttribute("aria-controls");
  told.textContent = list.dataset.number === "1" ? "1 result" : `${list.dataset.number} results`;
  point(0);
  delete asks.dataset.waits;
  if (asks.dataset.goes) { delete asks.dataset.goes; options()[0]?.click(); }
}

function point(at) {
  const all = options();
  all.forEach((one, index) => one.setAttribute("aria-selected", String(index === at)));
  if (!all[at]) { asks.removeAttribute("aria-activedescendant"); return; }
  asks.setAttribute("aria-activedescendant", all[at].id);
  all[at].scrollIntoView({ block: "nearest" });
}

if (palette) {
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (palette.open) palette.close(); else openPalette();
    }
  });
  palette.addEventListener("keydown", (event) => {
    const all = options(), at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
    if (to !== undefined && all.length) { event.preventDefault(); point((to + all.length) % all.length); }
    if (event.key === "Enter" && event.target === asks) {
      event.preventDefault();
      if (!asks.dataset.waits && all[at]) all[at].click(); else asks.dataset.goes = "1"; // as soon as the answer is there
    }
  });
  asks.addEventListener("input", () => {
    asks.dataset.waits = "1";
    delete asks.dataset.goes;
    clearTimeout(soon);
    soon = setTimeout(look, 120);
  });
  palette.addEventListener("close", () => { delete asks.dataset.goes; });
  if (/Mac|iPhone|iPad/.test(navigator.platform)) document.querySelectorAll("[data-shortcut]").forEach((one) => { one.textContent = "⌘K"; });
}

// What the reader has opened stays open when htmx brings a newer version.
let opened = new Set();
document.addEventListener("htmx:beforeSwap", () => { opened = new Set([...document.querySelectorAll("details[id][open]:not([data-as-it-comes])")].map((d) => d.id)); });
document.addEventListener("htmx:afterSwap", () => { opened.forEach((id) => { const d = document.getElementById(id); if (d) d.open = true; }); });
// What is being read stays where it is on the screen, whatever grows or shrinks above it.
let read = null;
document.addEventListener("htmx:beforeSwap", () => {
  read = window.scrollY > 0 ? [...document.querySelectorAll("[hx-preserve]")].find((one) => one.getBoundingClientRect().bottom > 0) : null;
  if (read) read = { id: read.id, top: read.getBoundingClientRect().top };
});
document.addEventListener("htmx:afterSwap", () => {
  const now = read && document.getElementById(read.id);
  if (now) window.scrollBy({ top: now.getBoundingClientRect().top - read.top, behavior: "instant" });
});
document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));

prepare(document);
// What was not taken comes first: the field itself, with what was typed.
document.querySelector("main [aria-invalid=true]:not([type=hidden])")?.focus();
for (const tab of document.querySelectorAll(".tablist > [aria-current]")) tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 48;
setInterval(refreshTimes, 1000);
