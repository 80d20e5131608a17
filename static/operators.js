// What django-unfold leaves to the mouse in the operators' admin, by keyboard and screen reader too. Pages do without it.
document.addEventListener("DOMContentLoaded", () => {
  // The names of icons are not for reading out where words stand beside them.
  for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
    const control = icon.closest("a, button");
    const words = control?.textContent.replace(icon.textContent, "").trim();
    if (!control || words || control.title || control.ariaLabel) icon.ariaHidden = "true";
  }
  document.querySelector("#nav-sidebar-apps a.active")?.scrollIntoView({ block: "nearest" });
  // What scrolls can be scrolled by keyboard, whatever stands in it.
  for (const one of document.querySelectorAll(".overflow-x-auto")) if (!one.querySelector("a[href], input, button")) one.tabIndex = 0;
  // Links without an address, and icons, that do something when clicked.
  for (const one of document.querySelectorAll("a:not([href]), span[x-on\\:click]")) {
    one.setAttribute("role", "button");
    one.tabIndex = 0;
    one.ariaHidden = null;
    one.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      one.click();
    });
  }
});

// Select2 puts a field of its own into the place of one that has a label.
const nameSelects = () => {
  for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
    const name = select.getAttribute("aria-label") || select.labels[0]?.textContent.trim();
    const shown = select.nextElementSibling;
    if (!name || !shown) continue;
    for (const one of shown.querySelectorAll(".select2-selection, .select2-search__field")) {
      one.removeAttribute("aria-labelledby");
      one.setAttribute("aria-label", name);
    }
    for (const told of ["role", "aria-readonly"]) shown.querySelector(".select2-selection__rendered")?.removeAttribute(told);
  }
};
new MutationObserver((changes) => {
  const added = changes.flatMap((change) => [...change.addedNodes]);
  if (added.some((one) => one.classList?.contains("select2-container"))) nameSelects();
}).observe(document, { childList: true, subtree: true });

// The theme "system" follows the system while a page is open, too.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
  if ((localStorage.getItem("adminTheme") ?? '"auto"') === '"auto"') document.documentElement.classList.toggle("dark", event.matches);
});
