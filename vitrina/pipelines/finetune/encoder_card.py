"""An encoder's card: its training, input and limits in Markdown, after the Hub's front matter."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

from vitrina.page.hub_card import (
    HubMetadata,
    HubMetric,
    HubResult,
    Library,
    classification_metrics,
    with_front_matter,
)
from vitrina.page.markdown import code, escaped
from vitrina.page.tables import markdown_table
from vitrina.pipelines.common.encoder_record import EncoderRecord
from vitrina.types import Modality

_TAGS = {
    Library.SENTENCE_TRANSFORMERS: ("sentence-transformers", "feature-extraction"),
    Library.OPEN_CLIP: ("open_clip", "clip"),
    Library.TIMM: ("timm",),
    Library.TRANSFORMERS: ("transformers",),
}

_USE = {
    Library.SENTENCE_TRANSFORMERS: """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("DIRECTORY")
vectors = model.encode(["Кружка керамическая 350 мл, белая"])""",
    Library.OPEN_CLIP: """\
import open_clip
import torch
from PIL import Image

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:DIRECTORY")
model.eval()
with torch.no_grad():
    photo = preprocess(Image.open("photo.jpg").convert("RGB"))[None]
    vectors = model.encode_image(photo, normalize=True)""",
    Library.TIMM: """\
import timm
import torch
from PIL import Image

model = timm.create_model("local-dir:DIRECTORY", pretrained=True, num_classes=0).eval()
config = timm.data.resolve_model_data_config(model)
preprocess = timm.data.create_transform(**config, is_training=False)
with torch.no_grad():
    photo = preprocess(Image.open("photo.jpg").convert("RGB"))[None]
    vectors = torch.nn.functional.normalize(model(photo))""",
    Library.TRANSFORMERS: """\
import torch
import transformers
from PIL import Image

kind = transformers.AutoConfig.from_pretrained("DIRECTORY").architectures[0]
model = getattr(transformers, kind).from_pretrained("DIRECTORY").eval()
preprocess = transformers.AutoImageProcessor.from_pretrained("DIRECTORY")
with torch.no_grad():
    output = model(**preprocess(Image.open("photo.jpg").convert("RGB"), return_tensors="pt"))
    if model.config.model_type == "vit":
        vectors = output.last_hidden_state[:, 0]  # its pooler is not trained
    else:
        vectors = output.get("image_embeds", output.get("pooler_output"))
    vectors = torch.nn.functional.normalize(vectors)""",
}


def encoder_card(record: EncoderRecord, library: Library) -> str:
    """Write an encoder's card. library: opens its directory."""
    sections = [
        [f"# {escaped(record.name)}", "", _summary(record)],
        ["## Use", "", "```python", _USE[library], "```"],
        _input(record),
        _metrics(record),
        _limits(record, library),
    ]
    body = "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"
    return with_front_matter(_metadata(record, library), body)


def _metadata(record: EncoderRecord, library: Library) -> HubMetadata:
    if record.modality is Modality.TEXT:
        task = "sentence-similarity"
    elif library is Library.OPEN_CLIP and not record.is_trained:
        task = "zero-shot-image-classification"
    else:
        task = "image-feature-extraction"
    return HubMetadata(
        name=record.name,
        library=library,
        pipeline_tag=task,
        tags=(*_TAGS[library], task, "vitrina"),
        base_models=[record.hub.base_model] if record.hub.base_model else (),
        languages=record.hub.languages if record.modality is Modality.TEXT else (),
        evaluation=_evaluation(record),
    )


def _evaluation(record: EncoderRecord) -> HubResult | None:
    catalogue = PurePosixPath(record.store).name
    if record.validation is not None:
        best = record.validation
        return HubResult(
            f"{record.modality}-classification",
            catalogue,
            f"validation ({record.split})",
            classification_metrics(best.weighted_f1, best.macro_f1, best.accuracy),
        )
    if perplexity := _perplexity(record):
        metric = HubMetric("perplexity", "Perplexity of masked tokens", perplexity)
        return HubResult("fill-mask", catalogue, "validation", (metric,))
    return None


