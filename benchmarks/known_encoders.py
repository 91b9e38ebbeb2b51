"""Vitrina beside sentence-transformers over one real encoder: the same names, by turns.

    python benchmarks/known_encoders.py --model path/to/multilingual-e5-small --work DIR
    python benchmarks/known_encoders.py --model DIR --static path/to/potion --work DIR --threads 1

The peers are sentence-transformers' default (float32) and its ONNX int8 backend, in `.venv-peers`
(`make .venv-peers/.ready`); a peer that can't run is left out, and why. Everyone is a process of
its own with as many threads as the others; in every round they take turns. Vitrina runs as `embed`
runs it, in the precision of its own choice. Prints the rates, the agreement with the default's
vectors, and how many times as fast Vitrina is as each peer, at the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

import embedding
from peers import contestants, inputs, models
from peers.contestants import ROOT, Contestant

OURS = "vitrina"
STATIC = "vitrina, static embeddings"
GOALS = {"sentence-transformers": 3.0, "sentence-transformers, ONNX int8": 2.0}
"""How many times the rate of each peer is the goal."""
STATIC_GOAL = 20.0


def takes_part(given: argparse.Namespace) -> list[Contestant]:
    """Vitrina, the two peers, and Vitrina over static embeddings where there are some."""
    wanted = (OURS, *GOALS)
    everyone = {one.name: one for one in contestants.of_texts(given.model, given.work)}
    found = [everyone[name] for name in wanted]
    if given.static:
        options = {"modality": "text", "model": str(given.static), "compute": None}
        found.append(Contestant(STATIC, "vitrina", "worker_vitrina.py", options))
    return found


def ratios(results: list[dict]) -> list[dict]:
    """The ratio of rates of each pair that has a goal, round by round."""
    seconds = {one["name"]: one["seconds"] for one in results}
    pairs = [(OURS, name, goal) for name, goal in GOALS.items()]
    pairs.append((STATIC, OURS, STATIC_GOAL))
    out = []
    for ours, other, goal in pairs:
        if ours in seconds and other in seconds:
            every = [b / a for a, b in zip(seconds[ours], seconds[other], strict=True)]
            middle = statistics.median(every)
            out.append({"of": ours, "to": other, "times": middle, "rounds": every, "goal": goal})
    return out


def show(result: dict) -> None:
    """Print the tables."""
    print("\n| contestant | precision | names/s, median | cosine to the default, least and mean |")
    print("|---|---|---|---|")
    for one in result["results"]:
        near = f"{one['cosine_min']:.4f}, {one['cosine_mean']:.4f}" if "cosine_min" in one else ""
        shown = near if one["name"] != STATIC else "another model"
        print(f"| {one['name']} | {one['compute']} | {one['per_second']:,.0f} | {shown} |")
    print()
    for one in result["ratios"]:
        least, most = min(one["rounds"]), max(one["rounds"])
        print(
            f"- {one['of']}: {one['times']:.2f} times {one['to']} "
            f"({least:.2f} to {most:.2f}); the goal is {one['goal']:g}"
        )
    for name, reason in result["left_out"].items():
        print(f"- {name} is left out: {reason}")


def main() -> None:
    """Run the race and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--static", type=Path, help="a directory of static embeddings")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--names", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--uhtt", type=Path, default=ROOT / "../shared/data/uhtt/train.parquet")
    given = parser.parse_args()
    given.work = given.work.absolute()
    for folder in ("inputs", "vectors", "logs"):
        (given.work / folder).mkdir(parents=True, exist_ok=True)
    tokenizer = inputs.open_tokenizer(given.model)
    there = given.uhtt.exists()
    names = (
        inputs.titles(given.uhtt, given.names)
        if there
        else inputs.made_up_names(given.names, tokenizer)
    )
    inputs.write_texts(given.work / "inputs", {"names": names})
    about = inputs.text_figures(names, tokenizer, models.text_length(given.model))
    made = embedding.race(takes_part(given), ["names"], given)
    result = {
        "machine": embedding.machine(),
        "threads": given.threads,
        "names": about,
        "names_from": str(given.uhtt) if there else "made up",
        "model": str(given.model),
        "results": made["results"]["names"],
        "ratios": ratios(made["results"]["names"]),
        "left_out": made["left_out"],
    }
    models.write(given.work / "known_encoders.json", result)
    print(f"\n{json.dumps(result['machine'])}, {given.threads} threads, {given.rounds} rounds")
    print(f"{len(names)} names: {about}")
    show(result)


if __name__ == "__main__":
    main()
