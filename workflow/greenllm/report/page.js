// What a reader without JavaScript can do without: sorting, filtering and copying tables, and a number's derivation.
const texts = JSON.parse(document.getElementById("texts").textContent);
const derivations = JSON.parse(document.getElementById("derivations").textContent);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Sort a table by a column: a click, or Enter or Space, on its heading; again for the other direction.
for (const heading of document.querySelectorAll("th[aria-sort]")) {
  heading.addEventListener("click", () => {
    const table = heading.closest("table");
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const numeric = heading.classList.contains("number");
    const key = (row) => row.cells[heading.cellIndex].dataset.sort;
    const rows = [...table.tBodies[0].rows].sort((first, second) => {
      const [a, b] = [key(first), key(second)];
      if (a === "" || b === "") return (a === "") - (b === "");  // what is unknown comes last, either way
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
      return ascending ? order : -order;
    });
    table.tBodies[0].append(...rows);
  });
}

// Show one experiment alone, in blocks, figures and tables.
const names = [...document.querySelectorAll("article[data-experiment]")].map((one) => one.dataset.experiment);
if (names.length > 1) {
  const select = element("select", { id: "experiment" }, element("option", { value: "" }, texts.all));
  select.append(...names.map((name) => element("option", { value: name }, name)));
  select.addEventListener("change", () => {
    for (const one of document.querySelectorAll("[data-experiment]")) {
      one.hidden = select.value !== "" && names.includes(one.dataset.experiment) && one.dataset.experiment !== select.value;
    }
  });
  document.querySelector("nav").append(element("label", { className: "filter" }, texts.experiment + " ", select));
}

// Copy a table as tab-separated values: the rows that are shown, with their intervals.
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = element("textarea", { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
for (const files of document.querySelectorAll("details.fold > .files")) {
  const table = files.parentElement.querySelector("table");
  const button = element("button", { type: "button", className: "copy" }, texts.copy);
  button.addEventListener("click", async () => {
    const words = (cell) => [...cell.childNodes].map((one) => one.textContent.trim()).filter(Boolean).join(" ");
    const rows = [...table.rows].filter((row) => !row.hidden);
    await copied(rows.map((row) => [...row.cells].map(words).join("\t")).join("\n"));
    button.textContent = texts.copied;
  });
  files.prepend(button, " · ");
}

// The derivation of a number: its formula, the files that it is computed from, and the factors that enter it.
const dialog = element("dialog", { id: "derivation" });
dialog.setAttribute("aria-labelledby", "derivation-title");
document.body.append(dialog);
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function cellOf(address) {
  return document.querySelector(`td[data-derived="${CSS.escape(address)}"]`);
}

function derive(one) {
  const [name, row, column] = one.dataset.derived.split("/");
  const table = derivations.tables[name];
  const { title, unit, formula, factors } = table.columns[column];
  const cell = cellOf(one.dataset.derived) ?? one;
  const { sort, low, high } = cell.dataset;
  const [files, more, chosen] = (table.own[column] ?? table.rows)[row] ?? [[], 0, ""];
  const digits = (number) => number === "Infinity" ? "∞" : `${Number(Number(number).toPrecision(6))}`;
  const value = !sort ? "–" : Number.isNaN(Number(sort)) ? one.textContent : `${digits(sort)} ${unit === "1" ? "" : unit ?? ""}`;
  const list = element("ul", {}, ...files.map((index) => element("li", {}, element("code", {}, derivations.files[index]))));
  if (more) list.append(element("li", {}, texts.more.replace("{count}", more)));
  const parts = [
    element("h3", { id: "derivation-title" }, title),
    element("p", { className: "value" }, value, low ? element("small", {}, ` ${texts.interval}: ${low} – ${high || "…"}`) : ""),
    element("h4", {}, texts.formula), element("p", {}, formula),
  ];
  if (files.length || more) parts.push(element("h4", {}, texts.files), ...(chosen ? [element("p", {}, chosen)] : []), list);
  if (factors.length) {
    parts.push(element("h4", {}, texts.factors), ...factors.map((key) => element("p", { className: "factor" }, derivations.factors[key])));
  }
  const close = element("button", { type: "button" }, texts.close);
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(...parts, close);
  dialog.showModal();
}

for (const one of document.querySelectorAll("[data-derived]")) {
  if (!derivations.tables[one.dataset.derived.split("/")[0]]) continue;
  one.classList.add("derivable");
  if (one.tagName === "TD") one.tabIndex = -1;
  else Object.assign(one, { tabIndex: 0, role: "button" });
}
document.addEventListener("click", (event) => {
  const one = event.target.closest("[data-derived].derivable");
  if (one) derive(one);
});

// In a table: arrows lead from number to number, Enter shows how one is derived.
document.addEventListener("keydown", (event) => {
  const one = event.target.closest?.("[data-derived].derivable");
  if (one && (event.key === "Enter" || event.key === " ")) {
    event.preventDefault();
    derive(one);
  } else if (event.target.classList?.contains("table") && event.key === "Enter") {
    event.target.querySelector("td.derivable")?.focus();
  } else if (one?.tagName === "TD") {
    const cells = [...one.closest("tbody").querySelectorAll("td.derivable")];
    const inRow = one.parentElement.querySelectorAll("td.derivable").length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: inRow, ArrowUp: -inRow }[event.key];
    const next = step && cells[cells.indexOf(one) + step];
    if (next) {
      event.preventDefault();
      next.focus();
    }
  }
});
