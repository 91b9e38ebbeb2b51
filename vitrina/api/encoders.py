"""Encoders: those with short names, training on a store's products, the benchmark of methods."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.inputs import CatalogueLike, StoreLike, as_catalogue, as_store, several
from vitrina.api.keywords import with_keywords
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS
from vitrina.data.readers import ALL_NEEDED, LABELS_OPTIONAL
from vitrina.data.reading import Reading
from vitrina.database.url import is_database_url
from vitrina.errors import ImageSourceError, OptionError
from vitrina.options import choice
from vitrina.pipelines.benchmark.options import BenchmarkOptions
from vitrina.pipelines.common.reading import TRAINING, check_batch, opened_texts
from vitrina.pipelines.finetune.options import FinetuneOptions, PretrainOptions
from vitrina.types import Modality

if TYPE_CHECKING:
    from vitrina.embedder.model_table import ModelTable
    from vitrina.pipelines.benchmark.job import Benchmark
    from vitrina.pipelines.finetune.job import FinetuneReport
    from vitrina.pipelines.finetune.pretrain import PretrainReport

_ALL_METHODS = BenchmarkOptions()


@with_keywords(FinetuneOptions)
def finetune(store: StoreLike, options: FinetuneOptions) -> FinetuneReport:
    """Fine-tune an encoder on a store's categories with a temporary classification head.

    `embed` then accepts the encoder by its name. If a run was killed, start it again with the same
    arguments, and it resumes.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, of products that have categories. Rows of the
        split's validation part are not trained on.
    {options}

    Returns
    -------
    FinetuneReport
        Metrics on training and validation rows, and the encoder's name.

    Raises
    ------
    CatalogueError, EncoderError, ImageSourceError, StoreError, TrainingError

    Examples
    --------
    >>> report = vt.finetune(store, "text", model="text-pretrained", epochs=1)  # doctest: +SKIP
    >>> vt.embed(catalogue, store, text=report.name)  # doctest: +SKIP
    """
    from vitrina.pipelines.finetune.job import finetune as run

    opened = as_store(store)
    images = options.reading.images if options.images is None else options.images
    if options.modality is Modality.TEXT or (options.catalogue is None and images is None):
        return run(opened, options)
    if options.catalogue is None:
        raise ImageSourceError("give the file of products with --catalogue in addition to --images")
    with as_catalogue(options.catalogue, opened, images, options.reading) as products:
        check_batch(products, {Modality.IMAGE}, TRAINING)
        return run(opened, options, products.images)


@with_keywords(PretrainOptions)
def pretrain(store: StoreLike, options: PretrainOptions) -> PretrainReport:
    """Pretrain a text encoder by masked language modelling on the texts of all products.

    `finetune` and `embed` then accept the encoder by its name. Products need no category. If a run
    was killed, start it again with the same arguments, and it resumes.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, of products.
    {options}

    Returns
    -------
    PretrainReport
        Log-likelihood of masked words in held-out texts, in nats, before and after each epoch.

    Raises
    ------
    CatalogueError, EncoderError, StoreError, TrainingError

    Examples
    --------
    >>> vt.pretrain(store, also=["names.parquet"], epochs=1).name  # doctest: +SKIP
    'text-pretrained'
    """
    from vitrina.pipelines.finetune.pretrain import pretrain as run

    opened = as_store(store)
    with opened_texts(opened, options.also, options.reading) as further:
        return run(opened, options, further)


@with_keywords(BenchmarkOptions)
def benchmark(
    out: str | Path,
    catalogues: CatalogueLike | Sequence[CatalogueLike] = (),
    store: StoreLike | None = None,
    options: BenchmarkOptions = _ALL_METHODS,
) -> Benchmark:
    """Run a table of methods, from TF-IDF to fused encoders, on one split of a catalogue.

    Writes `table.md`, `table.json`, `report.html`, and `submission.csv` with the best method's
    categories for products without one. If a run was killed, start it again with the same
    arguments, and it resumes.

    Parameters
    ----------
    out : str or Path
        Output folder.
    catalogues : Catalogue, str, Path, DataFrame or other table, or a sequence of these
        Catalogues, or their files, of products to train on and to predict; only the first needs
        categories. They are embedded into a store in `out`.
    store : Store, str or Path, optional
        Store that has these products, or its directory or URL, instead of `catalogues`.
    {options}

    Returns
    -------
    Benchmark
        Table of methods with weighted F1, macro F1, time and size.

    Raises
    ------
    CatalogueError, OptionError, StoreError, TrainingError

    Examples
    --------
    >>> table = vt.benchmark(folder / "benchmark", store=store, methods=["naive-bayes"])
    """
    from vitrina.pipelines.benchmark.job import benchmark as run

    reading = options.reading
    # Cached results are valid only while all that they depend on stays the same.
    kept = replace(reading, images=None) if options.unlabelled else DEFAULT_OPTIONS
    options = replace(options, reading=kept)
    given = several(catalogues)
    if bool(given) == (store is not None):
        raise OptionError("catalogues", "must be given, or a store that has the products, not both")
    whole = None if store is None else as_store(store)
    with ExitStack() as stack:
        opened: list[Catalogue] = []
        for one in given:
            if not isinstance(one, Catalogue):
                first = not opened
                settings = Reading().with_options(reading) if first else opened[0].reading
                needs = ALL_NEEDED if first else LABELS_OPTIONAL
                query = reading.query if is_database_url(one) else None
                one = Catalogue.open(one, settings, needs, query)
                stack.enter_context(closing(one))
            opened.append(one)
        return run(Path(out), options, catalogues=tuple(opened), store=whole)


def models(modality: str | None = None) -> ModelTable:
    """List models that are known to be good, with short names for `embed`.

    The figures are those that their makers or a public benchmark publish; `source` is the page.

    Parameters
    ----------
    modality : {"text", "image"}, optional
        Models of one modality; None for all.

    Returns
    -------
    ModelTable
        Each model's short name, hub name, size, dimension, licence, speed class, use, prompt and
        published figure: rows, columns, pandas and Polars frames.

    Raises
    ------
    OptionError
        For another modality.

    See Also
    --------
    embed : Takes the names as `text` and `image`.

    Examples
    --------
    >>> vt.models("text")[0].hub
    'hf:cointegrated/rubert-tiny2'
    >>> {one.name: one.prompt for one in vt.models("text") if one.prompt}["e5-small"]
    'query: '
    """
    from vitrina.embedder.model_table import ModelTable

    return ModelTable.of(choice(Modality, modality, "modality"))
