// The editor of a template: line numbers, the tab key, the preview's frame and its switches. Without it there is a button.
"use strict";

const MAIL_WIDTH = 680; // what a mail program's window gives it

// ---- Source: line numbers, tab, lines with problems

function numbered(area) {
  const gutter = document.createElement("div");
  gutter.className = "source-lines";
  gutter.setAttribute("aria-hidden", "true");
  const list = document.createElement("pre");
  gutter.append(list);
  area.before(gutter);
  let shown = "";
  function draw() {
    const marked = new Set([...document.querySelectorAll(`.problem-place[data-part="${area.dataset.source}"]`)].map((one) => Number(one.dataset.line)));
    const count = area.value.split("\n").length;
    const key = `${count} ${[...marked]}`;
    if (key !== shown) {
      shown = key;
      list.replaceChildren();
      for (let line = 1; line <= count; line += 1) {
        if (marked.has(line)) {
          const mark = document.createElement("mark");
          mark.textContent = line;
          list.append(mark);
        } else {
          list.append(`${line}\n`);
        }
      }
    }
    gutter.scrollTop = area.scrollTop;
  }
  function fit() { gutter.style.height = `${area.offsetHeight}px`; }
  area.addEventListener("input", draw);
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  new ResizeObserver(fit).observe(area);
  draw();
  return draw;
}

function indents(area) {
  let leaves = false; // Escape lets the next Tab go on to the next field
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { leaves = true; return; }
    if (event.key !== "Tab" || event.ctrlKey || event.altKey || event.metaKey || leaves || area.readOnly) { if (event.key !== "Shift") leaves = false; return; }
    event.preventDefault();
    const { selectionStart: start, selectionEnd: end, value } = area;
    const from = value.lastIndexOf("\n", start - 1) + 1;
    if (start === end && !event.shiftKey) {
      insert(area, "  ");
    } else {
      const lines = value.slice(from, end).split("\n");
      const moved = lines.map((line) => (event.shiftKey ? line.replace(/^ {1,2}|^\t/, "") : line && `  ${line}`)).join("\n");
      area.setSelectionRange(from, end);
      insert(area, moved);
      area.setSelectionRange(from, from + moved.length);
    }
  });
  area.addEventListener("blur", () => { leaves = false; });
}

function insert(area, text) {
  // The only way that keeps the browser's undo.
  if (!document.execCommand("insertText", false, text)) area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
}

// ---- The preview

const preview = document.getElementById("preview");
const stage = preview.querySelector(".preview-stage");

function fit(frame) {
  const width = preview.dataset.width === "phone" ? stage.clientWidth : Math.max(MAIL_WIDTH, stage.clientWidth);
  const scale = stage.clientWidth / width;
  frame.style.width = `${width}px`;
  frame.style.height = `${640 / scale}px`;
  frame.style.transform = scale < 1 ? `scale(${scale})` : "";
  stage.style.height = "640px";
}

function show(told) {
  const address = told && (preview.dataset.scheme === "dark" ? `${told}?scheme=dark` : told);
  const before = stage.querySelector(".preview-frame:not(.is-coming)");
  if (!address || before?.getAttribute("src") === address) return;
  stage.querySelectorAll(".is-coming").forEach((one) => one.remove());
  const frame = document.createElement("iframe");
  frame.className = "preview-frame is-coming";
  frame.title = "Preview of the HTML";
  frame.setAttribute("sandbox", "");
  frame.referrerPolicy = "no-referrer";
  // The one before stays until this one is there: no white flash at each key.
  frame.addEventListener("load", () => { before?.remove(); frame.classList.remove("is-coming"); });
  frame.src = address;
  stage.append(frame);
  fit(frame);
}

function refit() { stage.querySelectorAll("iframe").forEach(fit); }

preview.classList.add("is-live");
preview.querySelector(".preview-bar").hidden = false;
new ResizeObserver(refit).observe(stage);
preview.querySelector(".preview-bar").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { sets, to } = button.dataset;
  if (button.parentElement.classList.contains("segmented")) {
    button.parentElement.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", String(one === button)));
    preview.dataset[sets] = to;
  } else {
    const is = preview.dataset[sets] !== to;
    preview.dataset[sets] = is ? to : "";
    button.setAttribute("aria-pressed", String(is));
  }
  show(preview.querySelector("[data-frame]").dataset.frame);
  refit();
});

// ---- The form

const editor = document.querySelector("[data-editor]");
if (editor) {
  const redraw = [];
  editor.querySelectorAll("[data-source]").forEach((area) => { redraw.push(numbered(area)); indents(area); });
  editor.querySelectorAll("[data-preview]").forEach((button) => { button.hidden = true; });
  editor.querySelectorAll(".source-keys").forEach((one) => { one.hidden = false; });

  let isChanged = false;
  editor.addEventListener("input", () => {
    isChanged = true;
    editor.querySelectorAll(".editor-unsaved").forEach((one) => { one.hidden = false; });
  });
  // htmx asks for previews by the form's own submit event, too: those of its buttons are real.
  editor.addEventListener("submit", () => { isChanged = false; });
  window.addEventListener("beforeunload", (event) => { if (isChanged) event.preventDefault(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "s" && (event.ctrlKey || event.metaKey) && !event.altKey) {
      const save = editor.querySelector('[name="act"][value="save"]');
      if (save) { event.preventDefault(); editor.requestSubmit(save); }
    }
  });
  editor.addEventListener("click", (event) => {
    const place = event.target.closest(".problem-place");
    if (!place) return;
    const area = editor.querySelector(place.dataset.part === "subject" ? "#e-subject" : `[data-source="${place.dataset.part}"]`);
    const panel = area.closest("[role=tabpanel]");
    if (panel?.hidden) document.getElementById(panel.getAttribute("aria-labelledby")).click();
    const lines = area.value.split("\n");
    const line = Number(place.dataset.line) - 1;
    const from = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0);
    area.focus();
    if (area.setSelectionRange) area.setSelectionRange(from, from + (lines[line] || "").length);
    area.scrollTop = Math.max(0, line * 20 - 100);
  });
  document.addEventListener("htmx:afterSwap", () => {
    const told = preview.querySelector("[data-frame]");
    const isBroken = "broken" in told.dataset; // what was seen last stays, faintly
    preview.classList.toggle("is-broken", isBroken);
    if (!isBroken && !told.dataset.frame) stage.replaceChildren();
    show(told.dataset.frame);
    redraw.forEach((draw) => draw());
  });
}
