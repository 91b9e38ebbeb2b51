"""What is done with a store, each as the command line does it, and what it answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from fuzz.target import expect

Answer = Any
READING = ("info", "verify", "classify", "neighbours", "vectors", "audit", "review", "export")
WRITING = ("embed", "compact", "repair", "index", "decide", "report", "train")


def run(name: str, place: Path, seeds: Path) -> Answer:
    """Run an operation on a store; the answer is the same for the same store wherever it lies."""
    answer = _OPERATIONS[name](place, seeds)
    # As printed: what can't be is a fault.
    told = json.dumps(answer, default=_exactly, ensure_ascii=False).encode()
    return json.loads(told.replace(str(place).encode(), b"STORE"))


def _exactly(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


def _open(place: Path) -> Any:
    from vitrina import api

    return api.Store.open(place, create=False)


def _info(place: Path, _: Path) -> Answer:
    from vitrina import api

    return api.describe(_open(place))


def _verify(place: Path, _: Path) -> Answer:
    from vitrina import api

    report = api.verify(place)
    return {"ok": report.ok, "problems": [str(one) for one in report.problems]}


def _classify(place: Path, seeds: Path) -> Answer:
    from vitrina import api

    store = _open(place)
    with closing(api.open_batch(seeds / "batch.csv", store, images="none")) as batch:
        rows = api.classify(batch, store).to_pylist()
    for row in rows:
        shares = [row["probability"], *(one["probability"] for one in row["top_k"] or ())]
        expect(
            all(share is None or 0 <= share <= 1.001 for share in shares),
            f"probabilities: {shares}",
        )
    return _rounded(rows)


def _neighbours(place: Path, _: Path) -> Answer:
    from vitrina import api

    store = _open(place)
    found = {}
    for features in sorted(store.manifest.indexes):
        index = api.open_index(store, features)
        one = store.products.ids[3].as_py()
        near = [one.to_json() for one in index.search(product=one, k=5)]
        expect(all(-1.01 <= hit["score"] <= 1.01 for hit in near), f"scores: {near}")
        found[features] = _rounded(near)
        if features == "text":
            found["text query"] = _rounded(
                [one.to_json() for one in index.search(text="кружка", k=3)]
            )
    return found


def _vectors(place: Path, _: Path) -> Answer:
    import numpy as np

    from vitrina import api

    store = _open(place)
    told = {}
    for modality in store.manifest.active:
        found = api.vectors(store, modality.value)
        values = np.asarray(found.matrix, np.float32)
        lengths = np.linalg.norm(values, axis=1)
        expect(bool(np.isfinite(values).all()), "vectors: not finite")
        # All zero is what an encoder gives for content it knows nothing of.
        whole = (abs(lengths - 1) < 0.05) | (lengths == 0)
        expect(bool(whole.all()), f"vectors: lengths {lengths[:3]}")
        told[modality.value] = hashlib.sha256(values.tobytes()).hexdigest()
    return told


def _audit(place: Path, _: Path) -> Answer:
    from vitrina.audit.results import Audit

    found = Audit.of(_open(place))
    return {
        "card": dict(found.card),
        "names": {str(key): name for key, name in found.names.items()},
        "suspects": [repr(one) for one in found.suspects],
    }


def _review(place: Path, _: Path) -> Answer:
    from fuzz.asgi import Request, ask
    from vitrina.audit.results import Audit
    from vitrina.audit.review.app import create_app
    from vitrina.audit.review.options import ReviewOptions
    from vitrina.errors import VitrinaError

    store = _open(place)
    app = create_app(store, Audit.of(store), lambda _: None, ReviewOptions(reviewer="A"))
    headers = (
        (b"host", b"127.0.0.1:8765"),
        (b"accept-language", b"en"),
        (b"cookie", b"vitrina-8765-reviewer=A"),
    )
    pages = (("/", ""), ("/", "at=1&step=1"), ("/batch", "at=1"), ("/categories", "at=1&q=a"),
             ("/decided", ""), ("/photo/1/96", ""))  # fmt: skip
    statuses = []
    for path, query in pages:
        request = Request(path=path.encode(), query=query.encode(), headers=headers)
        (answer,) = ask(app, [request])
        if answer.status == 503:
            raise VitrinaError("the page says what is damaged")
        expect(answer.status < 500, f"HTTP {answer.status}: {path}")
        statuses.append(answer.status)
    return statuses


def _export(place: Path, _: Path) -> Answer:
    from vitrina import api

    store = _open(place)
    out = place.parent / "tmp"
    told = [
        api.export_decisions(store, out / name) for name in ("out.csv", "out.parquet", "out.json")
    ]
    return [told, (out / "out.json").read_text(encoding="utf-8")]


def _embed(place: Path, seeds: Path) -> Answer:
    from vitrina import api

    store = api.Store.open(place)
    with closing(api.open_batch(seeds / "second.csv", store, complete=True)) as catalogue:
        api.embed(catalogue, store, prune=True, accept_changes=True, max_failures=1.0)
    return _contents(place)


def _compact(place: Path, _: Path) -> Answer:
    from vitrina import api

    api.compact(_open(place), keep=1)
    return _contents(place)


def _contents(place: Path) -> Answer:
    """The tables of products and vectors, by their content's checksum."""
    manifest = _open(place).manifest
    shards = [entry for space in manifest.spaces.values() for entry in space.shards]
    return sorted(entry.sha256 for entry in (*manifest.products, *shards))


