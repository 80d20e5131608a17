// What django-unfold leaves to the mouse in the operators' admin, by keyboard and screen reader too. Pages do without it.
document.addEventListener("DOMContentLoaded", () => {
  // Links without an address, and icons, that do something when clicked.
  for (const one of document.querySelectorAll("a:not([href]), span[x-on\\:click]")) {
    one.setAttribute("role", "button");
    one.tabIndex = 0;
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
    shown.querySelector(".select2-selection__rendered")?.removeAttribute("role");
  }
};
addEventListener("load", nameSelects);
document.addEventListener("formset:added", () => setTimeout(nameSelects));
