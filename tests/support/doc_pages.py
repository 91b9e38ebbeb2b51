"""The examples of the documentation: found, run in order, compared with what the page shows.

A page's `console` blocks hold commands after `$ ` and below each what it prints; a line `...`
stands for any lines. Its `python` blocks share one namespace; a `text` block right after one is
what that prints. A block with a `title` is written to a file of that name. `<!-- not run: why -->`
above a block leaves it out. Numbers are not compared: they depend on machine and catalogue.

`python -m support.doc_pages` copies the code of English pages into their translations; with a new
folder, and perhaps pages, it runs their examples there first and brings what they print up to date.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.cli import vitrina
from support.doc_inputs import write_start
from support.web_server import Site

DOCS = Path(__file__).parent.parent.parent / "docs"
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<why>.*?) -->\n)?"
    r"```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^```$",
    re.M | re.S,
)
NUMBER = re.compile(r"\d[\d,.]*(?:e[+-]?\d+)?")
CYRILLIC = re.compile("[а-яА-Я]")
ANY = "..."
ERROR = "vitrina: "
QUICKSTART = "quickstart.md"
"""The page that starts from nothing."""


@dataclass(frozen=True)
class Block:
    """A fenced block. start, end: of its code in the page."""

    language: str
    title: str | None
    why_not_run: str | None
    code: str
    start: int
    end: int


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(one["language"], one["title"], one["why"], one["code"], *one.span("code"))
        for one in FENCE.finditer(text)
    ]


def command_lines(text: str) -> Iterator[str]:
    """The lines that run Vitrina in a page's code, fenced or indented."""
    fenced = False
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            found = re.fullmatch(r"(?:\$ |    )?(vitrina [a-z].*)", line)
            if found:
                yield found[1]


def pages_with_examples() -> list[str]:
    """Pages whose examples run: the English ones of the first two sections."""
    found = [DOCS / QUICKSTART, *sorted((DOCS / "guides").glob("*.md"))]
    return [str(one.relative_to(DOCS)) for one in found if not one.name.endswith(".ru.md")]


def translated() -> list[str]:
    """Pages that have a translation."""
    found = sorted(DOCS.rglob("*.ru.md"))
    return [str(one.relative_to(DOCS)).removesuffix(".ru.md") + ".md" for one in found]


def translation_of(page: str) -> Path:
    """File of the Russian version of a page."""
    return DOCS / (page.removesuffix(".md") + ".ru.md")


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the lines that the page shows below it.

    source: as the page has it, perhaps on several lines.
    """

    source: str
    shown: tuple[str, ...]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    at: str | None = None
    shown: list[str] = []
    for line in block.code.splitlines():
        if line.startswith("$ "):
            if at is not None:
                yield Command(at, tuple(shown))
            at, shown = line[2:], []
        elif at is not None and at.endswith("\\") and not shown:
            at += f"\n{line}"
        else:
            shown.append(line)
    if at is not None:
        yield Command(at, tuple(shown))


class _Text(io.TextIOWrapper):
    """A stream in memory that can do what the command line asks of a real one."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


def run(line: str, folder: Path) -> str:
    """Run a command in a folder, Vitrina's in this process; return what it prints.

    A command that fails prints its error too.
    """
    words = shlex.split(line)
    if words[0] == "vitrina":
        out, errors = _Text(), _Text()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(errors),
            contextlib.chdir(folder),
        ):
            code = vitrina(*words[1:])
        return out.text + (errors.text if code else "")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | {"PATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=300,
    )
    return done.stdout


def plain(line: str) -> str:
    """A line without what differs from run to run: numbers, and products of the catalogue."""
    if CYRILLIC.search(line):
        line = re.sub(r"[^\W\d].*", "…", line)
    return " ".join(NUMBER.sub("#", line).split())