def _repair(place: Path, _: Path) -> Answer:
    from vitrina import api

    report = api.verify(place, repair=True)
    if {one.file for one in report.problems} <= set(report.repaired):
        left = api.verify(place).problems
        expect(not left, f"repaired, and not whole: {left[:1]}")
    return None


def _index(place: Path, _: Path) -> Answer:
    from vitrina import api

    store = _open(place)
    api.build_index(store, "text")
    return _neighbours(place, place)["text"]


def _decide(place: Path, _: Path) -> Answer:
    from vitrina.store.decisions import Decision, add_decisions
    from vitrina.types import Action

    store = _open(place)
    one = store.products.ids[0].as_py()
    made = Decision(product_id=one, action=Action.SKIP, given=None, category=None, reviewer="A")
    add_decisions(store.files, store.products, [made])
    return len(_open(place).decisions().all)


def _report(place: Path, _: Path) -> Answer:
    """The report of the stored audit, with photos."""
    from vitrina.audit.results import Audit
    from vitrina.pipelines.audit.job import report
    from vitrina.pipelines.audit.options import AuditOptions

    store = _open(place)
    audit = Audit.of(store)
    out = place.parent / "tmp" / "report.html"
    report(store, audit, out, None, AuditOptions())
    page = out.read_text(encoding="utf-8")
    return page[page.index("<body") :] if "<body" in page else page


def _train(place: Path, _: Path) -> Answer:
    from vitrina import api

    api.train(_open(place), "logistic", features="text", epochs=1)
    return None


def _rounded(rows: Any) -> Any:
    if isinstance(rows, float):
        return round(rows, 4)
    if isinstance(rows, dict):
        return {key: _rounded(value) for key, value in rows.items()}
    if isinstance(rows, (list, tuple)):
        return [_rounded(value) for value in rows]
    return rows


_OPERATIONS: dict[str, Callable[[Path, Path], Answer]] = {
    "info": _info,
    "verify": _verify,
    "classify": _classify,
    "neighbours": _neighbours,
    "vectors": _vectors,
    "audit": _audit,
    "review": _review,
    "export": _export,
    "embed": _embed,
    "compact": _compact,
    "repair": _repair,
    "index": _index,
    "decide": _decide,
    "report": _report,
    "train": _train,
}
