"""Training on a store's vectors: the index, the vote rule, the head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitrina.api.inputs import StoreLike, as_store
from vitrina.api.keywords import with_keywords
from vitrina.options import choice
from vitrina.pipelines.index.options import IndexOptions
from vitrina.pipelines.train.options import TrainOptions
from vitrina.types import Features

if TYPE_CHECKING:
    from vitrina.pipelines.index.leave_one_out import IndexEvaluation
    from vitrina.pipelines.index.neighbours import Index
    from vitrina.pipelines.train.report import TrainReport


@with_keywords(IndexOptions)
def build_index(store: StoreLike, options: IndexOptions) -> Index:
    """Build the FAISS index, or update it in time that grows with the changes.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the vectors.
    {options}

    Returns
    -------
    Index
        The index; `card` describes it, with its recall on held-out queries.

    Raises
    ------
    OptionError, StoreError

    Examples
    --------
    >>> index = vt.build_index(store, "fused", recall=0.99)
    >>> index.card["rows"] == len(store.products)
    True
    """
    from vitrina.pipelines.index.job import build_index as run
    from vitrina.pipelines.index.neighbours import Index

    opened = as_store(store)
    return Index.described(opened, run(opened, options))


def open_index(store: StoreLike, features: str | None = None) -> Index:
    """Open an existing index.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the index.
    features : {'text', 'image', 'fused'}, optional
        Index to open; default: fused, or the only one.

    Returns
    -------
    Index
        The index; `search` finds neighbours.

    Raises
    ------
    OptionError
        For other features.
    StoreError
        If there is no such index.
    FingerprintError
        If the store's spaces have changed since it was built.

    Examples
    --------
    >>> near = vt.open_index(store).search(text="красная кружка", k=3)
    >>> len(near), near[0].score >= near[1].score
    (3, True)
    """
    from vitrina.pipelines.index.neighbours import Index

    return Index.open(as_store(store), choice(Features, features, "features"))


def evaluate_index(
    store: StoreLike, features: str | None = None, *, seed: int = 0, quiet: bool | None = None
) -> IndexEvaluation:
    """Evaluate the neighbours' vote of an index, leave-one-out, and save the best vote rule.

    Every labelled product is classified by its 50 nearest neighbours, without duplicates (same
    title or photo); of more than 200,000 products, a sample. `classify` then votes by this rule.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the index.
    features : {'text', 'image', 'fused'}, optional
        Index to evaluate; default: fused, or the only one.
    seed : int, default 0
        Random seed of the half of the products on which the rule is chosen; metrics are those of
        the other half.
    quiet : bool, optional
        Show no progress; default: shown only in a notebook or in IPython on a terminal.

    Returns
    -------
    IndexEvaluation
        Metrics of every rule.

    Raises
    ------
    OptionError
        For other features.
    StoreError
        If there is no index.
    TrainingError
        If too few products have a category.

    Examples
    --------
    >>> evaluation = vt.evaluate_index(store)
    >>> print(*evaluation.lines(), sep="\\n")  # doctest: +SKIP
    """
    from vitrina.pipelines.index.leave_one_out import evaluate_index as run

    chosen = choice(Features, features, "features")
    return run(as_store(store), chosen, seed=seed, quiet=quiet)


def open_report(store: StoreLike, model: str | None = None) -> TrainReport:
    """Read the training report of a stored head, to print it or to draw its plots.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with a head.
    model : str, optional
        Name of the head; default: the one trained last.

    Returns
    -------
    TrainReport
        The report that `train` returned, without the seconds of saving.

    Raises
    ------
    StoreError
        If there is no such head, or its file is damaged.

    Examples
    --------
    >>> report = vt.open_report(store)
    >>> report.model, len(report.coverage) > 1
    ('text-logistic', True)
    """
    from vitrina.pipelines.train.job import read_report

    return read_report(as_store(store), model)


@with_keywords(TrainOptions)
def train(store: StoreLike, options: TrainOptions) -> TrainReport:
    """Train, calibrate and save a head, a classifier over the store's vectors.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, of products that have categories.
    {options}

    Returns
    -------
    TrainReport
        Metrics on training and validation rows, beside a TF-IDF baseline.

    Raises
    ------
    OptionError, StoreError, TrainingError

    Examples
    --------
    >>> report = vt.train(store, "logistic", features="text", epochs=2)
    >>> 0 < report.validation.weighted_f1 <= 1
    True
    """
    from vitrina.pipelines.train.job import train as run

    return run(as_store(store), options)
