"""The commands that write, and the folders that they are run in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kills.runs import whole


@dataclass(frozen=True)
class Command:
    """A writing command. prepare: fills a folder for it. arguments: relative to that folder.
    exact: whether the whole store must be, byte for byte, that of an uninterrupted run."""

    prepare: Callable[[Path], None]
    arguments: list[str]
    exact: bool = False


BUILT_IN = ["--text-model", "lexical", "--image-model", "thumbnail", "--max-failures", "1"]
PHOTOS = ["--images", "shop/images.zip"]
EMBED = ["embed", "shop/train.parquet", "--store", "store", *PHOTOS, *BUILT_IN]


def catalogue(folder: Path) -> None:
    from vitrina.sample import write_sample

    write_sample(folder / "shop", products=120, seed=0)


def embedded(folder: Path) -> None:
    catalogue(folder)
    whole(EMBED, folder)


def indexed(folder: Path) -> None:
    embedded(folder)
    whole(["index", "store"], folder)


def outdated(folder: Path) -> None:
    """An index that lacks some products, and has some that are gone."""
    import pyarrow.parquet as pq

    indexed(folder)
    table = pq.read_table(folder / "shop/train.parquet")
    pq.write_table(table.slice(20), folder / "shop/train.parquet")
    update = ["embed", "shop/train.parquet", "--store", "store", "--prune", "--accept-changes"]
    whole([*update, *BUILT_IN], folder)


def headed(folder: Path) -> None:
    indexed(folder)
    whole(["train", "store", "--head", "logistic", "--fusion", "early"], folder)


def audited(folder: Path) -> None:
    from support.audits import audited as made_up
    from vitrina import api

    embedded(folder)
    made_up(api.Store.open(folder / "store"), count=12)


def decided(folder: Path) -> None:
    from vitrina import api
    from vitrina.audit.results import Audit
    from vitrina.store.decisions import Decision, add_decisions
    from vitrina.types import Action

    audited(folder)
    store = api.Store.open(folder / "store")
    for one in Audit.of(store).suspects[:6]:
        add_decisions(
            store.files,
            store.products,
            [Decision(one.product_id, Action.KEEP, one.given, one.given)],
        )


def grown(folder: Path) -> None:
    """A store of several commits and decisions, whose shards are small and half empty."""
    import pyarrow.parquet as pq

    decided(folder)
    table = pq.read_table(folder / "shop/train.parquet")
    for first in (10, 20, 30):
        pq.write_table(table.slice(first), folder / "shop/part.parquet")
        update = ["embed", "shop/part.parquet", "--store", "store", "--prune", "--accept-changes"]
        whole([*update, *BUILT_IN], folder)


def damaged(folder: Path) -> None:
    indexed(folder)
    shard = sorted((folder / "store/spaces/text-lexical").glob("part-*"))[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    index = next((folder / "store/indexes").glob("*/index.faiss"))
    index.write_bytes(index.read_bytes()[:-5])


def tunable(folder: Path) -> None:
    from support.tuning import write_catalogue, write_model

    write_model(folder / "model")
    write_catalogue(folder / "goods.csv", 200)
    whole(
        [
            "embed",
            "goods.csv",
            "--store",
            "store",
            "--text-model",
            "lexical",
            "--image-model",
            "none",
        ],
        folder,
    )


def annotated(folder: Path) -> None:
    audited(folder)
    whole(["decisions", "store", "--export", "tasks.json"], folder)
    tasks = json.loads((folder / "tasks.json").read_text("utf-8"))
    for number, task in enumerate(tasks):
        task["id"] = number
        result = task.pop("predictions")[0]["result"]
        moment = f"2026-01-01T00:00:{number:02}.000000Z"
        task["annotations"] = [
            {
                "id": number,
                "result": result,
                "created_at": moment,
                "updated_at": moment,
                "completed_by": 1,
            }
        ]
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")


COMMANDS = {
    "embed": Command(catalogue, EMBED, exact=True),
    "index": Command(embedded, ["index", "store", "--evaluate"]),
    "index-update": Command(outdated, ["index", "store"]),
    "train": Command(indexed, ["train", "store", "--head", "logistic", "--fusion", "knn"]),
    "finetune": Command(
        tunable, ["finetune", "store", "--model", "model", "--epochs", "3", "--batch-size", "16"]
    ),
    "pretrain": Command(
        tunable, ["pretrain", "store", "--model", "model", "--epochs", "3", "--batch-size", "16"]
    ),
    "classify": Command(
        headed,
        [
            "classify",
            "shop/test.parquet",
            "--store",
            "store",
            "--images",
            "shop/images.zip",
            "--out",
            "out.parquet",
        ],
    ),
    "audit": Command(indexed, ["audit", "store", "--out", "report.html", "--folds", "2"]),
    "compact": Command(grown, ["compact", "store"], exact=True),
    "repair": Command(damaged, ["verify", "store", "--repair"]),
    "decisions": Command(annotated, ["decisions", "store", "--import", "export.json"]),
    "export": Command(decided, ["decisions", "store", "--export", "labels.parquet"]),
    "benchmark": Command(
        tunable,
        [
            "benchmark",
            "goods.csv",
            "--out",
            "bench",
            "--text-model",
            "lexical",
            "--image-model",
            "none",
            "--methods",
            "naive-bayes,text,vote-text,knn",
        ],
    ),
    "review": Command(audited, ["review", "store"]),
}
