"""Text stream of a feed: decoded, without template code, with line numbers."""

from __future__ import annotations

import codecs
import io
import zlib

from vitrina.data.readers.feed.markup import Finder
from vitrina.data.readers.feed.php import strip_code
from vitrina.data.readers.feed.repairs import FeedRepair, Repairs

_BLOCK = 1 << 17


class FeedText:
    """Window on a feed's text that has been read but not consumed.

    Attributes:
        text: the window.
        at: the position in it up to which it is consumed.
        line: the line of the file at `at`, from 1.
        ended: whether the window reaches the end of the feed.
        fault: reason why the file can't be read further; None if there is none.
        closes_root: whether template code prints the feed's last end tag.
    """

    def __init__(self, stream: io.BufferedReader, codec: str, repairs: Repairs) -> None:
        """Prepare without reading. repairs: counter of repairs."""
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False
        self.fault: str | None = None
        self.closes_root = False
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)()
        self._repairs = repairs
        self._pending = ""
        self._finders: dict[str, Finder] = {}
        # Positions in the window where line ends were removed, and their number.
        self._gaps: list[tuple[int, int]] = []

    def more(self) -> bool:
        """Read more text and drop consumed text; return False at the end."""
        if self.ended:
            return False
        rest = self.text[self.at :]
        # In growing steps, so that long text is copied only a few times.
        block = self._read(max(_BLOCK, len(rest)))
        stripped = strip_code(self._pending + self._decode(block), final=not block)
        self._pending = stripped.pending
        self._gaps = [(place - self.at, lines) for place, lines in self._gaps]
        self._gaps += [(len(rest) + place, lines) for place, lines in stripped.gaps]
        self.text, self.at = rest + stripped.text, 0
        self._finders.clear()
        self.closes_root |= stripped.closes_root
        self.ended = not block
        if stripped.blocks:
            self._repairs[FeedRepair.PHP] += stripped.blocks
        return True

    def find(self, mark: str, at: int) -> int:
        """Return the first position of a mark in the window from `at` on, -1 if there is none."""
        finder = self._finders.get(mark)
        if finder is None:
            finder = self._finders[mark] = Finder(self.text, mark)
        return finder.find(at)

    def advance(self, to: int) -> None:
        """Consume the window up to `to`."""
        self.line += self.text.count("\n", self.at, to)
        self.at = to
        while self._gaps and self._gaps[0][0] <= to:
            self.line += self._gaps.pop(0)[1]

    def _read(self, size: int) -> bytes:
        try:
            return self._stream.read1(size)
        except (OSError, EOFError, zlib.error) as err:
            self.fault = str(err)
            return b""

    def _decode(self, block: bytes) -> str:
        try:
            return self._decoder.decode(block, not block)
        except UnicodeDecodeError:
            self._decoder.errors = "replace"
            text = self._decoder.decode(block, not block)
            self._decoder.errors = "strict"
            self._repairs[FeedRepair.BYTES] += text.count("\ufffd")
            return text
