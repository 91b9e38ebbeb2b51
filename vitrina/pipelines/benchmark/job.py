"""The benchmark job: run all methods on one split, write their table and a submission."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from vitrina.data.catalogue import Catalogue
from vitrina.data.sources import ImageSource
from vitrina.data.split import Unevaluated
from vitrina.errors import (
    EncoderError,
    ImageSourceError,
    StoreError,
    VitrinaError,
    did_you_mean,
    wrong_usage,
)
from vitrina.limits import available_cpus
from vitrina.logs import NOTICE
from vitrina.page.summary import Summarised, Summary, SummaryTable
from vitrina.pipelines.benchmark import text
from vitrina.pipelines.benchmark.dataset import BenchmarkData, PredictionCache
from vitrina.pipelines.benchmark.methods import (
    METHODS,
    ON_REQUEST,
    Method,
    MethodOutcome,
    Methods,
    choices,
)
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.benchmark.page import page
from vitrina.pipelines.benchmark.rows import MethodsTable, Row, read_row, write_row
from vitrina.pipelines.benchmark.vectors import is_left_out
from vitrina.pipelines.common.product_inputs import remembered_images
from vitrina.pipelines.common.progress import timed_job
from vitrina.pipelines.common.seen_rows import seen_by_base, seen_by_spaces
from vitrina.pipelines.embed.job import embed
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.finetune.encoder_files import chosen_base
from vitrina.plots import Bar, bars_plot
from vitrina.stage_timer import stage, stages_line
from vitrina.store.files import check_folder, replacing, write_json
from vitrina.store.store import OpenStore
from vitrina.types import Mask, Modality

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

PACKAGES = ("vitrina", "torch", "transformers", "timm", "open_clip_torch", "scikit-learn", "numpy")


@dataclass(frozen=True, eq=False, repr=False)
class Benchmark(Summarised):
    """Outcome of a benchmark. folder: of all its files. submission: the file of predictions, None
    without products to predict. stages: seconds of the run by stage; a method's stage covers its
    training and its predictions."""

    table: MethodsTable
    folder: Path
    submission: Path | None
    stages: Mapping[str, float]

    def summary(self) -> Summary:
        """The table of methods, as in `table.md`."""
        rows = [text.cells(row) for row in (*self.table.ranked, *self.table.left_out)]
        facts = [("files", str(self.folder)), ("submission", str(self.submission or ""))]
        return Summary("Benchmark", facts, SummaryTable(text.SHORT, rows))

    def to_json(self) -> dict[str, Any]:
        """JSON-compatible dict, as `--json` prints it."""
        return {**text.to_json(self.table), "stages": dict(self.stages)}

    def lines(self) -> list[str]:
        """The table for a terminal."""
        return [*text.lines(self.table), f"time: {stages_line(self.stages)}"]

    def plot_methods(self, ax: Axes | None = None) -> Axes:
        """Draw the weighted F1 of all methods, with 95% bootstrap intervals, the best one first.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw into; default: those of a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            The axes.

        Raises
        ------
        VitrinaError
            If matplotlib is not installed; `pip install 'vitrina[plots]'` installs it.
        """
        bars = []
        for row in self.table.ranked:
            if row.validation is not None:
                low, high = row.validation.weighted_f1_interval
                value = row.validation.weighted_f1
                group = str(row.modality)
                bars.append(Bar(row.name, value, low, high, group, f"{value:.3f}"))
        return bars_plot(
            bars,
            ax,
            title=f"Methods on {len(self.table.true):,} validation products",
            xlabel="weighted F1, with its 95% interval",
            ticks="{x:.1f}",
        )


def benchmark(
    out: Path,
    options: BenchmarkOptions,
    *,
    catalogues: tuple[Catalogue, ...] = (),
    store: OpenStore | None = None,
) -> Benchmark:
    """Run the methods of a benchmark and write their results.

    out: folder of all files. catalogues: of products to train on, and of ones without categories to
    predict; their store is `out`/store. store: an embedded one, in their place. A run that was
    killed resumes if it is started again with the same arguments.

    Raises CatalogueError, StoreError, TrainingError. A method that can't be run is left out, and
    the table says why.
    """
    unknown = sorted(set(options.methods) - {method.name for method in METHODS})
    if unknown:
        known = ", ".join(method.name for method in METHODS)
        hint = did_you_mean(unknown[0], [method.name for method in METHODS])
        raise wrong_usage(
            StoreError(f"there is no method {unknown[0]!r}{hint or ';'} there are {known}")
        )
    check_folder(out)
    with timed_job("benchmark", options.quiet) as run:
        found = _benchmark(out, options, catalogues, store)
    return replace(found, stages=run.seconds())


def _benchmark(
    out: Path, options: BenchmarkOptions, catalogues: tuple[Catalogue, ...], store: OpenStore | None
) -> Benchmark:
    out.mkdir(parents=True, exist_ok=True)
    if store is None:
        store = OpenStore.open(out / "store", create=True)
        for catalogue in catalogues:
            with stage("embedding"):
                _embed(catalogue, store, options)
    ground = BenchmarkData.of(store, options.split, options.seed, _seen(store, options))
    images: ImageSource | None = None
    with suppress(ImageSourceError):
        images = None if is_left_out(options, Modality.IMAGE) else remembered_images(store)
    answers = PredictionCache(out / "answers", len(ground.query_rows), ground.classes)
    try:
        rows = _run(Methods(ground, options, answers, images, out))
    finally:
        if images is not None:
            images.close()
    table = MethodsTable(
        about=_about(ground, options),
        rows=rows,
        true=ground.codes[ground.validation],
        sizes=ground.sizes,
        names=tuple(
            name or str(key)
            for name, key in zip(ground.labels.names, ground.labels.ids, strict=True)
        ),
    )
    for name, content in (("table.md", text.markdown(table)), ("report.html", page(table))):
        with replacing(out / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
    write_json(out / "table.json", text.to_json(table))
    return Benchmark(table, out, _submit(ground, table, answers, out), {})


def _seen(store: OpenStore, options: BenchmarkOptions) -> Mask:
    """(n,) bool: products that an encoder was trained on before the benchmark."""
    seen = seen_by_spaces(
        store, (store.open_space(name) for name in store.manifest.active.values())
    )
    for modality in Modality:
        try:
            base = chosen_base(store, modality, getattr(options, modality.value))
        except EncoderError:
            # No model of the store; methods that need it are left out, and say why.
            continue
        seen |= seen_by_base(store, base)
    return seen


def _embed(catalogue: Catalogue, store: OpenStore, options: BenchmarkOptions) -> None:
    """Frozen vectors; where a model can't be had, the products alone."""
    given = EmbedOptions(
        text=options.text, image=options.image, seed=options.seed, quiet=options.quiet
    )
    if catalogue.images is None:
        given = replace(given, image="none")
    for wanted in (
        given,
        replace(given, text="lexical"),
        replace(given, text="lexical", image="none"),
    ):
        try:
            embed(catalogue, store, wanted)
        except EncoderError:
            continue
        return
    embed(catalogue, store, EmbedOptions(text="lexical", image="none", quiet=options.quiet))


