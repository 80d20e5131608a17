// Small comforts on pages that work without them: copy buttons, tabs, times that stay true, the phone's menu.
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
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
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

// The phone's menu is a details element: close it with Escape or by a click elsewhere.
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details[data-menu][open]").forEach((menu) => { menu.open = false; });
});
document.addEventListener("click", (event) => {
  document.querySelectorAll("details[data-menu][open]").forEach((menu) => { if (!menu.contains(event.target)) menu.open = false; });
});

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
setInterval(refreshTimes, 1000);
