"""Plain mutations of bytes, and of values as JSON has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

INTERESTING = (
    0, 1, -1, 2, 7, 8, 16, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536,
    2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -(2**63), 2**64 - 1,
)  # fmt: skip

PATHS = (
    "../outside/victim.txt",
    "../../outside/victim.txt",
    "../../../outside/victim.txt",
    "models/../../outside/victim.txt",
    "products/../../outside/victim.txt",
    "spaces/../../outside/folder",
    "retired/../../outside/victim.txt",
    "OUTSIDE/victim.txt",
    "OUTSIDE/folder",
    "OUTSIDE/folder/victim.parquet",
    "..",
    ".",
    "",
    "~/x",
    "products",
    "products/",
    "store.json",
    ".lock",
    "manifests/00000001.json",
    "a/./b",
    "a//b",
    "..\\..\\outside\\victim.txt",
    "link/victim.txt",
    "link.txt",
    "x\0y",
    "part-\n.parquet",
)
"""Names of files that are none of an input's; OUTSIDE stands for the folder's absolute path.
None is a file of the machine: a Vitrina with a fault would delete it."""


def mutated(data: bytes, draw: Random, others: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Bytes with one to eight mutations. others: files to take blocks from. tokens: words of the
    format."""
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4, 8))):
        data = draw.choice(_BYTES)(data, draw, others, tokens)
        if len(data) > 8_000_000:
            data = data[:8_000_000]
    return data