def _run(methods: Methods) -> tuple[Row, ...]:
    options, answers = methods.options, methods.answers
    kept = methods.out / "rows"
    kept.mkdir(exist_ok=True)
    rows = []
    names = options.methods or [one.name for one in METHODS if one.name not in ON_REQUEST]
    wanted = [one for one in METHODS if one.name in names]
    for method in METHODS:
        key = methods.key(method)
        answers.expect(method.name, key)
        row = None if options.overwrite_cache else read_row(kept, method.title, of=key)
        if row is not None and not row.left_out and answers.has(method.name):
            methods.note(method.name, answers.get(method.name))
            rows.append(row)
        elif method in wanted:
            log.log(NOTICE, "%d of %d: %s", wanted.index(method) + 1, len(wanted), method.title)
            with stage(method.title):
                row = _row(method, methods)
            write_row(kept, row, of=key)
            rows.append(row)
            log.log(NOTICE, "%s: %s", method.title, _outcome_line(row))
    return tuple(rows)


def _row(method: Method, methods: Methods) -> Row:
    try:
        outcome: MethodOutcome = methods.run(method)
    except VitrinaError as err:
        why = str(err) or repr(err)
        return Row(method.title, method.modality, None, None, 0.0, None, (), left_out=why)
    ground = methods.ground
    answers = ground.part_of(methods.answers.get(method.name), "validation")
    chosen, sure = choices(answers)
    return Row(
        name=method.title,
        modality=outcome.modality or method.modality,
        train=outcome.train,
        validation=methods.measure(answers, ground.validation),
        seconds=round(outcome.seconds, 2),
        per_second=round(len(ground.query_rows) / max(outcome.asking, 1e-9), 1),
        history=outcome.history,
        note=outcome.note,
        predicted=chosen,
        confidence=sure,
    )


def _outcome_line(row: Row) -> str:
    if row.validation is None:
        return f"left out: {row.left_out}"
    return f"weighted F1 {row.validation.weighted_f1:.4f}, {row.seconds:.0f} s"


def _submit(
    ground: BenchmarkData, table: MethodsTable, answers: PredictionCache, out: Path
) -> Path | None:
    """Write the best method's predictions for the products without a category."""
    if not len(ground.further) or not table.ranked:
        return None
    titles = {method.title: method.name for method in METHODS}
    best = answers.get(titles[table.ranked[0].name])
    chosen, _ = choices(ground.part_of(best, "further"))
    ids = [ground.labels.ids[code] if code >= 0 else None for code in chosen]
    rows = pa.table(
        {
            "product_id": ground.store.products.ids.take(pa.array(ground.further)),
            "predicted_category_id": pa.array(ids),
        }
    )
    path = out / "submission.csv"
    with replacing(path) as temporary:
        pa_csv.write_csv(rows, temporary)
    return path


def _about(ground: BenchmarkData, options: BenchmarkOptions) -> dict[str, Any]:
    versions = {}
    for name in PACKAGES:
        with suppress(Exception):
            versions[name] = version(name)
    return {
        "store": ground.store.place,
        "products": len(ground.codes),
        "categories": ground.classes,
        "split": options.split.value,
        "seed": options.seed,
        "train_rows": len(ground.rows),
        "held_rows": len(ground.held_out_rows),
        "validation_rows": len(ground.validation),
        "not judged": str(Unevaluated.of(ground.codes, ground.validation)),
        "predicted_rows": len(ground.further),
        "machine": f"{platform.machine()}, {available_cpus()} cores",
        "versions": versions,
    }
