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
