"""From what the contestants' processes wrote to the tables that people read."""

from __future__ import annotations

from peers.vectors import Figures

KNOBS = {
    "faiss-hnsw": "efSearch",
    "faiss-ivf": "nprobe",
    "hnswlib": "ef",
    "usearch": "expansion",
}
EXACT = ("exact", "faiss-flat")
HEAD = (
    "| method | rows | build, s | peak, MB (above the start) | index, MB | recall@10 "
    "| queries/s in a batch | ms alone | times exact |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def tables(results: dict[str, dict]) -> str:
    """All results as Markdown: a table of each set, one of the updates, and who is left out."""
    parts = []
    done = [one for one in results.values() if "left_out" not in one]
    for title in dict.fromkeys(one["set"] for one in done):
        of_set = [one for one in done if one["set"] == title]
        parts.append(f"### {title}\n\n" + index_table(of_set))
        parts += [updates_table(one) for one in of_set if one["kind"] == "updates"]
    left = [one for one in results.values() if "left_out" in one]
    if left:
        lines = [
            f"- {one['set']}, {one['rows']:,} rows: {one['name']} is left out: {one['left_out']}"
            for one in left
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def index_table(results: list[dict]) -> str:
    """Every contestant on one set, grouped by rows; and what Vitrina says of its own indexes."""
    lines = list(HEAD)
    for one in sorted(results, key=lambda one: -one["rows"]):
        same = [each for each in results if each["rows"] == one["rows"] and each["kind"] in EXACT]
        exact = max((each["per_second"] for each in same), default=None)
        cells = [
            name(one),
            f"{one['rows']:,}",
            number(one.get("build_seconds"), 1),
            memory(one),
            number(one["bytes"] and one["bytes"] / 1e6, 1) if "bytes" in one else "",
            number(one.get("recall"), 4) + ("" if one.get("reached", True) else ", short of it"),
            number(one["per_second"], 0 if one["per_second"] >= 100 else 1),
            number(one["single_ms"], 2),
            f"{one['per_second'] / exact:,.1f}x" if exact else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Times exact: of queries in a batch, to the faster exact search of as many rows."]
    for one in results:
        if one["kind"] in ("vitrina", "updates"):
            lines += ["", about(one)]
    return "\n".join(lines)


def name(result: dict) -> str:
    """A contestant with the parameter that it was searched with, and what is special."""
    said = []
    if result["kind"] == "faiss-ivf":
        said.append(result["about"]["factory"])
    if result.get("value") is not None:
        said.append(f"{KNOBS[result['kind']]} {result['value']}")
    if "dtype" in result.get("about", {}):
        said.append(result["about"]["dtype"])
    if "scaled_from" in result:
        said.append(f"scaled from {result['scaled_from']:,} rows")
    return result["name"] + (f" ({', '.join(said)})" if said else "")


def memory(result: dict) -> str:
    """The peak of the process by the end of the build, and what of it came since it began."""
    if "peak_bytes" not in result:
        return ""
    return f"{result['peak_bytes'] / 1e6:,.0f} (+{result['peak_above_bytes'] / 1e6:,.0f})"


def about(result: dict) -> str:
    """A line on what Vitrina chose."""
    card = result["about"]
    said = f"{result['name']}, {result['rows']:,} rows: {card.get('factory')}"
    if card.get("parameters"):
        said += "".join(f", {name} {value}" for name, value in card["parameters"].items())
    measured = card.get("recall", {})
    if "value" in measured:
        said += f"; its own measure: recall@{measured.get('at')} {measured['value']:.4f}"
        if "low" in measured:
            said += f" ({measured['low']:.4f} to {measured['high']:.4f})"
        if card.get("queries_per_second"):
            said += f", {card['queries_per_second']:,.0f} queries/s"
    return f"{said}."


def updates_table(result: dict) -> str:
    """Round by round, what keeping the index up took."""
    full = result["full_seconds"]
    lines = [
        f"#### {result['name']}: {result['rows']:,} rows, a full build takes {full:,.1f} s",
        "",
        "| round | added | deleted | s | share of a full build | what was done | its own recall |",
        "|---:|---:|---:|---:|---:|---|---:|",
    ]
    for one in result["rounds"]:
        card = one["card"]
        own = card.get("recall", {}).get("value")
        cells = [
            f"{one['round']}",
            f"{one['added']:,}",
            f"{one['deleted']:,}",
            f"{one['seconds']:,.1f}",
            f"{one['seconds'] / full:.1%}",
            card["update"]["kind"],
            number(own, 4),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def figures_row(title: str, figures: Figures) -> dict:
    """One row of `figures_table`."""
    row = {"set": title, "rows": f"{figures.rows:,}", "numbers": str(figures.dim)}
    places = ("cosine to the 1st", "10th", "100th neighbour", "to any row")
    for place, cosine in zip(places, figures.cosines, strict=True):
        row[place] = f"{cosine:.3f}"
    row["local dimension (90th percentile)"] = f"{figures.lid:.1f} ({figures.lid_high:.1f})"
    row |= {f"energy in {dims}": f"{share:.2f}" for dims, share in figures.energy.items()}
    return row | {"have a copy": f"{figures.copies:.1%}"}


def figures_table(rows: list[dict]) -> str:
    """Sets beside each other: medians of cosines and of the local intrinsic dimension (Levina and
    Bickel), the share of the variance in the first principal directions, and exact copies."""
    head = [f"| {' | '.join(rows[0])} |", f"|---|{'---:|' * (len(rows[0]) - 1)}"]
    return "\n".join(head + [f"| {' | '.join(row.values())} |" for row in rows])


def number(value: float | None, digits: int) -> str:
    """A number as people write it; nothing for none."""
    return "" if value is None else f"{value:,.{digits}f}"
