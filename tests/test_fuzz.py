"""The fuzzer: its harness can fail, its sound inputs are accepted, and a short run finds nothing.

`make fuzz` is the long run; docs/fuzzing.md tells of both.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz.mutate import DEEP, LONG, mutated, mutated_value, written
from fuzz.outcomes import Case, Outcome, Result, Table
from fuzz.selftest import EXPECTED

TESTS = Path(__file__).parent


def fuzz(*arguments, folder):
    """Run the fuzzer; its output and its exit code."""
    path = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", *arguments, "--out", str(folder / "kept")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    return done.stdout + done.stderr, done.returncode


def counts(output):
    """Counts of the table by form, and by outcome."""
    rows = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")]
    head = rows[0]
    return {row[1]: dict(zip(head, row, strict=True)) for row in rows[2:]}


@pytest.mark.slow
def test_each_outcome_is_counted_as_what_it_is(tmp_path):
    limits = ("--seconds", "3", "--memory", "3e8", "--list")
    output, code = fuzz("selftest", "--count", str(len(EXPECTED)), *limits, folder=tmp_path)
    assert code == 1
    found = {
        line.split()[0].rsplit("-", 2)[0]: line.split(" ", 1)[1]
        for line in output.splitlines()
        if line.split(" ")[0].endswith("-0-0")
    }
    assert found.keys() == EXPECTED.keys()
    for form, outcome in EXPECTED.items():
        assert found[form].startswith(outcome.value), (form, found[form])
    table = counts(output)
    for form, outcome in EXPECTED.items():
        if outcome is not Outcome.BROKEN:
            assert table[form][outcome.value] == "1", form
    assert "1 inputs could not be made" in output
    # Whatever fails is kept, with the line that runs it again.
    kept = json.loads((tmp_path / "kept/selftest/segfault-0-0/result.json").read_text())
    assert kept["outcome"] == "crashed"
    assert kept["command"] == "make fuzz CLASS=selftest FORM=segfault SEED=0 NUMBER=0"
    again, code = fuzz(
        "selftest", "--kept", str(tmp_path / "kept/selftest/segfault-0-0"), folder=tmp_path
    )
    assert code == 1
    assert counts(again)["segfault"]["crashed"] == "1"


def test_a_run_without_failures_ends_with_0(tmp_path):
    output, code = fuzz("selftest", "--form", "refused", "--count", "2", folder=tmp_path)
    assert code == 0, output
    assert counts(output)["refused"]["refused"] == "2"


def test_the_table_sums_up_by_form_and_class():
    table = Table()
    for number, outcome in enumerate((Outcome.REFUSED, Outcome.REFUSED, Outcome.HUNG)):
        case = Case("readers", "csv", 1, number)
        table.add(Result(case, outcome, "", "", "", 0.5, 10**8))
    assert table.lines()[2:] == [
        "| readers | csv | 3 | 0 | 2 | 0 | 0 | 1 | 0 | 0 | 500 | 100 |",
        "| **readers** | all | 3 | 0 | 2 | 0 | 0 | 1 | 0 | 0 | 500 | 100 |",
    ]
    assert [result.case.number for result in table.failures] == [2]


def test_a_sound_input_that_is_refused_fails_the_run():
    table = Table()
    table.add(Result(Case("readers", "sound", 1, 0), Outcome.REFUSED, "", "", "", 0.5, 10**8))
    assert [result.case.number for result in table.failures] == [0]
    assert table.lines()[-1] == "\n1 sound inputs were refused"


def test_mutations_come_from_the_seed_alone():
    data = bytes(range(256)) * 4
    made = [mutated(data, Random(seed), [data], [b"token"]) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    value = {"files": [{"path": "a", "rows": 1}], "name": "b"}
    changed = [mutated_value(value, Random(seed), "/o") for seed in range(50)]
    assert changed == [mutated_value(value, Random(seed), "/o") for seed in range(50)]
    assert sum(one != value for one in changed) > 40
    assert value == {"files": [{"path": "a", "rows": 1}], "name": "b"}


def test_what_json_can_not_say_is_written_all_the_same():
    assert written({"a": DEEP}).count(b"[") == 100_000
    assert b"9" * 5000 in written({"a": LONG})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["readers", "decoders", "stores", "models", "requests"])
def test_a_short_run_finds_nothing(name, tmp_path):
    output, code = fuzz(name, "--count", "160", "--seed", "0", folder=tmp_path)
    assert code == 0, output
    table = counts(output)
    assert table["all"]["tried"] == "160"
    assert table["sound"]["accepted"] == table["sound"]["tried"] != "0"
    # A fuzzer that had all refused, or all accepted, would try nothing; the page always answers.
    refused, accepted = (int(table["all"][outcome]) for outcome in ("refused", "accepted"))
    assert name == "requests" or min(refused, accepted - int(table["sound"]["tried"])) > 8, output
