"""What an environment costs on disk, package by package.

    python benchmarks/install_size.py .venv/bin/python .venv-cpu/bin/python
    python benchmarks/install_size.py --without '^nvidia-' requirements.lock

Sizes are those of the files that each package lists as its own, compiled bytecode included. Prints
a Markdown table of totals and of the largest packages. `--without` prints a lock file without the
packages whose lines match.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

MEASURE = """
import json
from importlib.metadata import distributions
sizes = {}
for one in distributions():
    paths = [file.locate() for file in one.files or ()]
    sizes[one.metadata["Name"]] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(sizes))
"""
LARGEST = 12


def main() -> None:
    """Print the table, or the shortened lock."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+", help="interpreters of environments")
    parser.add_argument("--without", help="regular expression: shorten a lock file instead")
    given = parser.parse_args()
    if given.without:
        print(without(given.paths[0].read_text(encoding="utf-8"), given.without), end="")
        return
    print("| environment | packages | MB | largest, in MB |\n|---|---|---|---|")
    for python in given.paths:
        sizes = measure(python)
        largest = sorted(sizes.items(), key=lambda item: -item[1])[:LARGEST]
        named = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in largest)
        print(f"| {python} | {len(sizes)} | {sum(sizes.values()) / 1e6:.0f} | {named} |")


def measure(python: Path) -> dict[str, int]:
    """Bytes of every package of an environment, by name."""
    told = subprocess.run([python, "-c", MEASURE], check=True, capture_output=True, text=True)
    sizes: dict[str, int] = json.loads(told.stdout)
    return sizes


def without(lock: str, pattern: str) -> str:
    """A lock file without the packages whose lines match. A package's hashes follow its line."""
    kept, keep = [], True
    for line in lock.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            keep = not re.search(pattern, line)
        if keep:
            kept.append(line)
    return "".join(kept)


if __name__ == "__main__":
    main()
