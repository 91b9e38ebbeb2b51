// Sorts the table of methods, and picks out a method in the charts. Without the two signs that XML
// escapes, so that the page is well-formed XML too.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const first = head.dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const order = before === first ? other : first;
      for (const one of table.querySelectorAll("th[aria-sort]")) one.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = row => row.cells[column].dataset.key;
      const compare = (one, two) => {
        if (key(one) === "" || key(two) === "") return (key(one) === "") - (key(two) === "");
        const apart = first === "ascending" ? key(one).localeCompare(key(two))
          : Number(key(one)) - Number(key(two));
        return sign * apart;
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}
for (const figure of document.querySelectorAll("figure")) {
  for (const item of figure.querySelectorAll(".legend li")) {
    const lit = on => {
      figure.classList.toggle("dimmed", on);
      for (const series of figure.querySelectorAll(".series")) {
        series.classList.toggle("lit", series.dataset.line === item.dataset.line);
      }
    };
    item.addEventListener("pointerenter", () => lit(true));
    item.addEventListener("pointerleave", () => lit(false));
  }
}
