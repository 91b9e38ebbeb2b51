"""How long an audit's report takes to write and how large it is, with made-up suspects.

    python benchmarks/audit_report.py /data/fashion report.html [--suspects 10000] [--tile 2]

The products, their photos and their categories are real, the verdicts are not. --tile puts every
photo side by side with itself, so many times each way: those of `fashion` are smaller than the
thumbnails, so the file would be smaller than another catalogue's.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import time
import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from PIL import Image

from vitrina.audit.report.write import write_report
from vitrina.audit.results import Audit, AuditNeighbour, Suspect
from vitrina.store.decisions import Decision
from vitrina.types import Action, Reason


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--suspects", type=int, default=10_000)
    parser.add_argument("--tile", type=int, default=1)
    options = parser.parse_args()
    rows = pq.read_table(options.data / "train.parquet").to_pylist()
    titles = {row["product_id"]: json.loads(row["text_fields"])["title"] for row in rows}
    audit = made_up(rows, titles, options.suspects)
    rng = random.Random(1)
    decided = {
        one.product_id: Decision(
            one.product_id, Action.MOVE, one.given, one.suggested, reviewer="Анна"
        )
        for one in audit.suspects
        if rng.random() < 0.1
    }
    started = time.perf_counter()
    with zipfile.ZipFile(options.data / "images.zip") as photos:

        def found(ids):
            for key in ids:
                content = photos.read(f"images/train/{key}.jpg")
                yield key, tiled(content, options.tile)

        write_report(
            options.out,
            audit,
            titles=lambda ids: {key: titles[key] for key in ids},
            photos=found,
            decided=decided,
        )
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = options.out.stat().st_size / 1e6
    print(f"{len(audit.suspects):,} suspects: {took:.1f} s, {size:.1f} MB, peak {peak:,.0f} MiB")


def tiled(content: bytes, times: int) -> bytes:
    if times == 1:
        return content
    image = Image.open(io.BytesIO(content)).convert("RGB")
    whole = Image.new("RGB", (image.width * times, image.height * times))
    for at in range(times * times):
        whole.paste(image, (at % times * image.width, at // times * image.height))
    sink = io.BytesIO()
    whole.save(sink, "JPEG", quality=95)
    return sink.getvalue()


def made_up(rows: list[dict], titles: dict, count: int) -> Audit:
    rng = random.Random(0)
    names = {row["category_id"]: row["category_name"] for row in rows}
    by_category: dict[int, list] = {}
    for row in rows:
        by_category.setdefault(row["category_id"], []).append(row["product_id"])
    large = [key for key, found in by_category.items() if len(found) > 30]
    chosen = rng.sample(rows, count)
    batches = rng.choices(range(1, count), k=count)
    suspects = []
    for rank, (row, batch) in enumerate(zip(chosen, batches, strict=True), 1):
        given = row["category_id"]
        parent = names[given].rsplit("->", 1)[0]
        beside = [key for key in large if key != given and names[key].startswith(parent)]
        suggested = rng.choice(beside or [key for key in large if key != given])
        score = 1 - 0.75 * (rank / count) ** 1.3
        kinds = rng.sample(list(Reason), rng.randint(1, 4))
        near = tuple(
            AuditNeighbour(rng.choice(by_category[of]), of, 0.98 - 0.03 * at)
            for at in range(6)
            for of in [rng.choices([given, suggested, rng.choice(large)], [2, 6, 1])[0]]
        )
        copies = tuple(
            AuditNeighbour(rng.choice(by_category[suggested]), suggested, 0.99)
            for _ in range(max(0, rng.randint(-8, 3)))
        )
        suspects.append(
            Suspect(
                rank,
                row["product_id"],
                titles[row["product_id"]],
                given,
                suggested,
                score,
                (1 - score) * 0.9,
                score * 0.97,
                tuple(kinds),
                {kind.value: 0.4 + 0.6 * rng.random() for kind in kinds},
                suggested,
                rng.choice([given, suggested, None]),
                near,
                copies,
                batch,
            )
        )
    return Audit(card_of(rows, suspects), names, tuple(suspects))


def card_of(rows: list[dict], suspects: list[Suspect]) -> dict:
    pairs = Counter((one.given, one.suggested) for one in suspects)
    sizes = Counter(row["category_id"] for row in rows)
    held = Counter(one.given for one in suspects)
    worst = sorted(held, key=lambda key: (-held[key] / sizes[key], key))
    bins = Counter(min(int(one.score * 20), 19) for one in suspects)
    ids = [row["product_id"] for row in rows]
    common = [key for key, _ in sizes.most_common(6)]
    return {
        "key": "made-up",
        "store": "shelf/fashion",
        "time": datetime(2026, 11, 24, 4, 30, tzinfo=UTC).isoformat(),
        "products": len(rows),
        "labelled": len(rows),
        "checked": len(rows),
        "suspects": len(suspects) + 1234,
        "wrong_by_confident_learning": 1755,
        "reasons": Counter(kind.value for one in suspects for kind in one.reasons),
        "pairs": [
            {
                "given": given,
                "suggested": suggested,
                "count": number,
                "products": [
                    one.product_id
                    for one in suspects
                    if (one.given, one.suggested) == (given, suggested)
                ][:10],
            }
            for (given, suggested), number in pairs.most_common(60)
        ],
        "twins": [
            {"one": one, "other": other, "products": 320, "share": share, "kind": kind}
            for one, other, share, kind in (
                (common[0], common[1], 0.62, "twins"),
                (common[2], common[3], 0.41, "inside"),
                (common[4], common[5], 0.18, "twins"),
            )
        ],
        "scores": [
            {"low": at / 20, "high": (at + 1) / 20, "count": bins[at]} for at in range(5, 20)
        ],
        "categories": [
            {"id": key, "products": sizes[key], "suspects": held[key]} for key in worst[:30]
        ],
        "without_text": {"count": 12, "products": ids[:12]},
        "without_photo": {"count": 1340, "products": ids[:400]},
        "without_both": {"count": 0, "products": []},
        "members": ["early head", "text head", "image head", "neighbours"],
        "folds": 5,
        "seed": 0,
        "machine": "2 cores of an Intel Xeon",
        "took": 212.0,
        "features": "fused",
    }


if __name__ == "__main__":
    main()
