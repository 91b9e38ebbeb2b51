"""Made-up benchmarks with long-tailed categories, for the tests of the report."""

import numpy as np

from vitrina.classifier.metrics import evaluate
from vitrina.pipelines.benchmark.rows import MethodsTable, Row
from vitrina.training.loop import Epoch
from vitrina.types import Features

METHODS = [
    ("ComplementNB over TF-IDF", Features.TEXT, 0.55, 0, ""),
    ("linear SVM over TF-IDF", Features.TEXT, 0.74, 0, ""),
    ("MLP over TF-IDF", Features.TEXT, 0.71, 12, ""),
    ("CNN over words", Features.TEXT, 0.68, 9, ""),
    ("bidirectional LSTM over words", Features.TEXT, 0.66, 7, ""),
    ("fine-tuned cointegrated/rubert-tiny2", Features.TEXT, 0.79, 4, "random weights"),
    ("logistic head over CLIP ViT-B/32", Features.IMAGE, 0.52, 0, "images of 96 pixels"),
    ("fine-tuned ResNet-18", Features.IMAGE, 0.49, 20, "random weights; images of 96 pixels"),
    ("kNN vote of text", Features.TEXT, 0.64, 0, ""),
    ("kNN vote of images", Features.IMAGE, 0.43, 0, ""),
    ("kNN vote of both", Features.FUSED, 0.69, 0, ""),
    ("MLP head over both", Features.FUSED, 0.81, 15, ""),
    ("blend of text and image", Features.FUSED, 0.83, 0, ""),
    ("blend with the vote", Features.FUSED, 0.835, 0, ""),
]
TOPS = ("Одежда->Женская одежда", "Одежда->Мужская одежда", "Дом и кухня->Посуда", "Электроника")
LEAVES = ("Футболки", "Лонгсливы", "Платья", "Кружки", "Тарелки", "Чехлы", "Кабели", "Свечи")


def category_names(categories):
    return tuple(
        f"Все категории->{TOPS[code % 4]}->{LEAVES[code // 4 % 8]} {code}"
        for code in range(categories)
    )


def predictions(true, sizes, skill, rng):
    """Right more often for large categories; wrong ones are mostly the next category."""
    classes = len(sizes)
    chance = np.clip(skill + 0.09 * np.log(sizes[true] / 40), 0.02, 0.98)
    right = rng.random(len(true)) < chance
    near = np.where(rng.random(len(true)) < 0.5, true ^ 1, rng.integers(0, classes, len(true)))
    predicted = np.where(right, true, near.clip(0, classes - 1)).astype(np.int64)
    sure = np.where(predicted == true, rng.beta(6, 1.6, len(true)), rng.beta(2.2, 2.6, len(true)))
    return predicted, sure.astype(np.float32)


def row_of(method, true, sizes, rng):
    name, modality, skill, epochs, note = method
    predicted, confidence = predictions(true, sizes, skill, rng)
    if "vote" in name:
        confidence = np.round(confidence * 10).astype(np.float32) / 10
    validation = evaluate(true, predicted, confidence, classes=len(sizes), bootstrap=30)
    better, sure = predictions(true, sizes, min(skill + 0.12, 1), rng)
    history = tuple(
        Epoch(
            at,
            4 * np.exp(-at / (epochs / 3)) + 0.3 + 0.1 * rng.random(),
            validation.weighted_f1 * (1 - 0.6 * np.exp(-(at + 1) / (epochs / 4))),
            31.5,
        )
        for at in range(epochs)
    )
    return Row(
        name=name,
        modality=modality,
        train=evaluate(true, better, sure, classes=len(sizes), bootstrap=5),
        validation=validation,
        seconds=float(3 + 40 * epochs**1.4),
        per_second=float(90000 / (1 + epochs**2)),
        history=history,
        note=note,
        predicted=predicted,
        confidence=confidence,
    )


def left_out_row(name="frozen DINOv2", reason="the model could not be fetched"):
    return Row(name, Features.IMAGE, None, None, 0.0, None, (), left_out=reason)


def benchmark(methods=METHODS, *, categories=60, rows=700, seed=0, extra=(), names=None):
    rng = np.random.default_rng(seed)
    sizes = np.maximum(1, 900 / np.arange(1, categories + 1) ** 1.45).astype(np.int64)
    rng.shuffle(sizes)
    true = rng.choice(categories, rows, p=sizes / sizes.sum()).astype(np.int64)
    about = {
        "store": "s3://shelves/kazan",
        "products": 91120,
        "categories": categories,
        "split": "stratified",
        "seed": 12345,
        "train_rows": int(sizes.sum()),
        "validation_rows": rows,
        "machine": "2 cores of an Intel Xeon, 23 GiB",
        "versions": {"vitrina": "0.1.0", "torch": "2.15.0", "scikit-learn": "1.7.2"},
        "rows that leak": 4,
    }
    found = [row_of(method, true, sizes, rng) for method in methods]
    return MethodsTable(about, (*extra, *found), true, sizes, names or category_names(categories))
