"""Detection of a feed's encoding by its bytes, since the declaration is often wrong.

UTF-8 is distinguished from other encodings with certainty, and Cyrillic code pages from each other
by letter frequencies. The declaration decides only if the bytes leave the encoding open.
"""

from __future__ import annotations

import codecs
import io
import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from vitrina.data.readers.text_tables import open_bytes, read_errors, unknown_encoding

_HEAD = 1 << 20
_BLOCK = 1 << 16
_SAMPLE = 1 << 18
# This many invalid sequences are conclusive.
_ENOUGH = 20_000

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "iso8859-5")
_SPOKEN = {"cp1251": "windows-1251", "cp1252": "windows-1252", "iso8859-5": "ISO-8859-5"}

# A declaration may also be in PHP, with escaped quotes: "?xml version=\"1.0\" encoding=\"...".
_DECLARED = re.compile(
    r"\?xml\b[^<>]{0,200}?\bencoding\s*=\s*\\?[\"']\s*([A-Za-z][\w.:-]*)", re.IGNORECASE
)
_WINDOWS = re.compile(r"^(?:win|windows|cp)[-_ ]?(125[0-9])$", re.IGNORECASE)
_ROOT = re.compile(r"<(?:yml_catalog|shop)\b", re.IGNORECASE)
# Non-ASCII letters of other languages occur singly among ASCII ones; Cyrillic words are runs.
_WORD = re.compile(rb"[\x80-\xff]{3,}")
_HIGH = re.compile(rb"[\x80-\xff]+")
_INVERTED = re.compile("[а-яё][А-ЯЁ]")

# Frequency of letters per thousand in Russian text, with Ukrainian and Belarusian letters.
_FREQUENCY = dict(
    zip("оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёієїґў", (
        110, 85, 80, 74, 67, 63, 55, 47, 45, 44, 35, 32, 30, 28, 26, 20, 19, 17, 17, 17, 16, 14,
        12, 10, 9, 7, 6, 5, 4, 3, 3, 1, 1, 5, 1, 1, 1, 1,
    ), strict=True)
)  # fmt: skip
_SIGNS = frozenset("«»—–№°…„“”’•®©™±×²³µ\xa0")
_PLAUSIBLE = -4.3
"""Minimum mean log frequency of a character, in nats, for text to count as Cyrillic. Russian text
has about -3; its bytes decoded in another code page have -6 or less."""
_ADVANTAGE = 10.0
"""Log-likelihood in nats by which another code page must exceed the declared one."""


@dataclass(frozen=True)
class FeedEncoding:
    """Codec of a feed, with a note for the user if it is unexpected."""

    codec: str
    note: str = ""


def find_encoding(path: Path, given: str | None) -> FeedEncoding:
    """Detect a feed's encoding by reading the feed in bounded memory, if necessary to its end.

    Args:
        path: the feed, gzipped or not.
        given: the encoding named by the user, which is then used; None to detect it.

    Raises:
        CatalogueError: the file can't be opened, or `given` is no known encoding.
    """
    if given is not None and _codec(given) is None:
        raise unknown_encoding(path, given)
    with read_errors(path), open_bytes(path) as stream:
        head = read_head(stream)
        tally = _Tally()
        tally.add_all(io.BytesIO(head))
        tally.add_all(stream)
    if given is not None:
        return FeedEncoding(given, _warning(given, tally))
    text = decode_head(head)
    root = _ROOT.search(text)
    declared = _DECLARED.search(text, 0, root.start() if root else len(text))
    name = declared[1] if declared else None
    wide = wide_codec(head)
    if wide is None:
        return _decide(name, tally)
    odd = name is not None and (_codec(name) or "")[:6] != wide[:6]
    return FeedEncoding(wide, _note(name, wide) if odd else "")


def read_head(stream: io.BufferedReader) -> bytes:
    """Read the first bytes of a file, at most 1 MB, as far as they are readable."""
    head = b""
    try:
        while len(head) < _HEAD and (block := stream.read1(_HEAD - len(head))):
            head += block
    except (OSError, EOFError, zlib.error):
        # Reading the file further raises the error.
        return head
    return head


def wide_codec(head: bytes) -> str | None:
    """Detect UTF-16, or UTF-32 with a byte order mark; None for any other encoding."""
    for mark, codec in _BOMS:
        if head.startswith(mark):
            return codec
    sample = head[:2000]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) <= len(sample) / 8 or min(even, odd) > max(even, odd) / 8:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def decode_head(head: bytes) -> str:
    """Decode the start of a file to text in which at least the ASCII characters are correct."""
    codec = wide_codec(head)
    text = head.decode("latin-1") if codec is None else head.decode(codec, "replace")
    return text.removeprefix("\ufeff").removeprefix("ï»¿")


