"""Progress in a notebook, executed by a real kernel."""

import json
import re
import subprocess
import sys

import pytest

from vitrina.sample import write_sample

SETUP = """
import warnings
warnings.simplefilter("error")
import vitrina as vt
catalogue = vt.Catalogue.read({train!r})
store = vt.Store.open({store!r}, create=True)
"""
EMBED = 'report = vt.embed(catalogue, store, text="lexical", image="none")'
QUIET = 'report = vt.embed(catalogue, store, text="lexical", image="none", quiet=True)'

# In a process of its own: pytest would take the client's unclosed sockets for errors.
EXECUTE = """
import json, sys
import nbformat
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

cells = [nbformat.v4.new_code_cell(code) for code in json.load(sys.stdin)]
book = nbformat.v4.new_notebook(cells=cells)
manager = KernelManager()
# No kernel needs to be installed for this interpreter.
manager.kernel_spec.argv[0] = sys.executable
messages = []
client = NotebookClient(book, km=manager, timeout=300)
process = client.process_message
def spied(message, cell, number):
    messages.append([number, message["msg_type"], message["content"].get("data", {})])
    return process(message, cell, number)
client.process_message = spied
client.execute()
print(json.dumps({"cells": [cell.outputs for cell in book.cells], "messages": messages}))
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Outputs of each cell of a notebook that embeds a catalogue twice, and the messages."""
    folder = tmp_path_factory.mktemp("notebook")
    sample = write_sample(folder / "sample", products=60, seed=0)
    setup = SETUP.format(train=str(sample.train), store=str(folder / "store"))
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE],
        input=json.dumps([setup, EMBED, QUIET]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=folder,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_notebook_shows_progress_and_nothing_else(executed):
    setup, embed, quiet = executed["cells"]
    assert setup == []
    (shown,) = embed
    assert shown["output_type"] == "display_data"
    # What is left when it has ended.
    left = shown["data"]["text/html"]
    assert re.fullmatch(r"<span>embedding: [0-9.]+ (s|min [0-9]+ s)</span>", left)
    assert quiet == []


@pytest.mark.slow
def test_a_bar_is_shown_while_it_runs(executed):
    shown = [data["text/html"] for number, kind, data in executed["messages"] if data]
    assert shown[0].startswith('<progress max="1"')
    assert "<span>embedding" in shown[0]
