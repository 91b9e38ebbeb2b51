"""Displays of progress: a bar on a terminal, an HTML bar in a notebook, lines elsewhere."""

from __future__ import annotations

import html
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_BETWEEN_LINES = 10.0
TICK_SECONDS = 0.25
"""Seconds between updates of a bar."""


@dataclass(frozen=True)
class State:
    """Progress of a piece of work. title: of the work. status: the rest of the line. share: done,
    None if unknown."""

    title: str
    status: str
    share: float | None = None

    @property
    def line(self) -> str:
        """As one line of text."""
        return f"{self.title}: {self.status}" if self.status else self.title


class Work(Protocol):
    """Work whose progress is shown. title: its name."""

    title: str

    def state(self) -> State | None:
        """Its progress now; None if there is nothing to show yet."""
        ...

    def outcome(self) -> str:
        """The line that remains in a notebook after the work has ended."""
        ...


class Display(Protocol):
    """A place that shows one state at a time."""

    every: float
    """Seconds between two states."""

    def show(self, state: State) -> None:
        """Show a state in place of the last one."""
        ...

    def close(self, outcome: str) -> None:
        """End, and leave the outcome if that is the place for it."""
        ...


def default_quiet() -> bool:
    """Whether jobs are quiet by default: not in a notebook, nor in IPython on a terminal."""
    shell = _ipython()
    return shell is None or not (_is_kernel(shell) or sys.stderr.isatty())


def is_quiet(quiet: bool | None) -> bool:
    """The value of an option `quiet`, None for the default."""
    return default_quiet() if quiet is None else quiet


def _ipython() -> Any:
    # A program that does not run in IPython has not imported it.
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None else None


def _is_kernel(shell: Any) -> bool:
    """Whether a shell of IPython is a notebook's: Jupyter, Colab, VS Code."""
    return getattr(shell, "kernel", None) is not None


def open_display(state: State) -> Display:
    """A display for this process, that shows a first state."""
    shell = _ipython()
    if shell is not None and _is_kernel(shell):
        return _Notebook(state)
    return _TerminalBar(state) if sys.stderr.isatty() else _Lines()


class _Lines:
    every = SECONDS_BETWEEN_LINES

    def show(self, state: State) -> None:
        print(state.line, file=sys.stderr, flush=True)

    def close(self, outcome: str) -> None:
        pass


class _TerminalBar:
    every = TICK_SECONDS

    def __init__(self, state: State) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[status]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(state.title, total=None, status=state.status)
        self._bar.start()

    def show(self, state: State) -> None:
        self._bar.update(
            self._task,
            description=state.title,
            status=state.status,
            total=None if state.share is None else 1.0,
            completed=state.share or 0.0,
        )

    def close(self, outcome: str) -> None:  # noqa: ARG002
        self._bar.stop()


class _Notebook:
    """An output of a cell that is replaced; it needs no widgets."""

    every = 2 * TICK_SECONDS

    def __init__(self, state: State) -> None:
        from IPython import display

        # It is untyped.
        self._ipython: Any = display
        self._handle = self._ipython.display(self._of(state), display_id=True)

    def show(self, state: State) -> None:
        self._handle.update(self._of(state))

    def close(self, outcome: str) -> None:
        self._handle.update(self._ipython.HTML(f"<span>{html.escape(outcome)}</span>"))

    def _of(self, state: State) -> Any:
        # Without a value the element is an indeterminate bar.
        value = "" if state.share is None else f' value="{state.share:.4f}"'
        return self._ipython.HTML(
            f'<progress max="1"{value} style="width: 16em; vertical-align: middle"></progress> '
            f"<span>{html.escape(state.line)}</span>"
        )


class _Screen:
    """The one display of a process: it shows the innermost work of those that have begun."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._works: list[Work] = []
        self._display: Display | None = None
        self._shown = 0.0
        self._ended = threading.Event()

    @contextmanager
    def showing(self, work: Work) -> Iterator[None]:
        """Show a work while a block runs."""
        with self._lock:
            first = not self._works
            self._works.append(work)
            if first:
                self._begin(work)
        try:
            yield
        finally:
            with self._lock:
                self._works.remove(work)
                if first:
                    self._end(work)

    def tick(self) -> None:
        """Show the current state, unless one was shown just now."""
        with self._lock:
            if self._display is None or time.monotonic() - self._shown <= self._display.every:
                return
            state = self._works[-1].state()
            if state is not None:
                self._shown = time.monotonic()
                self._display.show(state)

    def _begin(self, work: Work) -> None:
        self._shown = time.monotonic()
        self._display = open_display(State(work.title, ""))
        # Work that reports nothing for long, such as the training of an index, still shows that it
        # goes on.
        self._ended = threading.Event()
        ticker = threading.Thread(
            target=self._run, args=(self._ended,), name="vitrina-progress", daemon=True
        )
        ticker.start()

    def _end(self, work: Work) -> None:
        self._ended.set()
        display, self._display = self._display, None
        self._works.clear()
        if display is not None:
            display.close(work.outcome())

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(TICK_SECONDS):
            self.tick()


SCREEN = _Screen()