def matched(shown: tuple[str, ...], printed: list[str]) -> list[str] | None:
    """What the page should show of the printed lines; None if the shown lines are not in them."""
    found: list[str] = []
    at, floating = 0, False
    for line in shown:
        if line == ANY:
            found.append(line)
            floating = True
            continue
        while floating and at < len(printed) and not _fits(line, printed[at]):
            at += 1
        if at >= len(printed) or not _fits(line, printed[at]):
            return None
        found.append(line if ANY in line else printed[at])
        at, floating = at + 1, False
    return found if floating or at == len(printed) else None


def _fits(shown: str, printed: str) -> bool:
    parts = [re.escape(part) for part in plain(shown).split(ANY)]
    return re.fullmatch(".*".join(parts), plain(printed)) is not None


@dataclass(frozen=True)
class Ran:
    """An example that was run. shown: of the page; printed: now."""

    block: Block
    line: str
    shown: tuple[str, ...]
    printed: list[str]

    @property
    def fresh(self) -> list[str] | None:
        """What the page should show; None if it shows something else, or hides an error."""
        failed = any(line.startswith(ERROR) for line in self.printed)
        if failed and not any(line.startswith(ERROR) for line in self.shown):
            return None
        return matched(self.shown, self.printed)


def run_page(text: str, folder: Path) -> Iterator[Ran]:
    """Run a page's examples in a folder, in order."""
    names: dict[str, object] = {}
    printed: list[str] | None = None
    for block in blocks(text):
        if block.why_not_run is not None:
            printed = None
            continue
        if block.title is not None:
            target = folder / block.title
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.code, encoding="utf-8")
        elif block.language == "console":
            for command in commands(block):
                lines = run(command.source.replace("\\\n", " "), folder).splitlines()
                yield Ran(block, command.source, command.shown, lines)
        elif block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.chdir(folder):
                exec(compile(block.code, "a page's example", "exec"), names)
            printed = out.getvalue().splitlines()
            continue
        elif block.language == "text" and printed is not None:
            yield Ran(block, "python", tuple(block.code.splitlines()), printed)
        printed = None


def brought_up_to_date(text: str, ran: list[Ran]) -> str:
    """The page with the figures of a run."""
    code: dict[Block, str] = {}
    for one in ran:
        fresh = one.fresh
        if fresh is None:
            shown, now = "\n".join(one.shown), "\n".join(one.printed)
            print(f"--- {one.line}\nthe page:\n{shown}\nnow:\n{now}\n")
        head = [] if one.block.language == "text" else [f"$ {one.line}"]
        lines = [*head, *(one.shown if fresh is None else fresh)]
        code[one.block] = code.get(one.block, "") + "".join(f"{line}\n" for line in lines)
    for block in sorted(code, key=lambda one: -one.start):
        text = text[: block.start] + code[block] + text[block.end :]
    return text


def with_code_of(english: str, russian: str) -> str:
    """A translation whose blocks have the code of the original's."""
    originals, copies = blocks(english), blocks(russian)
    if len(originals) != len(copies):
        raise ValueError(f"{len(originals)} blocks, {len(copies)} in the translation")
    for original, copy in reversed([*zip(originals, copies, strict=True)]):
        russian = russian[: copy.start] + original.code + russian[copy.end :]
    return russian


def main(start: Path, only: list[str]) -> None:
    """Run pages in copies of a folder that guides start from, and bring them up to date."""
    site = Site()
    os.environ["VITRINA_ALLOW_PRIVATE"] = "1"
    try:
        write_start(start, site)
        for page in only or pages_with_examples():
            print(page)
            folder = start.with_name("page")
            shutil.rmtree(folder, ignore_errors=True)
            if page == QUICKSTART:
                folder.mkdir()
            else:
                shutil.copytree(start, folder)
            path = DOCS / page
            text = path.read_text(encoding="utf-8")
            path.write_text(brought_up_to_date(text, [*run_page(text, folder)]), encoding="utf-8")
    finally:
        site.close()


def translate() -> None:
    """Copy the code of the pages into their translations."""
    for page in translated():
        russian = translation_of(page)
        made = with_code_of((DOCS / page).read_text("utf-8"), russian.read_text("utf-8"))
        russian.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).absolute(), sys.argv[2:])
    translate()
