"""XML of any size as a stream of elements, in bounded memory, with nothing fetched or expanded.

A feed comes from outside and is taken for hostile: entities stay unexpanded, no other file and
no network address is opened, and whatever would have to be held whole has a limit.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from vitrina.data.readers.text_tables import Bytes, open_bytes, read_errors
from vitrina.errors import CatalogueError

LONGEST_ELEMENT = 1 << 23
"""Bytes that one element may take: a tag left open must not swallow the rest of the file."""

LONGEST_PROLOGUE = 1 << 16
"""Bytes before the outermost tag."""

_BLOCK = 1 << 15
_NAMESPACE_ERRORS = range(etree.ErrorTypes.NS_ERR_XML_NAMESPACE, etree.ErrorTypes.NS_ERR_COLON + 1)
_BOM = b"\xef\xbb\xbf"
# Where the parser gives up on purpose, it says so in these words, and hints at its own switches.
_LIMITS = ("HUGE", "too big", "too long", "amplification", "reference loop")
_HINTS = (", try XML_PARSE_HUGE", ", use XML_PARSE_HUGE", " use XML_PARSE_HUGE", ", see xml")


class BrokenXmlError(CatalogueError):
    """The XML breaks off or is malformed somewhere; what stands before that was read."""


def elements(path: Path, root: str, whole: str) -> Iterator[tuple[Sequence[str], Any]]:
    """Give each element as it ends, with the tags of those around it, outermost first.

    An element `whole` comes with all that is in it, and what is in it doesn't come by itself;
    every other element comes after those in it, which are empty by then. All of them are emptied
    when the next one is asked for, so none may be kept; nor may the list of tags, which goes on
    to change.

    Args:
        path: XML in any encoding that it declares, perhaps gzipped.
        root: the tag that the outermost element must have.
        whole: the tag of the elements that are wanted in one piece.

    Raises:
        BrokenXmlError: the file is cut short or damaged, or passes a limit; names the line.
        CatalogueError: the file can't be opened, or its root has another tag.
    """
    with read_errors(path), open_bytes(path) as stream:
        source = _Source(path, stream)
        parser = source.parser = etree.iterparse(
            source,
            events=("start", "end"),
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            huge_tree=False,
            remove_comments=True,
            remove_pis=True,
            collect_ids=False,
        )
        above: list[str] = []
        inside = None
        try:
            for event, element in parser:
                if event == "start":
                    if not above:
                        _check_root(path, element, root)
                        source.begun = True
                    above.append(element.tag)
                    if inside is None and element.tag == whole:
                        inside = element
                    continue
                above.pop()
                if inside is not None and element is not inside:
                    continue
                inside = None
                source.mark()
                yield above, element
                element.clear()
                # The parser still holds on to this one, but not to those before it.
                while element.getprevious() is not None:
                    del element.getparent()[0]
        except etree.XMLSyntaxError as err:
            fatal = source.fatal()
            if fatal is not None:
                raise _broken(path, source.skipped + fatal.line, fatal.message) from err
            # An undeclared namespace is reported at the end, and does no harm to what was read.
            if above or err.code not in _NAMESPACE_ERRORS:
                reason = str(err.msg).partition(", line ")[0]
                raise _broken(path, source.skipped + err.position[0], reason) from err
        except (OSError, EOFError, zlib.error) as err:
            raise _broken(path, source.lines + 1, str(err)) from err
        finally:
            source.parser = None


def _check_root(path: Path, element: Any, tag: str) -> None:
    if element.tag != tag:
        raise CatalogueError(
            f"{path}: XML whose outermost tag is <{element.tag}>, where a YML feed has <{tag}>; "
            "give a YML feed, or a table as CSV"
        )
    dtd = element.getroottree().docinfo.internalDTD
    for entity in () if dtd is None else dtd.iterentities():
        # lxml gives elements that stand in an entity as if they stood in the document, and frees
        # them under our hands when the document turns out damaged: memory would be corrupted.
        if entity.content is None or "<" in entity.content or "&" in entity.content:
            raise BrokenXmlError(
                f"{path}: its DOCTYPE declares the entity {entity.name!r}, which is more than "
                "plain text and might be an attack; export the feed without it"
            )


class _Source:
    """A file's bytes as the parser takes them, counted: for line numbers, and for limits.

    Attributes:
        parser: who reads here.
        begun: whether the parser has come to the outermost tag. Until then it gets a byte at a
            time, so that nothing has been parsed when what stands before that tag is checked.
        lines: how many lines have been read to their end.
        skipped: how many of these stood before the first character; XML may have none there,
            but feeds do.
    """

    def __init__(self, path: Path, stream: Bytes) -> None:
        self.parser: Any = None
        self.begun = False
        self._path = path
        self._stream = stream
        head = stream.read1(_BLOCK)
        mark = _BOM if head.startswith(_BOM) else b""
        text = mark + head.removeprefix(mark).lstrip()
        self._block = io.BytesIO(text)
        self.lines = self.skipped = head.count(b"\n") - text.count(b"\n")
        self._since_mark = 0

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end, or once the parser has stopped at an error."""
        # It would take what follows the error for a new document.
        if self.fatal() is not None:
            return b""
        limit = LONGEST_ELEMENT if self.begun else LONGEST_PROLOGUE
        if self._since_mark > limit:
            raise BrokenXmlError(
                f"{self._path}: nothing ends in the {limit >> 10} KB before line "
                f"{self.lines + 1}: a tag or a quote is left open, or one offer is as large"
            )
        # By the first four it finds out the encoding.
        wanted = -1 if self.begun else 1 if self._since_mark else 4
        block = self._block.read(wanted)
        if not block:
            self._block = io.BytesIO(self._stream.read1(size))
            block = self._block.read(wanted)
        self.lines += block.count(b"\n")
        self._since_mark += len(block)
        return block

    def mark(self) -> None:
        """Take note that an element has ended."""
        self._since_mark = 0

    def fatal(self) -> Any:
        """The parser's note of the error that stopped it; None while it runs."""
        log = self.parser.error_log
        return next((entry for entry in log if entry.level == etree.ErrorLevels.FATAL), None)


def _broken(path: Path, line: int, reason: str) -> BrokenXmlError:
    limited = any(word in reason for word in _LIMITS)
    for hint in _HINTS:
        reason = reason.partition(hint)[0]
    what = "past a limit that guards memory" if limited else "cut short or damaged"
    reason = " ".join(reason.split())
    if reason in ("", "(null)"):
        reason = "not well-formed XML"
    return BrokenXmlError(f"{path}: {what} at line {max(line, 1)}: {reason}; export it anew")