def _perplexity(record: EncoderRecord) -> float | None:
    """That of masked tokens of held-out texts, after the last epoch."""
    if not record.likelihood or not -100 < record.likelihood[-1] <= 0:
        return None
    return math.exp(-record.likelihood[-1])


def _summary(record: EncoderRecord) -> str:
    # Of a directory, the path is nobody else's business.
    named = PurePosixPath(record.base).name if record.base.startswith("/") else record.base
    kind, base = record.modality.value, code(named)
    catalogue = code(PurePosixPath(record.store).name)
    if record.validation is not None:
        return (
            f"A {kind} encoder for products: {base}, fine-tuned by Vitrina on {record.rows} "
            f"products in {record.classes} categories of the catalogue {catalogue}. "
            f"It maps a product's {'text' if kind == 'text' else 'photo'} to a vector of "
            f"{record.dim} numbers."
        )
    if record.texts is not None:
        return (
            f"A {kind} encoder for products: {base}, trained by Vitrina to predict masked tokens "
            f"of {record.texts} texts of the catalogue {catalogue}. It maps a text to a vector of "
            f"{record.dim} numbers."
        )
    return (
        f"{base} as Vitrina runs it: it maps a {'text' if kind == 'text' else 'photo'} to a vector "
        f"of {record.dim} numbers. The weights are unchanged."
    )


def _input(record: EncoderRecord) -> list[str]:
    if record.modality is Modality.IMAGE:
        edge = record.details.edge
        lines = [
            "- Photos are turned as their EXIF orientation says and converted to RGB, with "
            "transparency on white. Resizing and normalisation are those of this directory's "
            f"configuration{f' ({edge} pixels)' if edge else ''}.",
            "- Vectors are normalised to length 1. Of a product with several photos, Vitrina takes "
            "the normalised mean of their vectors.",
        ]
    else:
        form = record.details
        lines = [
            "- The text of a product is its title, attributes, characteristics, description and "
            "shop, in this order, those that are not empty, one a line.",
            "- Vitrina cleans each of them first: HTML tags become spaces, scripts and comments "
            "are removed, entities are unescaped, control and invisible characters are removed, "
            "and white space becomes single spaces. There is no prompt or prefix.",
            "- Lower-casing and everything else is done by the tokenizer in this directory; "
            f"longer texts are cut{f' to {form.max_length} tokens' if form.max_length else ''}.",
            f"- Pooling: {code(form.pooling or 'mean')}. Vectors are normalised to length 1, so "
            "that the dot product is the cosine similarity.",
        ]
    return ["## Input and output", "", *lines]


def _metrics(record: EncoderRecord) -> list[str]:
    found = record.validation
    if found is not None:
        row = [f"{value:.4f}" for value in (found.weighted_f1, found.macro_f1, found.accuracy)]
        return [
            "## Evaluation",
            "",
            "Of the classification head that it was fine-tuned with, on products that were held "
            f"out ({escaped(record.split or '')} split):",
            "",
            *markdown_table(
                ("weighted F1", "macro F1", "accuracy", "products"), [(*row, str(found.rows))]
            ),
        ]
    if perplexity := _perplexity(record):
        return [
            "## Evaluation",
            "",
            f"Perplexity of masked tokens in held-out texts: {perplexity:.4g}.",
        ]
    return []


def _limits(record: EncoderRecord, library: Library) -> list[str]:
    lines = []
    if record.is_trained:
        lines.append("- It was trained for products like those of its catalogue.")
    if record.is_trained and library is Library.OPEN_CLIP:
        lines.append(
            "- Only its image tower was trained: the text tower is that of the base model, and no "
            "longer fits it."
        )
    if record.validation is not None:
        lines.append("- The classification head that was evaluated is not part of this directory.")
    licence = "- The licence is that of the base model"
    if record.is_trained:
        licence += ", and for what was trained, yours to choose"
    lines.append(f"{licence}: add `license` to the front matter before you publish it.")
    return ["## Limits", "", *lines]
