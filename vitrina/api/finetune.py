"""Encoder training on a store's products, and the benchmark of methods."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.enums import member
from vitrina.api.query import open_batch
from vitrina.data.catalogue import Catalogue
from vitrina.data.options import DEFAULT_OPTIONS, ReadingOptions
from vitrina.data.readers import ALL_NEEDED, LABELS_OPTIONAL
from vitrina.data.reading import Reading
from vitrina.errors import ImageSourceError
from vitrina.pipelines.common.reading import TRAINING, check_batch, opened_texts
from vitrina.store.store import Store
from vitrina.types import Balance, Modality, Pooling, SplitKind

if TYPE_CHECKING:
    from vitrina.pipelines.benchmark.job import Benchmark
    from vitrina.pipelines.finetune.job import FinetuneReport
    from vitrina.pipelines.finetune.pretrain import PretrainReport


def finetune(
    store: Store,
    modality: str,
    *,
    model: str | None = None,
    name: str | None = None,
    from_scratch: bool = False,
    lower_case: bool | None = None,
    max_length: int | None = 128,
    pooling: str | None = None,
    catalogue: str | Path | None = None,
    images: str | Path | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    image_size: int | None = None,
    augment: bool = True,
    epochs: int | None = None,
    batch_rows: int | None = None,
    rate: float | None = None,
    warm_up: float = 0.06,
    weight_decay: float = 0.01,
    layer_decay: float = 0.9,
    smoothing: float = 0.1,
    balance: str = "none",
    word_dropout: float = 0.0,
    unlabelled: Sequence[str | Path] = (),
    average: float = 0.999,
    patience: int = 2,
    split: str = "grouped",
    seed: int = 0,
    quiet: bool = True,
) -> FinetuneReport:
    """Fine-tune an encoder on a store's categories with a temporary classification head.

    `embed` then accepts the encoder by its name. A run that was killed resumes if it is started
    again with the same arguments.

    Args:
        store: with products that have categories.
        modality: "text" or "image".
        model: a model's name as `embed` takes it, or that of another encoder trained here; None
            for the store's own.
        name: the encoder's name; by default "text-tuned" or "image-tuned".
        from_scratch: start from random weights of the model's architecture.
        lower_case: lower-case texts; None for the default of the model's tokenizer.
        max_length: upper limit of tokens in a text, kept with the encoder; None for the model's
            own.
        pooling: pooling of token vectors, kept with the encoder, such as "cls+mean", whose vectors
            are twice as long; None for the model's own.
        catalogue, images: the file of products and the location of their photos, if the store does
            not remember a folder or archive of photos, or they have moved.
        reading: how `catalogue` and `unlabelled` are read, where that differs from what the store
            remembers.
        image_size: edge of an image model's input in pixels, kept with the encoder; None for its
            own.
        augment: crop and mirror photos and change their light at random in every epoch.
        epochs, batch_rows, rate: None for defaults by the model.
        warm_up: the share of steps in which the learning rate rises; it falls after them.
        weight_decay: of AdamW.
        layer_decay: ratio of each layer's learning rate to that of the layer above.
        smoothing: label smoothing.
        balance: class-imbalance handling, "none", "weights" or "prior"; see `ClassLoss`.
        word_dropout: the share of tokens masked at random in each epoch.
        unlabelled: files of further products, read as the store's catalogue was. A second text
            encoder is trained on the first one's predictions for them and for the store's products
            without a category, and is kept in its place.
        average: decay per step of the moving average of weights, which is kept; 0 for the last
            weights.
        patience: early stopping after this many epochs without a better weighted F1; 0 for none.
        split: "grouped" or "stratified". Its validation rows are not used.
        seed: random seed of the split and of training.
        quiet: print no progress.

    Raises CatalogueError, EncoderError, ImageSourceError, StoreError, TrainingError.
    """
    from vitrina.pipelines.finetune.job import finetune as run
    from vitrina.pipelines.finetune.trainer import FinetuneOptions

    options = FinetuneOptions(
        modality=member(Modality, modality) or Modality.TEXT,
        model=model,
        name=name,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length,
        pooling=member(Pooling, pooling),
        image_size=image_size,
        augment=augment,
        epochs=epochs,
        batch_rows=batch_rows,
        rate=rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        smoothing=smoothing,
        balance=member(Balance, balance) or Balance.NONE,
        word_dropout=word_dropout,
        unlabelled=tuple(str(path) for path in unlabelled),
        reading=reading,
        average=average,
        patience=patience,
        split=member(SplitKind, split) or SplitKind.GROUPED,
        seed=seed,
        quiet=quiet,
    )
    where = reading.images if images is None else images
    if options.modality is Modality.TEXT or (catalogue is None and where is None):
        return run(store, options)
    if catalogue is None:
        raise ImageSourceError("give the file of products with --catalogue beside --images")
    with closing(open_batch(catalogue, store, reading, images=where)) as opened:
        check_batch(opened, {Modality.IMAGE}, TRAINING)
        return run(store, options, opened.images)


def pretrain(
    store: Store,
    *,
    model: str | None = None,
    name: str = "text-pretrained",
    also: Sequence[str | Path] = (),
    reading: ReadingOptions = DEFAULT_OPTIONS,
    from_scratch: bool = False,
    lower_case: bool | None = None,
    max_length: int | None = 128,
    epochs: int | None = None,
    batch_rows: int | None = None,
    rate: float | None = None,
    warm_up: float = 0.06,
    weight_decay: float = 0.01,
    average: float = 0.0,
    split: str | None = "grouped",
    seed: int = 0,
    quiet: bool = True,
) -> PretrainReport:
    """Pretrain a text encoder by masked language modelling on the texts of all products, labelled
    or not.

    `finetune` and `embed` then accept the encoder by its name. A run that was killed resumes if it
    is started again with the same arguments.

    Args:
        store: with products.
        model, from_scratch, lower_case, max_length, warm_up, weight_decay, seed: as of `finetune`.
        name: the encoder's name.
        also: files of further products, read as the store's catalogue was; only their texts are
            used.
        reading: how they are read, where that differs from what the store remembers.
        epochs, batch_rows, rate: None for defaults by the model.
        average: decay per step of the moving average of weights, which is kept; 0 for the last
            weights.
        split: "grouped" or "stratified"; the texts of its validation products are held out, and the
            model is scored on them. None to train on them too.
        quiet: print no progress.

    Raises CatalogueError, EncoderError, StoreError, TrainingError.
    """
    from vitrina.pipelines.finetune.pretrain import PretrainOptions
    from vitrina.pipelines.finetune.pretrain import pretrain as run

    options = PretrainOptions(
        model=model,
        name=name,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length,
        epochs=epochs,
        batch_rows=batch_rows,
        rate=rate,
        warm_up=warm_up,
        weight_decay=weight_decay,
        average=average,
        split=member(SplitKind, split),
        seed=seed,
        quiet=quiet,
    )
    with opened_texts(store, also, reading, quiet=quiet) as further:
        return run(store, options, further)


def benchmark(
    out: str | Path,
    catalogues: Sequence[Catalogue | str | Path] = (),
    *,
    store: Store | None = None,
    reading: ReadingOptions = DEFAULT_OPTIONS,
    rows: Sequence[str] = (),
    text: str | None = None,
    image: str | None = None,
    from_scratch: bool = False,
    lower_case: bool | None = None,
    max_length: int | None = 128,
    pooling: str | None = None,
    unlabelled: Sequence[str | Path] = (),
    image_size: int | None = None,
    text_epochs: int | None = None,
    image_epochs: int | None = None,
    split: str = "grouped",
    seed: int = 0,
    again: bool = False,
    quiet: bool = True,
) -> Benchmark:
    """Run a table of methods, from TF-IDF to fused encoders, on one split of a catalogue.

    Writes `table.md`, `table.json`, `report.html`, and `submission.csv` with the best method's
    categories for products without one. A run that was killed resumes where it was.

    Args:
        out: the output folder.
        catalogues: catalogues, or their files, of products to train on and to predict; only the
            first needs categories. They are embedded into a store in `out`.
        store: a store with these products, in their place.
        reading: how these files and those of `unlabelled` are read.
        rows: names of the methods to run; none for all.
        text, image: models, as `embed` takes them; "none" to leave a modality out.
        from_scratch, lower_case, max_length, pooling, unlabelled, image_size: options of
            fine-tuning, as `finetune` takes them.
        text_epochs, image_epochs: epochs of fine-tuning; None for defaults.
        split: "grouped" or "stratified".
        seed: random seed of the split and of training.
        again: recompute cached results.
        quiet: print no progress.

    Raises CatalogueError, StoreError, TrainingError.
    """
    from vitrina.pipelines.benchmark.job import benchmark as run
    from vitrina.pipelines.benchmark.options import BenchmarkOptions

    options = BenchmarkOptions(
        rows=tuple(rows),
        text=text,
        image=image,
        from_scratch=from_scratch,
        lower_case=lower_case,
        max_length=max_length,
        pooling=member(Pooling, pooling),
        unlabelled=tuple(str(path) for path in unlabelled),
        # Cached results are valid only while all that they depend on stays the same.
        reading=replace(reading, images=None) if unlabelled else DEFAULT_OPTIONS,
        image_size=image_size,
        text_epochs=text_epochs,
        image_epochs=image_epochs,
        split=member(SplitKind, split) or SplitKind.GROUPED,
        seed=seed,
        again=again,
        quiet=quiet,
    )
    with ExitStack() as stack:
        opened: list[Catalogue] = []
        for one in catalogues:
            if not isinstance(one, Catalogue):
                first = not opened
                settings = Reading().with_options(reading) if first else opened[0].reading
                one = Catalogue.open(one, settings, ALL_NEEDED if first else LABELS_OPTIONAL)
                stack.enter_context(closing(one))
            opened.append(one)
        return run(Path(out), options, catalogues=tuple(opened), store=store)
