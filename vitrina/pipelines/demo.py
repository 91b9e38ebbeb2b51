"""The demo: all main jobs on the built-in sample, offline, one after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vitrina.audit.results import Audit
from vitrina.data.catalogue import Catalogue
from vitrina.errors import CatalogueError
from vitrina.page.summary import Summarised, Summary
from vitrina.pipelines.audit.job import audit
from vitrina.pipelines.audit.options import AuditOptions
from vitrina.pipelines.classify.job import classify_to
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.classify.predictor import ClassifyReport
from vitrina.pipelines.common.progress import Meter
from vitrina.pipelines.embed.job import EmbedReport, embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.index.job import build_index
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.index.options import IndexOptions
from vitrina.pipelines.train.job import train
from vitrina.pipelines.train.options import TrainOptions
from vitrina.pipelines.train.report import TrainReport
from vitrina.sample import SampleReport, write_sample
from vitrina.store import layout
from vitrina.store.space import read_errors
from vitrina.store.store import OpenStore
from vitrina.types import Features, HeadKind

Say = Callable[[str], None]


@dataclass(frozen=True, repr=False)
class DemoReport(Summarised):
    """Results of each step, and the paths of the files."""

    out: Path
    sample: SampleReport
    embedded: EmbedReport
    heads: tuple[TrainReport, ...]
    classified: ClassifyReport
    broken_found: int
    suspects: int
    wrong_found: int

    def summary(self) -> Summary:
        """One line for each step."""
        facts: list[tuple[str, Any]] = [
            ("embedded", f"{self.embedded.products:,} products"),
            *(
                (f"head {one.model}", f"weighted F1 {one.validation.weighted_f1:.4f}")
                for one in self.heads
            ),
            ("classified", f"{self.classified.products:,}, {self.classified.accepted:,} accepted"),
            ("broken photos", self.broken_found),
            ("suspects", f"{self.suspects:,}, {self.wrong_found:,} wrong labels on top"),
        ]
        return Summary(f"Demo in {self.out}", facts)

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as `--json` prints it."""
        plain: dict[str, Any] = {
            "out": str(self.out),
            "sample": {key: _plain(value) for key, value in asdict(self.sample).items()},
            "embed": self.embedded.to_json(),
            "heads": [head.to_json() for head in self.heads],
            "classify": self.classified.to_json(),
            "broken_photos_in_errors": self.broken_found,
            "suspects": self.suspects,
            "wrong_labels_on_top": self.wrong_found,
        }
        return plain


def write_catalogue(
    out: Path, products: int, seed: int, progress: Callable[[int], None] | None = None
) -> SampleReport:
    """Write only the sample catalogue, of any size, for tests and load tests."""
    return write_sample(out, products=products, seed=seed, progress=progress)