@dataclass
class _Tally:
    """Counts of valid and invalid UTF-8 in a file, and a sample of possible words.

    valid: about the number of non-ASCII characters. bad: invalid sequences. high, words: non-ASCII
    bytes of the sampled blocks, and the runs of three or more among them.
    """

    valid: int = 0
    bad: int = 0
    high: int = 0
    words: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def add_all(self, stream: io.BufferedReader | io.BytesIO) -> None:
        """Add the rest of a stream, as far as it is readable; a later read raises its error."""
        try:
            while not self._is_plain() and (block := stream.read1(_BLOCK)):
                self.add(block)
        except (OSError, EOFError, zlib.error):
            return

    def _is_plain(self) -> bool:
        return self.bad > _ENOUGH and self.bad > 10 * self.valid

    def add(self, block: bytes) -> None:
        """Add the next bytes."""
        try:
            text = self._decoder.decode(block)
            # About the number of non-ASCII characters, most of which take two bytes.
            self.valid += max(len(block) - len(text), 0)
        except UnicodeDecodeError:
            self._decoder.errors = "replace"
            text = self._decoder.decode(block)
            self._decoder.errors = "strict"
            bad = text.count("\ufffd")
            self.bad += bad
            self.valid += len(text) - len(text.encode("ascii", "ignore")) - bad
            if len(self.words) < _SAMPLE:
                block = block[:_SAMPLE]
                self.high += len(block) - len(_HIGH.sub(b"", block))
                self.words += b" ".join([b"", *_WORD.findall(block)])


def _decide(name: str | None, tally: _Tally) -> FeedEncoding:
    declared = _codec(name) if name else None
    if tally.valid >= tally.bad:
        odd = tally.valid and name is not None and declared != "utf-8"
        return FeedEncoding("utf-8", _note(name, "utf-8") if odd else "")
    in_words = len(tally.words) - tally.words.count(b" ")
    if 2 * in_words >= tally.high and in_words:
        scores = {codec: _score(bytes(tally.words), codec) for codec in _CYRILLIC}
        best = max(scores, key=lambda codec: scores[codec])
        if scores[best] / in_words > _PLAUSIBLE:
            if declared is not None and declared != "utf-8":
                lag = scores[best] - _score(bytes(tally.words), declared)
                if lag < _ADVANTAGE:
                    return FeedEncoding(declared)
            return FeedEncoding(best, _note(name, best))
    if declared is not None and declared != "utf-8":
        return FeedEncoding(declared)
    claim = f"declares {name}" if name else "declares no encoding"
    return FeedEncoding(
        "utf-8",
        f"the feed {claim}, and bytes of it are neither UTF-8 nor Cyrillic in any usual encoding; "
        "read as UTF-8, those bytes replaced; name the encoding with --encoding",
    )


def _score(words: bytes, codec: str) -> float:
    """Return the log-likelihood of the words in Russian, with independent letters."""
    text = words.decode(codec, "replace")
    total = sum(count * _weight(character) for character, count in Counter(text).items())
    # Capitals start words or fill whole words, but don't follow lower-case letters.
    return total - 3 * len(_INVERTED.findall(text))


def _weight(character: str) -> float:
    if character == " ":
        return 0.0
    if (frequency := _FREQUENCY.get(character)) is not None:
        return math.log(frequency / 1000)
    if (frequency := _FREQUENCY.get(character.lower())) is not None:
        return math.log(frequency / 1000) - 0.3
    return math.log(0.002 if character in _SIGNS else 1e-5)


def _codec(name: str) -> str | None:
    """Return Python's name of a text encoding; None if there is no such encoding."""
    name = _WINDOWS.sub(r"cp\1", name)
    try:
        b"".decode(name)
        found = codecs.lookup(name)
        # `rot13` and `zip` do not decode bytes to text.
        return found.name if found._is_text_encoding else None
    except (LookupError, ValueError):
        return None


def _note(name: str | None, codec: str) -> str:
    spoken = _SPOKEN.get(codec, codec.upper())
    if codec in _CYRILLIC:
        claim = f"the feed declares {name or 'no encoding'}, but its letters are {spoken}"
    else:
        claim = f"the feed declares {name}, but its bytes are {spoken}"
    return f"{claim}; read as {spoken}"


def _warning(given: str, tally: _Tally) -> str:
    if _codec(given) == "utf-8" or not tally.valid or tally.valid < tally.bad:
        return ""
    return f"the feed was read as {given}, as --encoding says, but its bytes are valid UTF-8"
