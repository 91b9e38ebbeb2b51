"""JSON of strangers: converted strictly, and refused in one line that names the file."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from vitrina.errors import EncoderError, StoreError
from vitrina.typed_json import parse_json, read_json_as
from vitrina.types import Modality


@dataclass(frozen=True)
class _Part:
    path: str
    rows: int


@dataclass(frozen=True)
class _Card:
    parts: tuple[_Part, ...]
    active: Mapping[Modality, str]
    share: float | None = None

    def __post_init__(self):
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError("a share lies between 0 and 1")


def test_a_card_becomes_its_dataclass():
    content = b'{"parts": [{"path": "a", "rows": 3}], "active": {"text": "t"}, "newer": NaN}'
    card = parse_json(content, _Card, "card.json", "make it anew")
    assert card == _Card((_Part("a", 3),), {Modality.TEXT: "t"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"parts": [{"path": 1, "rows": 3}], "active": {}}', r"\$.parts\[0\].path"),
        (b'{"parts": [{"path": "a", "rows": "3"}], "active": {}}', r"\$.parts\[0\].rows"),
        (b'{"parts": [{"path": "a", "rows": true}], "active": {}}', r"\$.parts\[0\].rows"),
        (b'{"parts": [], "active": {"sound": "s"}}', "sound"),
        (b'{"parts": [], "active": {}, "share": 2}', "between 0 and 1"),
        (b'{"active": {}}', "parts"),
        (b"[]", "array"),
        (b"[" * 100_000, "nested too deep"),
        (b"{" + b'"a":{' * 100_000, "nested too deep"),
        (b"\xff", "utf-8"),
        (b'{"parts": [], "active": {"text": "\\ud800"}}', "surrogate"),
        (b"9" * 5000, "digits"),
        (b"", "Expecting value"),
    ],
)
def test_anything_else_is_one_line(content, reason):
    with pytest.raises(StoreError, match=reason) as caught:
        parse_json(content, _Card, "card.json", "make it anew")
    message = str(caught.value)
    assert message.startswith("card.json is not ")
    assert message.endswith("; make it anew")
    assert "\n" not in message


def test_the_file_is_named_and_the_error_is_of_the_kind_asked_for(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(EncoderError, match=r"config\.json is missing; copy it"):
        read_json_as(path, _Card, "copy it", EncoderError)
    path.mkdir()
    with pytest.raises(EncoderError, match=r"config\.json can't be read"):
        read_json_as(path, _Card, "copy it", EncoderError)