def demo(out: Path, *, products: int, seed: int, say: Say, quiet: bool = True) -> DemoReport:
    """Make the sample, embed it, index it, train three heads, classify the new batch, audit.

    Raises CatalogueError if `out` already contains a store.
    """
    store_path = out / "store"
    if (out / layout.CARD).exists() or out.is_file():
        what = "file" if out.is_file() else "store"
        raise CatalogueError(f"{out} is a {what}; give a new folder with --out")
    if store_path.exists() and any(store_path.iterdir()):
        raise CatalogueError(f"{store_path} exists already; give another --out, or delete it")
    with Meter("making the sample", products, quiet=quiet) as meter:
        sample = write_catalogue(
            out / "catalogue", products, seed, lambda done: meter.advance(done - meter.done)
        )
    say(
        f"1. catalogue   {sample.train_products} products in {sample.categories} categories, and "
        f"{sample.test_products} new ones; {sample.missing_photos} lack a photo, "
        f"{sample.broken_photos} photos of both are broken, {sample.wrong_labels} labels are wrong"
    )
    store = OpenStore.open(store_path, create=True)
    catalogue = Catalogue.read(sample.train, images=sample.images)
    options = EmbedOptions(text="lexical", image="thumbnail", seed=seed, quiet=quiet)
    # One in a hundred photos of the sample is broken on purpose, more in a small one.
    embedded = embed(catalogue, store, options)
    catalogue.close()
    for space in embedded.spaces:
        say(
            f"2. embed       {space.space}: {space.embedded} contents into {space.dim} numbers "
            f"each, {space.reused} products share one, {space.missing} have none, "
            f"{space.failed} failed"
        )
    broken = _broken_in_errors(store, sample)
    build_index(store, IndexOptions(Features.FUSED, seed=seed, quiet=quiet))
    card = Index.open(store).card
    say(
        f"3. index       {card['rows']} fused vectors, {card['factory']}, recall@10 "
        f"{card['recall']['value']:.3f} measured"
    )
    heads = []
    for features in (Features.TEXT, Features.IMAGE, Features.FUSED):
        head = HeadKind.MLP
        report = train(store, TrainOptions(head=head, features=features, seed=seed, quiet=quiet))
        heads.append(report)
        low, high = report.validation.weighted_f1_interval
        say(
            f"4. train       {features:<6}weighted F1 {report.validation.weighted_f1:.3f} "
            f"({low:.3f} to {high:.3f}), macro F1 {report.validation.macro_f1:.3f}; "
            f"vote of neighbours {report.vote.weighted_f1:.3f}"
        )
    plain = heads[-1].baseline
    if plain.metrics is not None:
        say(
            f"   baseline     TF-IDF weighted F1 {plain.metrics.weighted_f1:.3f} (naive Bayes over "
            "words, on the same products)"
        )
    batch = Catalogue.read(sample.test, images=sample.images)
    predictions = out / "predictions.parquet"
    classified = classify_to(batch, store, predictions, ClassifyOptions(quiet=quiet))
    say(
        f"5. classify    {classified.products} new products, {classified.accepted} of them sure "
        f"enough to be accepted, {classified.backed_off} more at the level of an ancestor"
    )
    auditing = AuditOptions(out / "report.html", seed=seed, quiet=quiet)
    found = audit(store, auditing, batch.images)
    batch.close()
    wrong = _wrong_on_top(found, sample)
    say(
        f"6. audit       {len(found.suspects)} labels are suspect; of the {sample.wrong_labels} "
        f"wrong ones {wrong} are among the first {sample.wrong_labels}"
    )
    return DemoReport(
        out,
        sample,
        embedded,
        tuple(heads),
        classified,
        broken,
        suspects=len(found.suspects),
        wrong_found=wrong,
    )


def showcase(report: DemoReport, products: int = 4) -> list[str]:
    """A few of the new products with their predictions, as lines to print."""
    store = OpenStore.open(report.out / "store")
    rows = pq.read_table(report.out / "predictions.parquet").to_pylist()
    titles = _titles(report.sample.test)
    lines = []
    for row in rows[:: max(1, len(rows) // products)][:products]:
        verdict = "accepted" if row["accepted"] else "for a person to check"
        if row["predicted_path"] and not row["accepted"]:
            verdict = f"sure of {row['predicted_path'].rsplit('->', 1)[-1]}"
        lines.append(f"{titles[row['product_id']]}")
        lines.append(
            f"    -> {row['category_name']}  ({row['probability']:.2f}, {verdict}; "
            f"vote {_vote(row, store)})"
        )
        near = row["neighbours"][:3]
        for found, item in zip(
            store.products.titles([one["product_id"] for one in near]), near, strict=True
        ):
            lines.append(f"       {item['score']:.2f}  {found['title']}  [{_leaf(found)}]")
    return lines


def _vote(row: dict[str, Any], store: OpenStore) -> str:
    if row["vote"] is None:
        return "none"
    categories = store.products.categories()
    name = categories.names[categories.ids.index(row["vote"]["category_id"])]
    return f"{name.rsplit('->', 1)[-1]} {row['vote']['share']:.0%}"


def _leaf(row: dict[str, Any]) -> str:
    return str(row["category_name"] or "").rsplit("->", 1)[-1]


def _titles(path: Path) -> dict[Any, str]:
    batches = Catalogue.read(path).batches()
    return {product.product_id: product.title for batch in batches for product in batch.products}


def _wrong_on_top(found: Audit, sample: SampleReport) -> int:
    """Number of the sample's w wrong labels among the first w suspects of an audit."""
    rows = pq.read_table(sample.truth, columns=["product_id", "wrong_label"]).to_pylist()
    wrong = {row["product_id"] for row in rows if row["wrong_label"]}
    return sum(one.product_id in wrong for one in found.suspects[: sample.wrong_labels])


def _broken_in_errors(store: OpenStore, sample: SampleReport) -> int:
    """Number of the sample's broken photos that `errors.parquet` lists."""
    truth = pq.read_table(sample.truth, columns=["product_id", "split", "photo"])
    rows = truth.to_pylist()
    broken = {
        str(row["product_id"])
        for row in rows
        if row["photo"] == "broken" and row["split"] == "train"
    }
    spaces = (store.open_space(name) for name in store.manifest.active.values())
    errors = pa.concat_tables(read_errors(store.files, space.entry.errors) for space in spaces)
    return len(broken & set(errors.column("product_id").to_pylist()))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
