"""How fast Vitrina encodes beside its peers: the same machine, weights and inputs, by turns.

    python benchmarks/embedding.py --work build/bench/embedding
    python benchmarks/embedding.py --work DIR --only text --real-text path/to/rubert-tiny2

1. *Names*: 20,000 product names through rubert-tiny2's true shape with random weights.
2. *Long texts*: 2,000 texts of about 150 tokens through the same.
3. *Images*: 2,000 JPEGs of 512 by 512 through CLIP's ViT-B/32 with random weights: from bytes to
   vectors, and the model alone on photos that are prepared beforehand.

Each contestant is a process of its own, in the environment of its own that it needs (`make
bench-embedding` makes those of the peers), with as many threads as the others. They warm up, and
then take turns in every round, one at a time. Agreement is the cosine to the plain library's
float32. Operations are those of the whole model, whatever a contestant skips, and the machine's
own rates of matrix products are measured between the turns. Prints a Markdown table for each
input and writes everything to WORK/embedding.json. A peer that can't run is left out, and why.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from pathlib import Path

from peers import contestants, inputs, models, report
from peers.contestants import ROOT, Contestant
from peers.protocol import Worker

WARM_UP = 200
REFERENCES = ("sentence-transformers", "open_clip, no loader workers", "vitrina float32")
"""Whose vectors are the reference: the first of these that ran."""
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile")
FLAGS += ("amx_bf16", "amx_int8")


class Racer:
    """A contestant, its process and what came of it."""

    def __init__(self, contestant: Contestant, work: Path, threads: int) -> None:
        self.contestant = contestant
        self.left_out = contestant.missing
        self.about: dict = {}
        self.rounds: dict[str, list[dict]] = {}
        self._slug = "".join(c if c.isalnum() else "-" for c in contestant.name)
        self._inputs, self._vectors = work / "inputs", work / "vectors"
        self._worker = None
        if not self.left_out:
            log = work / "logs" / f"{contestant.role}-{self._slug}.txt"
            self._worker = Worker(contestant.python, contestant.script, log, threads)
            self.about = self._ask(do="load", options=contestant.options | {"threads": threads})

    def run(self, name: str, limit: int | None = None, keep: bool = False) -> None:
        """Encode one input, or its first LIMIT items to warm up. keep: write the vectors."""
        vectors = str(self.vectors(name)) if keep else None
        request = {"input": name, "inputs": str(self._inputs), "limit": limit}
        answer = self._ask(do="run", vectors=vectors, **request)
        if limit:
            self.about["versions"] = answer.get("versions")
        elif answer:
            self.rounds.setdefault(name, []).append(answer)

    def vectors(self, name: str) -> Path:
        """Where the vectors of an input are kept."""
        return self._vectors / f"{self._slug}-{name}.npy"

    def quit(self) -> None:
        """End its process."""
        if self._worker:
            self._worker.quit()

    def _ask(self, **request: object) -> dict:
        if self.left_out:
            return {}
        try:
            return self._worker.ask(**request)
        except RuntimeError as err:
            self.left_out = f"{request['do']} failed: {err}"
            print(f"{self.contestant.name} is left out: {self.left_out}", flush=True)
            return {}


def race(chosen: list[Contestant], names: list[str], given: argparse.Namespace) -> dict:
    """Let the contestants and the machine's own rates take turns over the inputs NAMES."""
    everyone = []
    for contestant in [*chosen, *contestants.of_machine()]:
        print(f"loading {contestant.name}", flush=True)
        everyone.append(Racer(contestant, given.work, given.threads))
        for name in names:
            everyone[-1].run(name, limit=WARM_UP)
    for at in range(given.rounds):
        for name in names:
            for racer in everyone:
                racer.run(name, keep=at == 0)
                if racer.rounds.get(name):
                    last = racer.rounds[name][-1]
                    rate = last["items"] / last["seconds"]
                    print(
                        f"round {at + 1} {name}: {racer.contestant.name} {rate:,.1f}/s", flush=True
                    )
    for racer in everyone:
        racer.quit()
    return gather(everyone, names)


def gather(everyone: list[Racer], names: list[str]) -> dict:
    """What came of a race, by input; with the machine's rates and whoever is left out."""
    about = [
        {"name": racer.contestant.name, "role": racer.contestant.role, **racer.about}
        for racer in everyone
    ]
    left = {racer.contestant.name: racer.left_out for racer in everyone if racer.left_out}
    ran = [racer for racer in everyone if not racer.left_out]
    per_round, results = {}, {}
    for racer in ran:
        if racer.contestant.role == "rate":
            every = [one for name in names for one in racer.rounds[name]]
            per_round[racer.contestant.name] = [
                2 * math.prod(contestants.SHAPE) * one["items"] / one["seconds"] for one in every
            ]
    rates = {name: statistics.median(found) for name, found in per_round.items()}
    ran = [racer for racer in ran if racer.contestant.role != "rate"]
    by_name = {racer.contestant.name: racer for racer in ran}
    chosen = next((name for name in REFERENCES if name in by_name), None)
    for name in names:
        results[name] = []
        for racer in ran:
            one = racer.contestant
            result = {"name": one.name, "role": one.role, "default": one.default}
            result |= {"compute": racer.about["compute"], **report.figures(racer.rounds[name])}
            if chosen and racer.rounds[name][0]["vectors"]:
                reference = by_name[chosen].vectors(name)
                result |= report.agreement(racer.vectors(name), reference)
            results[name].append(result)
    return {
        "rates": rates,
        "rates_by_round": per_round,
        "reference": chosen,
        "results": results,
        "left_out": left,
        "contestants": about,
    }


