"""The public store: one open store with the jobs as methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api import auditing, encoders, export, query, stores, training
from vitrina.api.inputs import StoreLike
from vitrina.api.keywords import with_keywords
from vitrina.api.methods import method
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.store.store import OpenStore

if TYPE_CHECKING:
    from vitrina.pipelines.benchmark.job import Benchmark
    from vitrina.store.files import Files
    from vitrina.store.manifest import Manifest


@with_keywords(BenchmarkOptions)
def benchmark(store: StoreLike, out: str | Path, options: BenchmarkOptions) -> Benchmark:
    """Run a table of methods, from TF-IDF to fused encoders, on one split of the store's products.

    Writes `table.md`, `table.json`, `report.html`, and `submission.csv` with the best method's
    categories for products without one. If a run was killed, start it again with the same
    arguments, and it resumes.

    Parameters
    ----------
    store : Store, str or Path
        Store of the products.
    out : str or Path
        Output folder.
    {options}

    Returns
    -------
    Benchmark
        Table of methods with weighted F1, macro F1, time and size.

    Raises
    ------
    StoreError, TrainingError

    Examples
    --------
    >>> table = vt.benchmark(store, folder / "methods", rows=["naive-bayes"])
    """
    return encoders.benchmark(out, (), store, options)


class Store(OpenStore):
    """A store at one commit, with the jobs of `vitrina` as methods.

    `open` opens one, `create` creates an empty one, and `vitrina.embed` creates one from a
    catalogue. After a method that writes, the store is at the new commit; `refresh` switches to the
    newest one of other writers.

    Attributes:
        files: access to the store's files.
        manifest: the commit: products, spaces, indexes and heads.

    Examples
    --------
    >>> opened = vt.Store.open(store.place)
    >>> len(opened.products) == len(opened.vectors("text"))
    True
    >>> len(opened.classify(batch))
    18
    """

    def __init__(self, files: Files, manifest: Manifest | None = None) -> None:
        if manifest is None:
            raise TypeError(f"give the place to Store.open: Store.open({str(files)!r})")
        super().__init__(files, manifest)

    embed = method(stores.embed)
    work = method(stores.work)
    build_index = method(training.build_index)
    open_index = method(training.open_index)
    open_report = method(training.open_report)
    evaluate_index = method(training.evaluate_index)
    neighbours = method(query.neighbours)
    neighbours_to = method(query.neighbours_to)
    train = method(training.train)
    finetune = method(encoders.finetune)
    pretrain = method(encoders.pretrain)
    benchmark = method(benchmark)
    open_batch = method(query.open_batch)
    classify = method(query.classify)
    classify_to = method(query.classify_to)
    audit = method(auditing.audit)
    review = method(auditing.review)
    export_decisions = method(auditing.export_decisions)
    import_decisions = method(auditing.import_decisions)
    vectors = method(stores.vectors)
    describe = method(stores.describe)
    verify = method(stores.verify)
    compact = method(stores.compact)
    export_model = method(export.export_model)
