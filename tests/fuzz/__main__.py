"""`python -m fuzz [CLASS] --count N --seed N --time SECONDS`: see docs/fuzzing.md."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from fuzz.harness import Limits, Runner, ended, scratch_folder, silenced
from fuzz.outcomes import Case, Result, Table
from fuzz.target import SOUND, Target, one_thread

CLASSES = ("readers", "decoders", "stores", "models", "requests")
KEPT = Path("build/fuzz")


def main(arguments: list[str] | None = None) -> int:
    """Fuzz, print the table and what failed; 1 if anything did."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, ended)
    if options.worker is not None:
        with suppress(KeyboardInterrupt):
            _work(options)
        sys.stdout.flush()
        # Without the destructors of libraries, which have much to say on standard error.
        os._exit(0)
    table = Table()
    names = CLASSES if options.target == "all" else (options.target,)
    with scratch_folder() as scratch:
        try:
            for name in names:
                _fuzz(name, options, scratch / name, table)
        except KeyboardInterrupt:
            print("interrupted; this is what was found by then", flush=True)
    if options.list:
        for result in table.results:
            print(f"{result.case.name} {result.outcome} {result.seconds:.3f} {result.kind}")
            print(f"    {result.how[:200]}\n    {' '.join(result.detail.split())[:300]}")
    print("\n".join(table.lines()))
    _tell_failures(table)
    return 1 if table.failures else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz Vitrina.")
    parser.add_argument("target", nargs="?", default="all", choices=(*CLASSES, "all", "selftest"))
    parser.add_argument("--count", type=int, default=1000, help="inputs of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time", type=float, default=float("inf"), help="seconds for each class")
    parser.add_argument("--form", help="inputs of this form alone")
    parser.add_argument("--number", type=int, help="this input alone")
    parser.add_argument("--kept", type=Path, help="a folder below build/fuzz: run it again")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="for one input")
    parser.add_argument("--memory", type=float, default=Limits.memory, help="bytes for one input")
    parser.add_argument("--out", type=Path, default=KEPT, help="where inputs that fail are kept")
    parser.add_argument("--list", action="store_true", help="print each input's outcome")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def target_of(name: str) -> Target:
    """The class of inputs of a name."""
    from importlib import import_module

    found: Target = import_module(f"fuzz.{name}").TARGET
    return found


# -- the process that is started ------------------------------------------------------------------


def _fuzz(name: str, options: argparse.Namespace, scratch: Path, table: Table) -> None:
    """Run workers over one class, each in a process of its own, and gather what they tell."""
    seeds = scratch / "seeds"
    seeds.mkdir(parents=True)
    again = [*sys.argv[1:]] if options.target != "all" else [name, *sys.argv[1:]]
    if options.target == "all":
        again = [name, *[word for word in sys.argv[1:] if word != "all"]]
    jobs = 1 if options.number is not None or options.kept else options.jobs
    began = time.monotonic()
    _run_workers([*again, "--scratch", str(scratch)], (-1,), table)
    print(f"{name}: sound files made in {time.monotonic() - began:.0f} s", flush=True)
    _run_workers([*again, "--jobs", str(jobs), "--scratch", str(scratch)], range(jobs), table)
    tried = sum(result.case.target == name for result in table.results)
    print(f"{name}: {tried} inputs in {time.monotonic() - began:.0f} s", flush=True)


def _run_workers(arguments: list[str], numbers: range | tuple[int, ...], table: Table) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "fuzz", *arguments, "--worker", str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in numbers
    ]
    try:
        import selectors

        with selectors.DefaultSelector() as ready:
            for process in processes:
                assert process.stdout is not None
                ready.register(process.stdout, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select():
                    line = key.fileobj.readline()  # type: ignore[union-attr]
                    if not line:
                        ready.unregister(key.fileobj)
                    elif line.startswith("{"):
                        table.add(Result.from_json(json.loads(line)))
                    else:
                        print(line, end="", flush=True)
    finally:
        for process in processes:
            process.terminate()
    for process in processes:
        if process.wait() not in (0, -signal.SIGTERM):
            raise SystemExit(f"a worker ended with {process.returncode}")


def _tell_failures(table: Table) -> None:
    kinds: dict[tuple[str, str, str], list[Result]] = defaultdict(list)
    for result in table.failures:
        kinds[result.case.target, result.outcome.value, result.kind].append(result)
    for (target, outcome, kind), results in sorted(kinds.items(), key=lambda item: -len(item[1])):
        first = results[0]
        forms = ", ".join(sorted({result.case.form for result in results}))
        print(f"\n{len(results)} x {target} ({forms}): {outcome}: {kind}")
        print(f"  how: {first.how[:300]}")
        print(f"  {first.detail.strip().splitlines()[-1][:300] if first.detail.strip() else ''}")
        print(f"  again: {first.case.command}")
        print(f"  kept: {KEPT / target / first.case.name}")


# -- a worker -------------------------------------------------------------------------------------


def _work(options: argparse.Namespace) -> None:
    """Prepare the sound files (worker -1), or run every `jobs`th input."""
    one_thread()
    target = target_of(options.target)
    target.seeds = options.scratch / "seeds"
    if options.worker < 0:
        os.environ["VITRINA_CACHE"] = str(options.scratch / "cache")
        with silenced():
            target.prepare(target.seeds)
        return
    limits = Limits(options.seconds, int(options.memory))
    own = options.scratch / f"worker{options.worker}"
    runner = Runner(target, own, limits, options.out.absolute() / target.name)
    target.load()
    runner.warm_up()
    if options.kept:
        _print(runner.run_kept(options.kept.absolute()))
        return
    end = time.monotonic() + options.time
    for case in _cases(target, options):
        if time.monotonic() > end:
            break
        _print(runner.run(case))


def _cases(target: Target, options: argparse.Namespace) -> list[Case]:
    forms = [form for form in dict.fromkeys((*target.forms, SOUND)) if options.form in (None, form)]
    if not forms:
        raise SystemExit(f"{target.name} has no form {options.form}: {', '.join(target.forms)}")
    if options.number is not None:
        return [Case(target.name, forms[0], options.seed, options.number)]
    met: dict[str, int] = defaultdict(int)
    cases = []
    for at in range(options.count):
        form = forms[at % len(forms)]
        cases.append(Case(target.name, form, options.seed, met[form]))
        met[form] += 1
    return cases[options.worker :: options.jobs]


def _print(result: Result) -> None:
    # A pipe may be read by another process: one line at once.
    sys.stdout.write(json.dumps(result.to_json()) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
