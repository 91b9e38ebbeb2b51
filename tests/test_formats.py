"""The formats on disk: files, JSON keys and Parquet columns of a store, its predictions and audit.

`formats.json` was written by an earlier version. A difference is a change of format: readers of
older stores, and other programs, depend on it. After an intended change, run this file as a
program to write `formats.json` again.
"""

import json
import re
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import vitrina as vt
from support.stores import put_products, put_space, row
from support.vectors import units
from vitrina.sample import write_sample
from vitrina.store import segments

FORMATS = Path(__file__).parent / "formats.json"
# Names of content: a checksum, a number of a commit or a part, a generated key.
_CHANGING = re.compile(r"[0-9a-f]{12}|[0-9]{5,8}")
# Objects whose keys are data.
_MAPS = {"encoders", "files", "indexes", "models", "spaces", "stages", "reasons", "versions"}


def made(folder: Path) -> Path:
    """A folder with a store that has all kinds of files, its predictions, and its audit's table."""
    sample = write_sample(folder / "sample", products=120, seed=0)
    store = vt.Store.open(folder / "store", create=True)
    catalogue = vt.Catalogue.read(sample.train, images=sample.images)
    vt.embed(catalogue, store, text="lexical", image="thumbnail", max_failures=0.5)
    catalogue.close()
    vt.build_index(store, "fused")
    vt.train(store, "logistic", features="text", epochs=2)
    vt.audit(store, folder / "report.html", features="text", folds=2)
    batch = vt.open_batch(sample.test, store)
    vt.classify_to(batch, store, folder / "predictions.parquet")
    batch.close()
    with pytest.MonkeyPatch.context() as patch:
        # As a space of thousands of shards is kept.
        patch.setattr(segments, "LEAST", 0)
        patch.setattr(segments, "UNIT", 1)
        large = vt.Store.create(folder / "large")
        put_products(large, [row(1, "чайник")])
        put_space(large, "text-m", [([1], ["чайник"], units(1, 4).astype("float16"))])
    return folder


def described(folder: Path) -> dict[str, object]:
    """Each file of a store and beside it, with its keys and types or columns."""
    found: dict[str, object] = {}
    files = [*(folder / "store").rglob("*"), *folder.glob("*.parquet")]
    files += [folder / "large" / "store.json", *(folder / "large").rglob("*shards-*.json")]
    files += [max((folder / "large" / "manifests").glob("0*.json"))]
    for path in sorted(one for one in files if one.is_file()):
        name = _CHANGING.sub("*", path.relative_to(folder).as_posix())
        if path.suffix == ".json":
            found[name] = shape_of(json.loads(path.read_bytes()))
        elif path.suffix == ".parquet":
            found[name] = [f"{one.name}: {one.type}" for one in pq.read_schema(path)]
        else:
            found.setdefault(name, "bytes")
    return found


def shape_of(value: object, key: str = "") -> object:
    """The keys of JSON objects with their values' types, and the type of a list's items."""
    if isinstance(value, dict):
        if key in _MAPS and value:
            return {"*": shape_of(next(iter(value.values())))}
        return {name: shape_of(one, name) for name, one in sorted(value.items())}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


@pytest.mark.slow
def test_formats_are_those_of_an_earlier_version(tmp_path):
    assert described(made(tmp_path)) == json.loads(FORMATS.read_text(encoding="utf-8"))


def test_a_changed_key_is_a_difference():
    before, after = {"a": [{"b": 1}]}, {"a": [{"c": 1}]}
    assert shape_of(before) == {"a": [{"b": "number"}]} != shape_of(after)


if __name__ == "__main__":
    shape = described(made(Path(sys.argv[1])))
    FORMATS.write_text(json.dumps(shape, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
