"""Style sheet and script of a benchmark's page."""

from __future__ import annotations

from vitrina.page.look import base_style


def style() -> str:
    """The style sheet."""
    return base_style() + STYLE


STYLE = """
td.words.note{min-width:170px;color:var(--soft);font-size:.87rem}
tbody:last-of-type tr:last-child th,tbody:last-of-type tr:last-child td{border-bottom-color:
var(--rule)}
tr.best th,td.best{font-weight:680}
tr.out th,tr.out td{color:var(--soft)}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;
text-align:inherit}
th button:hover{color:var(--ink)}
th button::after{content:"\\2195";margin-left:4px;opacity:.35}
th[aria-sort=ascending] button::after{content:"\\2191";opacity:1}
th[aria-sort=descending] button::after{content:"\\2193";opacity:1}
.pairs td.words{min-width:210px;max-width:360px;overflow-wrap:anywhere}
.pairs tbody th:first-child{min-width:0;color:var(--soft);white-space:nowrap}
figure{margin:20px 0 0;padding:26px 24px;display:grid;gap:20px 40px;align-items:start;
grid-template-columns:minmax(0,1fr) minmax(200px,270px)}
.legend{list-style:none;margin:24px 0 0;padding:0;font-size:.89rem;line-height:1.3}
.legend li{display:flex;gap:10px;align-items:center;padding:5px 6px;border-radius:6px}
.legend li:hover{background:var(--page)}
.legend svg{flex:0 0 34px;height:12px}
.legend span{overflow-wrap:anywhere}
.multiples{display:grid;gap:16px;grid-template-columns:repeat(auto-fill,minmax(min(100%,330px),1fr));
margin-top:20px}
.multiple{padding:18px 18px 12px}
.multiple p{color:var(--soft);font-size:.87rem;margin:3px 0 10px}
.multiple svg+svg{margin-top:10px}
.series{transition:opacity .12s}
figure.dimmed .series:not(.lit){opacity:.12}
.interval{width:100px;height:12px;margin:3px 0 0 auto}
.interval .span{stroke:var(--grid);stroke-width:1}
.interval .part{stroke:var(--accent);stroke-opacity:.45;stroke-width:4;stroke-linecap:round}
.interval circle{fill:var(--accent)}
@media (max-width:900px){figure{grid-template-columns:minmax(0,1fr)}
.legend{columns:2;column-gap:20px;margin:0}.legend li{break-inside:avoid}}
@media (max-width:600px){figure{padding:18px 10px}.legend{columns:1}
.pairs tbody th:first-child{min-width:0}}
"""

# Without "<" and "&", so that the page is well-formed XML too.
SCRIPT = """
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
"""
