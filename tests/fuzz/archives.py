"""Archives and Office documents with hostile entries, headers and sizes."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from random import Random

from fuzz.mutate import INTERESTING, PATHS, mutated

Entries = list[tuple[str, bytes]]


def hostile_tar(entries: Entries, draw: Random, outside: str) -> bytes:
    """A tar whose headers name what they should not, with checksums that fit."""
    file = io.BytesIO()
    kinds = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
             tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE)  # fmt: skip
    form = draw.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT))
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if draw.random() < 0.15:
                entry.type = draw.choice(kinds)
                entry.linkname = draw.choice(PATHS).replace("OUTSIDE", outside).replace("\0", "")
            if draw.random() < 0.1:
                entry.name = (
                    draw.choice(PATHS).replace("OUTSIDE", outside).replace("\0", "") + ".jpg"
                )
            if draw.random() < 0.1:
                entry.name = draw.choice(
                    ("a" * 5000 + ".jpg", name, "\udcff.jpg", name + "/" + name)
                )
            if form == tarfile.PAX_FORMAT and draw.random() < 0.2:
                entry.pax_headers = {
                    draw.choice(("size", "path", "linkpath", "GNU.sparse.size", "mtime", "x")): (
                        draw.choice(("-1", "99999999999999", "x", "1e9", "9" * 5000, "\u202e", ""))
                    )
                }
            try:
                archive.addfile(entry, io.BytesIO(data))
            except (ValueError, UnicodeError, OverflowError):
                continue
    content = bytearray(file.getvalue())
    for _ in range(draw.choice((0, 0, 1, 2))):
        _odd_header(content, draw)
    return bytes(content)


def _odd_header(content: bytearray, draw: Random) -> None:
    """One field of a header changed, and its checksum made right."""
    starts = [
        at for at in range(0, len(content) - 511, 512) if content[at + 257 : at + 262] == b"ustar"
    ]
    if not starts:
        return
    at = draw.choice(starts)
    field, size = draw.choice(((100, 8), (124, 12), (136, 12), (156, 1), (157, 100), (345, 155)))
    value = draw.choice(
        (
            b"\x80" + bytes(size - 1),
            b"\xff" * size,
            b"7" * size,
            b" " * size,
            draw.randbytes(size),
            bytes(size),
        )
    )
    content[at + field : at + field + size] = value[:size]
    content[at + 148 : at + 156] = b" " * 8
    content[at + 148 : at + 156] = b"%06o\0 " % sum(content[at : at + 512])


def hostile_zip(entries: Entries, draw: Random, outside: str) -> bytes:
    """A zip whose directory names what it should not."""
    file = io.BytesIO()
    method = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries:
            if draw.random() < 0.1:
                name = draw.choice(PATHS).replace("OUTSIDE", outside) + ".jpg"
            entry = zipfile.ZipInfo(name[:60_000])
            entry.compress_type = method
            if draw.random() < 0.1:
                # A symbolic link.
                entry.external_attr = 0o120777 << 16
                data = outside.encode() + b"/victim.txt"
            archive.writestr(entry, data)
        if draw.random() < 0.1:
            archive.comment = b"PK\x05\x06" * 1000
    content = bytearray(file.getvalue())
    for _ in range(draw.choice((0, 0, 1, 2, 4))):
        mark = draw.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
        at = content.find(mark, draw.randrange(len(content)))
        if at >= 0:
            place, size = at + 4 + 2 * draw.randrange(20), draw.choice((2, 4))
            value = draw.choice(INTERESTING) % (1 << (8 * size))
            content[place : place + size] = value.to_bytes(size, "little")
    return bytes(content)


def changed_zip(data: bytes, draw: Random, others: list[bytes], tokens: tuple[bytes, ...]) -> bytes:
    """A zip of which one to three members are changed, their checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(draw.choice((1, 1, 2, 3))):
        name = draw.choice(list(members))
        way = draw.random()
        if way < 0.1:
            del members[name]
            if not members:
                break
        elif way < 0.2:
            members[name] = draw.choice(list(members.values()))
        else:
            members[name] = mutated(members[name], draw, others, tokens)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def bloated_zip(
    data: bytes, name: str, before: bytes, unit: bytes, times: int, after: bytes
) -> bytes:
    """A zip of which one member is replaced by a very long one of few compressed bytes."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as archive,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for one in archive.namelist():
            if one != name:
                new.writestr(one, archive.read(one))
        with new.open(name, "w", force_zip64=True) as member:
            member.write(before)
            block = unit * max(1, (1 << 20) // len(unit))
            for _ in range(max(1, times * len(unit) // len(block))):
                member.write(block)
            member.write(after)
    return file.getvalue()


def shared_text_bomb(workbook: bytes) -> bytes:
    """An .xlsx file of which 200,000 cells share a text of a megabyte."""
    space = b'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    row = b"<row>" + b'<c t="s"><v>0</v></c>' * 10 + b"</row>"
    sheet = b"<worksheet %s><sheetData>" % space, row, 20_000, b"</sheetData></worksheet>"
    texts = b"<sst %s><si><t>" % space, b"x", 1 << 20, b"</t></si></sst>"
    content = bloated_zip(workbook, "xl/worksheets/sheet1.xml", *sheet)
    return bloated_zip(content, "xl/sharedStrings.xml", *texts)


def repeated_cell_bomb() -> bytes:
    """An .ods file of which one cell of 30,000 characters stands in 40,000 columns."""
    return ods([["product_id", "title"], [1, "x" * 30_000]], repeated=40_000)


def ods(rows: list[list[object]], repeated: int = 1) -> bytes:
    """A small OpenDocument spreadsheet. repeated: how often each cell of text stands there."""
    times = f' table:number-columns-repeated="{repeated}"' if repeated > 1 else ""
    cells = "".join(
        "<table:table-row>"
        + "".join(
            f'<table:table-cell office:value-type="float" office:value="{cell}"/>'
            if isinstance(cell, int)
            else f'<table:table-cell{times} office:value-type="string"><text:p>{cell}</text:p>'
            "</table:table-cell>"
            for cell in row
        )
        + "</table:table-row>"
        for row in rows
    )
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (("office", "office"), ("table", "table"), ("text", "text"))
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces}>'
        '<office:body><office:spreadsheet><table:table table:name="one">'
        f"{cells}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    manifest = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest='
        '"urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("content.xml", content)
    return file.getvalue()


def xls(
    rows: list[list[object]], change: Callable[[bytes], bytes] = lambda stream: stream
) -> bytes:
    """A small Excel 97 workbook (BIFF8 in a compound file) of one sheet. change: what is done to
    its records before they are put into the file."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    start = struct.pack("<HHHHII", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0, 6)
    page = struct.pack("<HHHHII", 0x0600, 0x0010, 0x0DBB, 0x07CC, 0, 6)
    name = b"one"
    before = record(0x0809, start)
    sheet_at = len(before) + 4 + 8 + len(name) + 4
    before += record(0x0085, struct.pack("<IHBB", sheet_at, 0, len(name), 0) + name)
    before += record(0x000A, b"")
    cells = record(0x0809, page)
    cells += record(0x0200, struct.pack("<IIHHH", 0, len(rows), 0, len(rows[0]), 0))
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if isinstance(cell, int):
                cells += record(0x0203, struct.pack("<HHHd", y, x, 0, cell))
            else:
                text = str(cell).encode("utf-16-le")
                head = struct.pack("<HHHHB", y, x, 0, len(text) // 2, 1)
                cells += record(0x0204, head + text)
    stream = change(before + cells + record(0x000A, b""))[:60_000]
    stream = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
    return _compound_file(stream)


def _compound_file(stream: bytes) -> bytes:
    """An OLE compound file of one stream, `Workbook`: header, allocation table, directory."""
    sectors = len(stream) // 512
    none, end, table = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
    chain = [table, end, *range(3, 2 + sectors), end]
    fat = struct.pack("<128I", *(chain + [none] * 128)[:128])
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    header += struct.pack("<HHHHH6x", 0x3E, 3, 0xFFFE, 9, 6)
    header += struct.pack("<IIIIIIIIII", 0, 1, 1, 0, 4096, end, 0, end, 0, 0)
    header = header[:512].ljust(512, b"\xff")

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        text = name.encode("utf-16-le") + b"\0\0"
        body = text.ljust(64, b"\0") + struct.pack("<HBBIII", len(text), kind, 1, none, none, child)
        return body + bytes(36) + struct.pack("<IQ", start, size)

    folder = entry("Root Entry", 5, 1, end, 0) + entry("Workbook", 2, none, 2, len(stream))
    return header + fat + folder.ljust(512, b"\0") + stream


def gzipped(data: bytes) -> bytes:
    packer = zlib.compressobj(6, wbits=31)
    return packer.compress(data) + packer.flush()