def text_race(given: argparse.Namespace) -> dict:
    """Make the text inputs and the model, and race."""
    published = ROOT / "../shared/models/rubert-tiny2-tokenizer"
    published = published if published.is_dir() else None
    kind = "published" if published else "made"
    model = given.real_text or given.work / f"rubert-tiny2-{kind}-tokenizer"
    if not given.real_text:
        models.write_rubert(model, published, inputs.made_up_words())
    tokenizer = inputs.open_tokenizer(model)
    if given.uhtt.exists():
        source, names = str(given.uhtt), inputs.titles(given.uhtt, max(given.names, 2000))
    else:
        source = "made up"
        names = inputs.made_up_names(max(given.names, 2000), tokenizer)
    texts = {
        "names": names[: given.names],
        "long": inputs.long_texts(names, tokenizer, given.long),
    }
    inputs.write_texts(given.work / "inputs", texts)
    longest = models.text_length(model)
    about = {name: inputs.text_figures(one, tokenizer, longest) for name, one in texts.items()}
    print(f"names: {source}; tokens: {about}", flush=True)
    made = race(pick(contestants.of_texts(model, given.work), given), list(texts), given)
    for name, one in about.items():
        squared = one["tokens_squared_mean"]
        one["operations"] = models.text_operations(model, one["tokens_mean"], squared)
        report.compare(made["results"][name], one["operations"], made["rates"])
    return {"inputs": about, "names_from": source, "model": str(model), **made}


def image_race(given: argparse.Namespace) -> dict:
    """Make the photos and the model, and race."""
    model = models.write_clip(given.work / "vit-b-32-random")
    inputs.write_photos(given.work / "inputs", given.images)
    about = inputs.photo_figures(given.work / "inputs")
    about["operations"] = models.image_operations(model)
    print(f"images: {about}", flush=True)
    chosen = pick(contestants.of_images(model, given.threads), given)
    made = race(chosen, ["images"], given)
    report.compare(made["results"]["images"], about["operations"], made["rates"])
    return {"inputs": {"images": about}, "model": str(model), **made}


def pick(everyone: list[Contestant], given: argparse.Namespace) -> list[Contestant]:
    """Those whose names were asked for, or all."""
    if not given.pick:
        return everyone
    return [one for one in everyone if any(part in one.name for part in given.pick)]


def machine() -> dict:
    """What it ran on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = {line.partition(":")[0].strip(): line.partition(":")[2] for line in lines}
    flags = found.get("flags", "").split()
    return {
        "cpu": found.get("model name", platform.machine()).strip(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "python": platform.python_version(),
    }


def show(made: dict, unit: str) -> None:
    """Print a race's tables."""
    for name, about in made["inputs"].items():
        hidden = ("items", "operations", "tokens_squared_mean")
        told = [f"{key} {value}" for key, value in about.items() if key not in hidden]
        told.append(f"{about['operations'] / 1e6:,.0f} MFLOP each")
        title = f"{name}: {about['items']} {unit} ({', '.join(told)})"
        print(f"\n{report.table(title, made['results'][name], unit, made['rates'])}")
    said = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in made["rates"].items())
    print(f"\nMatrix products, GFLOP/s (int8: GOP/s): {said}. Cosine to {made['reference']}.")
    for name, reason in made["left_out"].items():
        print(f"- {name} is left out: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--names", type=int, default=20_000)
    parser.add_argument("--long", type=int, default=2000)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("text", "images"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pick", nargs="*", help="only contestants with one of these in the name")
    parser.add_argument("--uhtt", type=Path, default=ROOT / "../shared/data/uhtt/train.parquet")
    parser.add_argument("--real-text", type=Path, help="a sentence-transformers directory")
    given = parser.parse_args()
    given.work = given.work.absolute()
    for folder in ("inputs", "vectors", "logs"):
        (given.work / folder).mkdir(parents=True, exist_ok=True)
    result: dict = {"machine": machine(), "threads": given.threads, "rounds": given.rounds}
    if given.only != "images":
        result["text"] = text_race(given)
    if given.only != "text":
        result["images"] = image_race(given)
    models.write(given.work / "embedding.json", result)
    print(f"\n{json.dumps(result['machine'])}, {given.threads} threads, {given.rounds} rounds")
    for kind in ("text", "images"):
        if kind in result:
            show(result[kind], "texts" if kind == "text" else "images")
    print(f"\nwrote {given.work / 'embedding.json'}")


if __name__ == "__main__":
    main()
