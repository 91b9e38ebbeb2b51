"""From the seconds of every round to figures and to the tables that people read."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

AGREES = 0.999
"""The least cosine that a peer must keep to count as giving the same vectors."""


def figures(rounds: list[dict]) -> dict:
    """Items per second over the rounds of one contestant on one input."""
    rates = sorted(one["items"] / one["seconds"] for one in rounds)
    return {
        "items": rounds[0]["items"],
        "seconds": [round(one["seconds"], 4) for one in rounds],
        "per_second": statistics.median(rates),
        "per_second_min": rates[0],
        "per_second_max": rates[-1],
    }


def agreement(path: Path, reference: Path) -> dict:
    """Least and mean cosine of a contestant's vectors to the reference's, row by row; empty for
    vectors of another length, which are another model's."""
    left, right = (np.load(one).astype(np.float64) for one in (path, reference))
    if left.shape[1] != right.shape[1]:
        return {}
    right = right[: len(left)]
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosine = (left * right).sum(axis=1) / lengths
    return {"cosine_min": float(cosine.min()), "cosine_mean": float(cosine.mean())}


def compare(results: list[dict], operations: float, rates: dict[str, float]) -> None:
    """Add to each result what it does beside its peers and beside the machine.

    results: of one input; those of role `peer` do the whole job, one of them by default.
    operations: of the model for one item. rates: the machine's operations per second.
    """
    peers = [one for one in results if one["role"] == "peer"]
    default = next((one["per_second"] for one in peers if one["default"]), None)
    best = max((one["per_second"] for one in peers), default=None)
    for one in results:
        if one["role"] != "tokenizing":
            done = operations * one["per_second"]
            one["gflops"] = done / 1e9
            one["share"] = {name: done / rate for name, rate in rates.items()}
        if one["role"] in ("vitrina", "peer"):
            one["to_default"] = one["per_second"] / default if default else None
            one["to_best"] = one["per_second"] / best if best else None


def table(title: str, results: list[dict], unit: str, rates: dict[str, float]) -> str:
    """One input's results as Markdown."""
    shares = " / ".join(rates) or "none measured"
    lines = [
        f"### {title}",
        "",
        f"| contestant | {unit}/s, median (min to max) | to default | to best | GFLOP/s "
        f"| share of {shares} | cosine min | mean | computes in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in results:
        spread = f"{one['per_second_min']:,.0f} to {one['per_second_max']:,.0f}"
        cells = [
            one["name"],
            f"{one['per_second']:,.0f} ({spread})",
            times(one.get("to_default")),
            times(one.get("to_best")),
            f"{one['gflops']:.0f}" if "gflops" in one else "",
            " / ".join(f"{share:.0%}" for share in one.get("share", {}).values()),
            f"{one['cosine_min']:.6f}" if "cosine_min" in one else "",
            f"{one['cosine_mean']:.6f}" if "cosine_mean" in one else "",
            one["compute"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", summary(results)]
    return "\n".join(lines)


def times(ratio: float | None) -> str:
    """A ratio as people write it."""
    return "" if ratio is None else f"{ratio:.2f}x"


def summary(results: list[dict]) -> str:
    """One line: Vitrina beside its fastest peer, and beside the fastest that gives the same."""
    ours = next((one for one in results if one["role"] == "vitrina"), None)
    peers = [one for one in results if one["role"] == "peer"]
    if ours is None or not peers:
        return "No comparison: Vitrina or every peer is left out."
    fastest = max(peers, key=lambda one: one["per_second"])
    said = f"{ours['name']}: {times(ours['per_second'] / fastest['per_second'])} {fastest['name']}"
    said += ", the fastest peer"
    same = [one for one in peers if one.get("cosine_min", 0) >= AGREES]
    if same and fastest not in same:
        best = max(same, key=lambda one: one["per_second"])
        said += f"; {times(ours['per_second'] / best['per_second'])} {best['name']}"
        said += f", the fastest whose every vector keeps a cosine of {AGREES}"
    return f"{said}."
