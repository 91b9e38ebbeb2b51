"""The command line: parse, one call into the library, print, exit code."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from vitrina import __version__
from vitrina.errors import VitrinaError

app = typer.Typer(
    help="Embed a marketplace's products, classify new ones, audit the labels it has.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

StoreArgument = Annotated[
    Path | None, typer.Argument(metavar="STORE", help="The store's directory.")
]
StoreOption = Annotated[Path | None, typer.Option("--store", help="The same, as an option.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Seed = Annotated[int, typer.Option(min=0, help="Decides whatever is drawn at random.")]
FeaturesOption = Annotated[
    str | None, typer.Option(help="text, image or fused; by default all that the store has.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None: ...


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    products: Annotated[int, typer.Option(min=50, help="Products of the sample.")] = 1200,
    catalogue_only: Annotated[
        bool, typer.Option(help="Write the sample catalogue and stop.")
    ] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run the whole main job on a built-in sample, offline."""
    from vitrina.pipelines import demo as job

    if catalogue_only:
        sample = job.write_catalogue(out, products, seed)
        _print(as_json, {"out": str(out), "products": sample.products}, f"wrote {out}")
        return
    say = (lambda _: None) if as_json else typer.echo
    report = job.demo(out, products=products, seed=seed, say=say, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
        return
    typer.echo("")
    for line in job.showcase(report):
        typer.echo(line)
    for line in _demo_summary(report):
        typer.echo(line)


def _demo_summary(report: Any) -> list[str]:
    f1 = {head.features.value: head.validation.weighted_f1 for head in report.heads}
    best = "fused beats both" if f1["fused"] > max(f1["text"], f1["image"]) else "fused is not best"
    return [
        "",
        f"broken photos of the catalogue found: {report.broken_found}, listed in "
        f"{report.out}/store/spaces/image-thumbnail/errors.parquet",
        f"store: {report.out}/store    predictions: {report.out}/predictions.parquet",
        f"try: vitrina neighbours {report.out}/store --text 'красная кружка'",
        f"done: validation weighted F1 text {f1['text']:.3f}, image {f1['image']:.3f}, "
        f"fused {f1['fused']:.3f}: {best}",
    ]


@app.command()
def embed(
    catalogue: Annotated[
        Path, typer.Argument(help="Marketplace Parquet, or a Parquet, CSV or JSONL table.")
    ],
    store: Annotated[Path, typer.Option(help="The store; made if it is not there.")],
    images: Annotated[
        str | None, typer.Option(help="Folder or zip of photos, or none; default: remembered.")
    ] = None,
    text_model: Annotated[
        str | None, typer.Option(help="hf:REPO, a directory, lexical, or none.")
    ] = None,
    image_model: Annotated[
        str | None,
        typer.Option(help="open_clip:ARCH/TAG, timm:NAME, a directory, thumbnail, or none."),
    ] = None,
    image_template: Annotated[
        str | None, typer.Option(help="A photo's name, such as images/{product_id}.jpg.")
    ] = None,
    photos: Annotated[
        int | None, typer.Option(min=1, help="Photos of a product to use; default: 1.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Default: product_id.")] = None,
    title_column: Annotated[str | None, typer.Option(help="Default: title.")] = None,
    description_column: Annotated[str | None, typer.Option(help="Default: description.")] = None,
    attribute_columns: Annotated[
        str | None, typer.Option(help="Further columns to add to the text, with commas between.")
    ] = None,
    shop_column: Annotated[str | None, typer.Option(help="Default: shop_title.")] = None,
    category_column: Annotated[str | None, typer.Option(help="Default: category_id.")] = None,
    category_name_column: Annotated[
        str | None, typer.Option(help="Default: category_name.")
    ] = None,
    image_column: Annotated[
        str | None, typer.Option(help="A column of photo names, or of the photos themselves.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a CSV; found out by default.")] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a CSV or JSONL, such as cp1251; default: utf-8.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float16 or float32, as vectors are kept.")] = (
        "float16"
    ),
    max_failures: Annotated[
        float, typer.Option(min=0, max=1, help="The share of products that may fail.")
    ] = 0.05,
    refit: Annotated[bool, typer.Option(help="Fit lexical and thumbnail anew.")] = False,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Read a catalogue, embed what is new or changed, commit."""
    from vitrina import api
    from vitrina.data.readers import Columns

    columns = Columns(
        product_id=id_column,
        title=title_column,
        description=description_column,
        attributes=tuple(attribute_columns.split(",")) if attribute_columns else (),
        shop=shop_column,
        category_id=category_column,
        category_name=category_name_column,
        image=image_column,
    )
    made = api.Store.open(store)
    opened = api.open_batch(
        catalogue,
        made,
        images=images,
        image_template=image_template,
        photos=photos,
        columns=columns,
        delimiter=delimiter,
        encoding=encoding,
    )
    report = api.embed(
        opened,
        made,
        text=text_model,
        image=image_model,
        dtype=dtype,
        max_failures=max_failures,
        refit=refit,
        seed=seed,
        quiet=as_json,
    )
    lines = [
        f"{space.space}: {space.embedded} embedded in {space.seconds:.0f} s, {space.reused} share "
        f"content, {space.unchanged} unchanged, {space.missing} have none, {space.failed} failed"
        for space in report.spaces
    ]
    if report.rejected:
        lines.append(f"rejected {report.rejected} rows ({report.rejections}), see errors.parquet")
    lines.append(f"done: {report.products} products in {store}")
    _print(as_json, report.to_json(), *lines)


@app.command()
def index(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    features: FeaturesOption = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Build the FAISS index and measure its recall."""
    from vitrina import api

    card = api.build_index(_store(store, store_option), features, seed=seed).card
    line = (
        f"done: {card['features']} index, {card['factory']}, {card['rows']} vectors of "
        f"{card['dim']}, recall@{card['recall']['at']} {card['recall']['value']:.3f}, "
        f"built in {card['build_seconds']:.1f} s"
    )
    _print(as_json, card, line)


@app.command()
def train(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    head: Annotated[str, typer.Option(help="logistic or mlp.")] = "mlp",
    features: FeaturesOption = None,
    split: Annotated[
        str, typer.Option(help="How validation rows are chosen: grouped or stratified.")
    ] = "grouped",
    name: Annotated[str | None, typer.Option(help="Default: FEATURES-HEAD.")] = None,
    refit: Annotated[bool, typer.Option(help="Fit the saved head on validation rows too.")] = True,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Default: as many as the rows call for.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Train and calibrate the head, and report how good it is."""
    from vitrina import api

    report = api.train(
        _store(store, store_option),
        head,
        features=features,
        split=split,
        name=name,
        refit=refit,
        epochs=epochs,
        seed=seed,
        quiet=as_json,
    )
    lines = ["              weighted F1   macro F1   coverage at 95% precision"]
    for label, metrics in (
        ("train", report.train),
        ("validation", report.validation),
        ("vote", report.vote),
    ):
        covered = "" if label == "train" else f"{metrics.coverage_at_95:.3f}"
        lines.append(
            f"{label:<14}{metrics.weighted_f1:.4f}        {metrics.macro_f1:.4f}     {covered}"
        )
    low, high = report.validation.weighted_f1_interval
    lines.append(
        f"split: {report.split}, {report.train.rows} rows to train on, "
        f"{report.validation.rows} to validate; 95% interval of validation {low:.4f} to {high:.4f}"
    )
    if report.duplicated:
        lines.append(
            f"{report.duplicated} categories have one product, which stands on both sides of "
            "the split"
        )
    lines.append(
        f"calibration: temperature {report.temperature:.2f}, expected error "
        f"{report.calibration_error_before:.3f} before, {report.calibration_error:.3f} after"
    )
    lines.append(f"done: head {report.model}, {report.classes} categories, {report.seconds:.0f} s")
    _print(as_json, report.to_json(), *lines)


@app.command()
def classify(
    catalogue: Annotated[Path, typer.Argument(help="The new batch, in the catalogue's form.")],
    store: Annotated[Path, typer.Option(help="The store with the head.")],
    out: Annotated[Path, typer.Option(help="The predictions file to write.")],
    images: Annotated[
        str | None, typer.Option(help="Folder or zip of photos, or none; default: remembered.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A head's name; default: the one trained last.")
    ] = None,
    format: Annotated[str, typer.Option(help="full or submission.")] = "full",
    top_k: Annotated[int, typer.Option(min=1, help="Categories to list for each product.")] = 5,
    neighbours: Annotated[int, typer.Option(min=1, help="Neighbours to list, and to vote.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Predict the categories of a new batch, with reasons."""
    from vitrina import api

    opened = _store(store, None)
    report = api.classify_to(
        api.open_batch(catalogue, opened, images=images),
        opened,
        out,
        model=model,
        format=format,
        top_k=top_k,
        neighbours=neighbours,
        quiet=as_json,
    )
    lines = []
    if report.without_image or report.without_text:
        lines.append(f"{report.without_image} without a photo, {report.without_text} without text")
    if report.errors:
        lines.append(
            f"{report.failed} photos could not be used, {report.rejected} rows were rejected: "
            f"see {out.with_suffix('.errors.parquet')}"
        )
    if not report.voted:
        lines.append("no index of these features: no vote (run `vitrina index`)")
    lines.append(
        f"done: {report.products} products by {report.model}, {report.accepted} accepted, "
        f"{report.products / max(report.seconds, 1e-9):.0f}/s, in {out}"
    )
    _print(as_json, report.to_json(), *lines)


@app.command()
def neighbours(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    product: Annotated[str | None, typer.Option(help="A product's id.")] = None,
    text: Annotated[str | None, typer.Option(help="Any text.")] = None,
    image: Annotated[Path | None, typer.Option(help="An image file.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many.")] = 10,
    features: FeaturesOption = None,
    as_json: AsJson = False,
) -> None:
    """Find the nearest products of a product, a text or an image."""
    from vitrina import api

    if (product is None) == (text is None and image is None):
        raise typer.BadParameter("give either --product, or --text and --image or one of them")
    found = api.open_index(_store(store, store_option), features).search(
        product=product, text=text, image=image, k=k
    )
    lines = [
        f"{near.score:.3f}  {near.product_id}  {near.title}  [{near.category_name or '-'}]"
        for near in found
    ]
    _print(as_json, [near.to_json() for near in found], *lines, f"done: {len(found)} neighbours")


@app.command()
def info(
    store: StoreArgument = None, store_option: StoreOption = None, as_json: AsJson = False
) -> None:
    """Show what a store holds."""
    from vitrina import api

    found = api.describe(_store(store, store_option))
    lines = [
        f"products    {found['products']}, {found.get('with_category', 0)} with a category of "
        f"{found['categories']}, {found['rejected']} rows rejected"
    ]
    lines.extend(
        f"space       {space['name']}: {space['rows']} rows of {space['dim']} {space['dtype']} in "
        f"{space['shards']} shards, {space['errors']} errors, {space['model']}, "
        f"fingerprint {space['fingerprint'][:12]}{'' if space['active'] else ' (not in use)'}"
        for space in found["spaces"]
    )
    lines.extend(
        f"index       {card['features']}: {card['factory']}, {card['rows']} vectors, "
        f"recall@{card['recall']['at']} {card['recall']['value']:.3f}"
        for card in found["indexes"]
    )
    lines.extend(
        f"head        {model['name']}: {model['categories']} categories, weighted F1 "
        f"{model['weighted_f1']:.4f} ({model['split']} split)"
        f"{', in use' if model['active'] else ''}"
        for model in found["models"]
    )
    _print(as_json, found, *lines, f"done: {found['store']} at commit {found['commit']}")


def _store(argument: Path | None, option: Path | None) -> Any:
    from vitrina import api

    path = argument or option
    if path is None:
        raise typer.BadParameter("give the store's directory")
    return api.Store.open(path, create=False)


def _print(as_json: bool, value: Any, *lines: str) -> None:
    if as_json:
        typer.echo(json.dumps(value, ensure_ascii=False, indent=1, default=str))
    else:
        for line in lines:
            typer.echo(line)


def main() -> None:
    """Run the command line; what Vitrina raises on purpose becomes one line and exit code 1."""
    # Of a photo's flaws errors.parquet tells; Pillow's warnings would break the progress bar.
    warnings.filterwarnings("ignore", module="PIL")
    try:
        app()
    except VitrinaError as err:
        typer.echo(f"vitrina: {' '.join(str(err).split())}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("vitrina: interrupted; what was committed stays", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