def _flip(data: bytes, draw: Random, *_: Any) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        if changed:
            changed[_at(changed, draw)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _set(data: bytes, draw: Random, *_: Any) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 2, 8))):
        if changed:
            changed[_at(changed, draw)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(changed)


def _cut(data: bytes, draw: Random, *_: Any) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _remove(data: bytes, draw: Random, *_: Any) -> bytes:
    start, stop = _block(data, draw)
    return data[:start] + data[stop:]


def _repeat(data: bytes, draw: Random, *_: Any) -> bytes:
    start, stop = _block(data, draw)
    times = draw.choice((1, 1, 2, 10, 300))
    times = max(1, min(times, 4_000_000 // max(1, stop - start)))
    return data[:stop] + data[start:stop] * times + data[stop:]


def _exchange(data: bytes, draw: Random, *_: Any) -> bytes:
    start, stop = _block(data, draw)
    middle = draw.randint(start, stop) if stop > start else start
    return data[:start] + data[middle:stop] + data[start:middle] + data[stop:]


def _splice(data: bytes, draw: Random, others: Sequence[bytes], _: Any) -> bytes:
    other = draw.choice(others) if others else data
    start, stop = _block(other, draw)
    at, until = _block(data, draw)
    return data[:at] + other[start:stop] + data[draw.choice((at, until)) :]


def _token(data: bytes, draw: Random, _: Any, tokens: Sequence[bytes]) -> bytes:
    token = draw.choice(tokens) if tokens else b"\0"
    at = _at(data, draw) if data else 0
    return data[:at] + token + data[at + draw.choice((0, len(token))) :]


def _integer(data: bytes, draw: Random, *_: Any) -> bytes:
    size = draw.choice((1, 2, 4, 8))
    value = draw.choice(INTERESTING) % (1 << (8 * size))
    at = _at(data, draw) if data else 0
    content = value.to_bytes(size, draw.choice(("little", "big")))
    return data[:at] + content + data[at + size :]


def _number(data: bytes, draw: Random, *_: Any) -> bytes:
    """Digits that become another number."""
    places = [at for at, byte in enumerate(data[:200_000]) if 0x30 <= byte <= 0x39]
    if not places:
        return data
    start = draw.choice(places)
    stop = start
    while stop < len(data) and 0x30 <= data[stop] <= 0x39:
        stop += 1
    number = str(draw.choice((*INTERESTING, 10**30, 10**400))).encode()
    return data[:start] + draw.choice((number, b"9" * 5000, b"1e999", b"NaN")) + data[stop:]


def _blank(data: bytes, draw: Random, *_: Any) -> bytes:
    start, stop = _block(data, draw)
    return data[:start] + bytes((draw.choice((0, 0x20, 0xFF)),)) * (stop - start) + data[stop:]


def _noise(data: bytes, draw: Random, *_: Any) -> bytes:
    at = _at(data, draw) if data else 0
    return data[:at] + draw.randbytes(draw.choice((1, 4, 32, 1000))) + data[at:]


Mutation = Callable[[bytes, Random, Sequence[bytes], Sequence[bytes]], bytes]
_BYTES: tuple[Mutation, ...] = (
    _flip, _flip, _set, _cut, _remove, _repeat, _exchange, _splice, _token, _token,
    _integer, _integer, _number, _blank, _noise,
)  # fmt: skip


def _at(data: bytes | bytearray, draw: Random) -> int:
    """A place; often near the start or the end, where headers and footers stand."""
    size = len(data)
    most = draw.choice((size, size, min(size, 64), min(size, 512)))
    at = draw.randrange(most)
    return size - 1 - at if draw.random() < 0.25 else at


def _block(data: bytes, draw: Random) -> tuple[int, int]:
    if not data:
        return 0, 0
    start = _at(data, draw)
    longest = draw.choice((4, 16, 64, 1024, len(data)))
    return start, min(len(data), start + draw.randint(1, longest))


# -- values ---------------------------------------------------------------------------------------

DEEP = "@DEEP@"
LONG = "@LONG@"
"""Stand for what can't be written as a value: a nesting of 100,000, a number of 5,000 digits."""


def odd_value(draw: Random, outside: str) -> Any:
    """A value that is hardly ever what a field expects."""
    return draw.choice(
        (
            lambda: None,
            lambda: draw.choice((True, False)),
            lambda: draw.choice(INTERESTING),
            lambda: draw.choice((10**9, 10**18, 10**30, -(10**9))),
            lambda: draw.choice((0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"))),
            lambda: draw.choice(PATHS).replace("OUTSIDE", outside),
            lambda: draw.choice(("", "x", "1", "text", "image", "fused", "x" * 10_000, "\ud800")),
            lambda: draw.choice(("🙂", "тест", "a\0b", "\u202e", "<script>alert(1)</script>")),
            list,
            dict,
            lambda: [0] * draw.choice((1, 3, 10_000)),
            lambda: [None],
            lambda: {"x": 1},
            lambda: [[[[]]]],
            lambda: DEEP,
            lambda: LONG,
        )
    )()


def mutated_value(value: Any, draw: Random, outside: str, times: int | None = None) -> Any:
    """A value of JSON's types, changed in one to four places."""
    value = json.loads(json.dumps(value))
    for _ in range(times or draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(value))
        if not places:
            return odd_value(draw, outside)
        owner, key = draw.choice(places)
        way = draw.randrange(9)
        if way == 0 and isinstance(owner, dict):
            del owner[key]
        elif way == 1 and isinstance(owner, list):
            owner.insert(key, owner[key])
        elif way == 2 and isinstance(owner, list):
            del owner[key]
        elif way == 3 and isinstance(owner, dict):
            owner[draw.choice((*PATHS, "x", key + "x")).replace("OUTSIDE", outside)] = owner.pop(
                key
            )
        elif way == 4:
            other, place = draw.choice(places)
            # One that is nested too deeply to be copied stays where it is.
            with suppress(RecursionError):
                owner[key] = json.loads(json.dumps(other[place]))
        elif way == 5 and type(owner[key]) in (int, float):
            owner[key] = draw.choice((owner[key] + 1, owner[key] - 1, -owner[key], 2 * owner[key]))
        elif way == 6 and isinstance(owner[key], str):
            owner[key] = draw.choice(PATHS).replace("OUTSIDE", outside)
        else:
            owner[key] = odd_value(draw, outside)
    return value


def written(value: Any, draw: Random | None = None) -> bytes:
    """JSON of a value, with what stands for the unwritable written out."""
    text = json.dumps(value, ensure_ascii=True, indent=1, sort_keys=True)
    text = text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000)
    text = text.replace(f'"{LONG}"', "9" * 5000)
    if draw is not None and draw.random() < 0.1:
        # Twice the same key, a comment, a byte order mark, text after the end.
        text = draw.choice(
            (
                text.replace("{", '{"a": 1, "a": 2, ', 1),
                f"// x\n{text}",
                f"\ufeff{text}",
                text + "{}",
            )
        )
    return text.encode("utf-8")


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in a value, as its owner and its key; a long list's first and last few."""
    if isinstance(value, dict):
        keys: list[Any] = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value))) if len(value) < 40 else [0, 1, len(value) - 1]
    else:
        return
    for key in keys:
        yield value, key
        yield from _places(value[key])
