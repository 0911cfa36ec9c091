"use strict";
// Values at the pointer, themes, sorted tables, arrow keys in figures.
const tip = {
  box: document.getElementById("tip"),
  live: document.getElementById("live"),
  // `place` gives the point on the screen; with the keyboard the box follows when the page scrolls.
  show(text, place, keyboard) {
    this.box.textContent = text;
    this.box.hidden = false;
    this.place = place;
    this.keyboard = keyboard;
    this.move();
    if (keyboard) this.live.textContent = text;
  },
  move() {
    const [x, y] = this.place();
    const { width, height } = this.box.getBoundingClientRect();
    const across = x + 14 + width < innerWidth ? x + 14 : Math.max(4, x - 14 - width);
    this.box.style.left = `${Math.max(4, Math.min(across, innerWidth - width - 4))}px`;
    this.box.style.top = `${Math.max(4, Math.min(y, innerHeight - height - 4))}px`;
  },
  hide() { this.box.hidden = true; },
  scrolled() {
    if (this.box.hidden) return;
    if (this.keyboard) this.move();
    else this.hide();
  },
};

function themes() {
  const button = document.getElementById("theme"), root = document.documentElement;
  const stored = { get: () => { try { return localStorage.getItem("aimc-theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("aimc-theme", name); } catch { /* not kept, then */ } } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const name = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
  if (["dark", "light"].includes(stored.get())) root.dataset.theme = stored.get();
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; stored.set(root.dataset.theme); name(); });
  system.addEventListener("change", name);
  name();
}

function sortable(table) {
  const heads = [...table.querySelectorAll("thead th")], body = table.tBodies[0];
  if (body.rows.length < 2) return;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.key;
      const number = [...body.rows].every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
      const order = (a, b) => {
        if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
        const ahead = number ? key(a) - key(b) : key(a).localeCompare(key(b), "en", { numeric: true });
        return down ? -ahead : ahead;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}

// Titles become labels, so that the browser does not show them a second time.
function figure(svg) {
  const marks = [...svg.querySelectorAll("g.value")];
  if (marks.length === 0) return;
  for (const mark of marks) {
    const title = mark.querySelector(":scope > title");
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", title.textContent);
    mark.tabIndex = -1;
    title.remove();
  }
  const show = (mark, keyboard) => {
    const place = () => { const box = mark.getBoundingClientRect(); return [Math.min(box.right, innerWidth - 20), box.top]; };
    tip.show(mark.getAttribute("aria-label").replaceAll("; ", "\n"), place, keyboard);
  };
  marks[0].tabIndex = 0;
  marks.forEach((mark, i) => {
    mark.addEventListener("pointermove", () => show(mark, false));
    mark.addEventListener("pointerleave", () => tip.hide());
    mark.addEventListener("focus", () => show(mark, mark.matches(":focus-visible")));
    mark.addEventListener("blur", () => tip.hide());
    mark.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: marks.length - 1 }[event.key];
      if (event.key === "Escape") tip.hide();
      if (to === undefined || !marks[to]) return;
      event.preventDefault();
      mark.tabIndex = -1;
      marks[to].tabIndex = 0;
      marks[to].focus();
    });
  });
}

// A hint above what has to be scrolled, and a shadow at the sides where there is more.
function hints(area) {
  const hint = document.createElement("p");
  hint.className = "hint";
  hint.hidden = true;
  area.before(hint);
  const what = area.querySelector("table") ? ["columns", "rows"] : ["of the figure", "of the figure"];
  const update = () => {
    const wide = area.scrollWidth - area.clientWidth, tall = area.scrollHeight - area.clientHeight;
    const across = area.clientWidth > 0 && wide > 2, down = area.clientWidth > 0 && tall > 2;
    hint.hidden = !(across || down);
    hint.className = across && down ? "hint both" : across ? "hint" : "hint down";
    hint.textContent = across && down ? `scroll for more ${what[0]} and ${what[1]}`
      : across ? `scroll sideways for more ${what[0]}` : `scroll down for more ${what[1]}`;
    area.classList.toggle("right", across && area.scrollLeft < wide - 2);
    area.classList.toggle("left", across && area.scrollLeft > 2);
  };
  area.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(area);
  update();
}

themes();
document.querySelectorAll("table:not(.parameters)").forEach(sortable);
document.querySelectorAll("figure svg").forEach(figure);
document.querySelectorAll(".scroll").forEach(hints);
addEventListener("scroll", () => tip.scrolled(), { passive: true, capture: true });
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details")) part.open = true; });
