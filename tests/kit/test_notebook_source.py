"""A notebook is a submission: what is taken from its cells, and what is said of those it lacks."""

import json
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from nbformat import v4

from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.submission import notebook, source
from mnist_lab.submission.magics import python
from mnist_lab.submission.refused import SourceError

ROOT = Path(__file__).parents[2]


def written(path, *cells):
    """A notebook at ``path``: a cell for each source, or for each pair of a source and a tag."""
    made = [
        v4.new_code_cell(cell)
        if isinstance(cell, str)
        else v4.new_code_cell(cell[0], metadata={"tags": [cell[1]]})
        for cell in cells
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(v4.new_notebook(cells=made)))
    return path


@pytest.fixture
def lab(tmp_path):
    """Reads a notebook of the cells given."""

    def read(*cells):
        return notebook.read(written(tmp_path / "lab.ipynb", *cells))

    return read


def defined(module):
    """What running the code of a module leaves, by name."""
    found = {"__name__": "handed_in"}
    exec(module.text, found)
    return found


# What is taken


def test_the_cells_that_define_a_name_are_its_exercise(lab):
    found = lab("x = 1", "class FNN: pass", "def train(): pass\ndef train_epoch(): pass")

    assert list(found.modules) == ["fnn.py", "training.py"]


def test_imports_constants_and_helpers_come_along_from_anywhere(lab):
    found = lab(
        "import math\nfrom os import path as p, sep\nunused = 0",
        "SIZE = 28\nPIXELS = SIZE ** 2",
        "def area():\n    return PIXELS + math.floor(0.5)",
        "class FNN:\n    size = area()\n    def name(self):\n        return sep",
    )

    module = defined(found.modules["fnn.py"])
    assert module["FNN"].size == 784
    assert module["FNN"]().name() == "/"
    assert "unused" not in module


def test_other_code_at_the_top_is_not_run(lab):
    found = lab(
        "class FNN:\n    def forward(self, loss):\n        return loss\nraise SystemExit",
        "for step in range(10**12):\n    loss = step",
        "model = FNN(); print(model.weights)",
        "with open('/etc/passwd') as file:\n    secrets = file.read()",
    )

    assert found.modules["fnn.py"].text == (
        "class FNN:\n    def forward(self, loss):\n        return loss\n"
    )


def test_a_name_that_is_bound_in_a_block_brings_the_block(lab):
    found = lab(
        "try:\n    import no_such_module as fast\nexcept ImportError:\n    fast = None",
        "if fast:\n    DEVICE = 1\nelse:\n    DEVICE = 2",
        "class CNN:\n    device = DEVICE",
    )

    assert defined(found.modules["cnn.py"])["CNN"].device == 2


def test_decorators_future_imports_and_later_changes_come_along(lab):
    found = lab(
        "def twice(cls):\n    cls.count = 2\n    return cls",
        "@twice\nclass CNN:\n    def of(self, other: Unknown): pass",
        "from __future__ import annotations",
        "CNN.late = 3\nOTHER = 5",
    )

    module = found.modules["cnn.py"]
    assert module.text.startswith("from __future__ import annotations\n")
    assert (defined(module)["CNN"].count, defined(module)["CNN"].late) == (2, 3)
    assert "OTHER" not in module.text


def test_what_methods_change_in_a_list_or_dict_comes_along(lab):
    found = lab(
        "sizes, names = [784], {}",
        "sizes.append(256)\nprint(sizes.index(784))",
        "names.update(a=1)\nnames['b'] = 2",
        "class FNN: all = sizes, names",
    )

    module = found.modules["fnn.py"]
    assert defined(module)["FNN"].all == ([784, 256], {"a": 1, "b": 2})
    assert "index" not in module.text


def test_what_a_method_is_called_for_comes_along(lab):
    found = lab(
        "import argparse\nparser = argparse.ArgumentParser()",
        "group = parser.add_argument_group('sizes')",
        "group.add_argument('--hidden', default=256)",
        "options = {'sizes': [784, 0, 9]}\nsizes = options['sizes']",
        "sizes.append(10)\ndel sizes[1]",
        "class FNN: all = parser.parse_args([]).hidden, options['sizes']",
    )

    assert defined(found.modules["fnn.py"])["FNN"].all == (256, [784, 9, 10])


def test_what_a_cell_only_shows_or_trains_stays_behind(lab):
    found = lab(
        "import numpy as np\nimages = np.load('digits.npy')",
        "np.append(images, 0)\nnp.sort(images)",
        "log = []\nclass CNN:\n    def note(self): return log",
        "def train(model, loader): return [(0.0, 1.0)]",
        "CNN().note()\nCNN().call(images)",
        "history = train(CNN(), images)\nbest = history[-1]",
        "log.append(best)\nlog.extend(history)\nlog.sort(key=best)",
    )

    text = found.modules["cnn.py"].text
    assert not any(word in text for word in ("digits", "append(images", "history", "CNN()"))
    assert defined(found.modules["cnn.py"])["log"] == []


def test_the_environment_is_as_the_notebook_sets_it(lab, monkeypatch):
    for name in ("LAB_IN", "LAB_HIDDEN", "LAB_OUT"):
        monkeypatch.setenv(name, "0")
    found = lab(
        "%env LAB_IN=784",
        "import os\nos.environ['LAB_HIDDEN'] = '256'",
        "os.environ.update(LAB_OUT='10')",
        "class FNN: all = [os.environ[f'LAB_{each}'] for each in ('IN', 'HIDDEN', 'OUT')]",
    )

    assert defined(found.modules["fnn.py"])["FNN"].all == ["784", "256", "10"]


def test_what_is_timed_is_run(lab):
    found = lab("%time UNITS = 256", "class FNN: units = UNITS")

    assert defined(found.modules["fnn.py"])["FNN"].units == 256


def test_what_a_loop_or_the_like_changes_comes_along(lab):
    found = lab(
        "sizes, names = {}, []",
        "others = []",
        "for name, size in [('in', 784), ('out', 10)]:\n    sizes[name] = size",
        "if sizes:\n    with open('log') as log:\n        others.append(log)",
        "try:\n    names.append('a')\nexcept ValueError:\n    names.clear()",
        "def later():\n    names.append('b')",
        "class FNN: all = sizes, names",
    )

    module = found.modules["fnn.py"]
    assert defined(module)["FNN"].all == ({"in": 784, "out": 10}, ["a"])
    assert "open" not in module.text
    assert "later" not in module.text


def test_what_a_function_puts_into_a_class_comes_along(lab):
    found = lab(
        "def put_into(cls):\n    return lambda made: setattr(cls, made.__name__, made)",
        "class CNN: pass",
        "@put_into(CNN)\ndef forward(self): return self.size",
        "setattr(CNN, 'size', 28)",
        "print(CNN)",
    )

    module = found.modules["cnn.py"]
    assert defined(module)["CNN"]().forward() == 28
    assert "print" not in module.text


@pytest.mark.parametrize(
    "cells",
    [
        ("REG = {}\ndef put(f):\n    REG[f.__name__] = f", "@put\ndef size(): return 28"),
        (
            "REG = {}\ndef put(name):\n    def take(f): REG[name] = f\n    return take",
            "@put('size')\ndef sizes(): return 28",
        ),
        ("def setup():\n    global REG\n    REG = {'size': lambda: 28}", "setup()"),
        (
            "REG = {}\ndef put(into, name, size=1):\n    into[name] = lambda: size",
            "put(REG, 'size', size=28)",
        ),
        ("REG = {}\ndef put(*, into):\n    into.update(size=lambda: 28)", "put(into=REG)"),
        ("REG = {}\nOTHER = {}", "for each in (REG, OTHER):\n    each['size'] = lambda: 28"),
        ("REG = {}", "[REG.setdefault(name, lambda: 28) for name in ['size']]"),
        ("REG = {}", "_ = REG.update(size=lambda: 28)"),
        (
            "class Reg(dict):\n    def add(self, k, f):\n        self[k] = f\n        return self",
            "REG = Reg()",
            "REG.add('a', None).add('size', lambda: 28)",
        ),
        ("class Of(dict): pass\nREG = Of()", "vars(REG).update(a=3)\nREG['size'] = lambda: 28"),
        (
            "class Of: kinds = {}\n"
            "class Kind:\n    def __init_subclass__(cls): Of.kinds[cls.__name__] = cls",
            "class size(Kind):\n    def __new__(cls): return 28",
            "REG = Of.kinds",
        ),
        (
            "class Kinds:\n    all = {}\n    def __init__(self, n): Kinds.all['size'] = lambda: n",
            "Kinds(28)",
            "REG = Kinds.all",
        ),
        (
            "class Route(dict):\n    def to(self, f): self[f.__name__] = f",
            "REG = Route()",
            "@REG.to\ndef size(): return 28",
        ),
        ("REG = {}", "class FNN: pass", "REG['size'] = lambda made=FNN(): 28"),
        ("if __name__ == '__main__':\n    REG = {\n        'size': lambda: 28,\n    }",),
    ],
)
def test_what_is_run_in_a_notebook_and_changes_what_is_needed_comes_along(lab, cells):
    found = lab(*cells, "print('not this')", "class CNN:\n    def size(self): return REG['size']()")

    module = found.modules["cnn.py"]
    assert defined(module)["CNN"]().size() == 28
    assert "print" not in module.text


def test_a_method_is_put_into_the_class_that_its_annotation_names(lab):
    found = lab(
        "def patch(f):\n    setattr(next(iter(f.__annotations__.values())), f.__name__, f)",
        "class CNN: pass",
        "@patch\ndef size(self: CNN): return 28",
    )

    assert defined(found.modules["cnn.py"])["CNN"]().size() == 28


def test_a_training_that_a_cell_tries_is_not_run_whatever_it_leaves_behind(lab):
    found = lab(
        "losses = []",
        "def train_epoch():\n    losses.append(1)\n    return losses",
        "def train():\n    return [train_epoch()]",
        "def everything():\n    global losses\n    losses = train()",
        "train_epoch()",
        "everything()",
        "kept = [train() for _ in range(3)]",
        "for _ in range(3):\n    losses.append(train())",
    )

    assert defined(found.modules["training.py"])["losses"] == []


def test_what_is_set_in_imported_modules_comes_along(lab):
    found = lab(
        "import fractions, sys",
        "def half(self): return self / 2",
        "fractions.Fraction.half = half",
        "sys.path.append('beside')",
        "fractions.Fraction(1).half()",
        "from fractions import Fraction",
        "class CNN:\n    def size(self): return Fraction(56).half()",
    )

    module = found.modules["cnn.py"]
    assert defined(module)["CNN"]().size() == 28
    sys.path.remove("beside")
    assert "(1).half" not in module.text


def test_a_star_import_comes_along_where_a_name_is_otherwise_unknown(lab):
    cells = ("from math import *", "class CNN:\n    pi = pi", "class FNN: pass")

    assert defined(lab(*cells).modules["cnn.py"])["CNN"].pi > 3
    assert "math" not in lab(*cells).modules["fnn.py"].text


def test_two_statements_of_a_line_are_taken_apart(lab):
    found = lab("SIZE = 'ä'; raise SystemExit", "1 / 0; WIDTH = 2", "class FNN: size = SIZE, WIDTH")

    assert defined(found.modules["fnn.py"])["FNN"].size == ("ä", 2)


def test_code_of_markdown_cells_and_outputs_is_not_looked_at(tmp_path):
    output = v4.new_output("stream", text="class CNN: pass")
    cells = [v4.new_markdown_cell("class CNN: pass"), v4.new_code_cell("x = 1", outputs=[output])]
    path = tmp_path / "lab.ipynb"
    path.write_text(json.dumps(v4.new_notebook(cells=cells)))

    assert not notebook.read(path).modules


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("%matplotlib inline\n!pip install torch\nx = 1", "pass\npass\nx = 1"),
        ("  x = 1\n  y = 2", "x = 1\ny = 2"),
        ("files = !ls\nx, y = %env PATH\nprint?\n?print\nx??", "pass\n" * 4 + "pass"),
        ("pip install torch\npip = 3\npip", "pass\npip = 3\npip"),
        ("%run -i helpers.py\n%run\nx = 1", "from helpers import *\npass\nx = 1"),
        ("if x:\n    !ls | \\\n  sort\n    y = 1", "if x:\n    pass\n\n    y = 1"),
        ("x = (7\n% 4)\ny = '''\n%not\n!this\n'''\n%time", None),
        ("x = 7 \\\n% 4\n%time", None),
        ("!pip install \\\n  'a \\\n  b'\nx = 1", "pass\n\n\nx = 1"),
        ("s = '#' '''\n%a''' # '''\n%time", None),
        ('s = "(" # (\n%time', None),
        ("%%bash\nls", ""),
        ("%%time\nx = 1", "\nx = 1"),
        ("\n%%capture out\n%time\nx = 1", "\n\npass\nx = 1"),
        ("", ""),
    ],
)
def test_magics_and_shell_lines_are_dropped_and_no_line_moves(source, code):
    expected = source.replace("\n%time", "\npass") if code is None else code

    assert python(source) == (f"{expected}\n" if expected else "")


def test_a_cell_magic_drops_its_cell_and_no_other(lab):
    found = lab("%%html\nclass CNN: pass", "%%time\nclass FNN: pass")

    assert list(found.modules) == ["fnn.py"]


def test_a_comment_that_asks_is_python():
    source = "class CNN:\n    size = 10  # right?\n# why?\n    depth = 2\n"

    assert python(source).strip() == source.strip()


@pytest.mark.parametrize(
    "source",
    [
        'x = """' + "\\" * 99 + "\n",
        " " * 400_000,
        "x" + " " * 400_000 + "y",
        "'\"" * 200_000 + "\\",
        "pip " + " " * 400_000,
        "x = " * 100_000,
        "x?" * 200_000,
        "x;" * 300_000,
        "x = x + 1\n" * 100_000,
        "x = 1\n!ls\n" * 10_000,
    ],
    ids=[
        *("backslashes", "blanks", "gap", "quotes", "pip"),
        *("equals", "asks", "line", "lines", "shell"),
    ],
)
def test_long_lines_and_many_take_time_in_proportion(lab, source):
    before = time.process_time()

    with suppress(SourceError):
        lab("class CNN: pass", source)

    assert time.process_time() - before < 10


# Files that cells write


def test_a_file_that_a_cell_writes_is_taken_as_it_is(lab):
    found = lab(
        "x = 1",
        "\n%%writefile exercises/cnn.py\nSIZE = 3\nclass CNN: number = SIZE",
        "%%writefile -a cnn.py\nCNN.late = 4",
        "%%file helper.py\ny = 1",
        "%%writefile ../../etc/passwd\nno",
    )

    assert sorted(found.modules) == ["cnn.py", "helper.py"]
    assert (which(found, "cnn.py", "CNN"), defined(found.modules["cnn.py"])["CNN"].late) == (3, 4)
    placed = found.placed(Cause("", where="cnn.py:4"))
    assert placed.where == "cell 2, line 4"


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (["%%writefile cnn.py\nclass CNN: number = 1", "class CNN: number = 2"], 2),
        (["class CNN: number = 2", "%%writefile cnn.py\nclass CNN: number = 1"], 1),
        (["%%writefile cnn.py\nclass CNN: number = 1", "from cnn import CNN"], 1),
    ],
)
def test_of_a_cell_and_a_file_the_later_counts(lab, cells, number):
    assert which(lab(*cells), "cnn.py", "CNN") == number


# Which of several definitions counts


def which(found, file, name):
    return defined(found.modules[file])[name].number


def test_of_two_definitions_the_last_counts_and_it_is_said(lab):
    found = lab("class CNN: number = 1", "x = 1", "class CNN: number = 2")

    assert which(found, "cnn.py", "CNN") == 2
    assert found.notes == ("CNN is defined twice, in cell 1 and cell 3: the last counts.",)


def test_a_later_cell_counts_before_a_tagged_one(lab):
    found = lab(("class CNN: number = 1", "cnn"), "class CNN: number = 2")

    assert which(found, "cnn.py", "CNN") == 2
    assert found.notes == ("CNN is defined twice, in cell 1 and cell 2: the last counts.",)


def test_a_stub_gives_way_to_code_elsewhere(lab):
    stub = "class CNN:\n    number = 1\n    def f(self):\n        raise NotImplementedError('x')"

    found = lab((stub, "cnn"), "class CNN: number = 2")

    assert which(found, "cnn.py", "CNN") == 2
    assert found.begun == {"cnn.py"}


def test_a_variable_of_the_name_of_a_function_is_no_definition(lab):
    found = lab("def train(): pass\ntrain.number = 1", "train, test = 5, 6", "train = 7")

    assert which(found, "training.py", "train") == 1


@pytest.mark.parametrize(
    "again",
    [
        "class CNN(CNN): number = 2",
        "Base = CNN\nclass CNN(Base): number = 2",
        "CNN = type('CNN', (CNN,), {'number': 2})",
        "def counted(cls):\n    cls.number = 2\n    return cls\nCNN = counted(CNN)",
        "def counted(cls):\n    cls.number = 2\n    return cls\nCNN, x = map(counted, (CNN, CNN))",
    ],
)
def test_a_definition_that_is_made_of_an_earlier_one_counts_with_it(lab, again):
    found = lab("class CNN:\n    number = 1\n    size = 28", again)

    assert which(found, "cnn.py", "CNN") == 2
    assert defined(found.modules["cnn.py"])["CNN"].size == 28


def test_a_definition_that_is_not_made_of_an_earlier_one_counts_alone(lab):
    methods = "    number = 2\n    def f(self): return super(CNN, self)"

    found = lab("class CNN:\n    number = 1\n    size = 28", f"class CNN:\n{methods}")

    assert which(found, "cnn.py", "CNN") == 2
    assert not hasattr(defined(found.modules["cnn.py"])["CNN"], "size")


@pytest.mark.parametrize(
    "used",
    ["train = train()", "train = [train() for _ in 'ab']", "train = 'abc'\ntrain = list(train)"],
)
def test_a_result_that_has_the_name_of_its_function_is_no_definition(lab, used):
    found = lab("def train(): pass\ntrain.number = 1", used)

    assert which(found, "training.py", "train") == 1


def test_of_two_definitions_in_a_cell_the_line_is_said(lab):
    found = lab("def train(): pass\ntrain.number = 1\ntrain = 5")

    assert found.notes == ("train is defined twice, in cell 1: that in line 1 counts.",)


def test_one_definition_needs_no_note(lab):
    assert lab("class CNN: pass", "CNN()\nmodel = CNN()").notes == ()


def test_the_exercise_notebook_is_not_begun_and_has_every_exercise():
    found = notebook.read(ROOT / "exercises" / "mnist_lab.ipynb")

    assert not found.begun
    assert not found.notes
    assert list(found.modules) == [exercise.file for exercise in kit.load().exercises]


# Where a line is


def test_a_line_is_told_as_one_of_a_cell(lab):
    found = lab("SIZE = 28", "\n\nx = 1\nclass CNN:\n    size = SIZE\n    y = 0")
    cause = Cause(
        "cnn.py does not define CNN. Importing cnn.py raised x in cnn.py.",
        where="cnn.py:3",
        traceback='  File "cnn.py", line 4, in y\n',
    )

    placed = found.placed(cause)

    assert placed.where == "cell 2, line 5"
    assert placed.traceback == "  cell 2, line 6, in y\n"
    assert placed.message == (
        "The notebook does not define CNN. Running the cells of cnn raised x in the notebook."
    )
    assert found.placed(Cause("", where="cnn.py")).where == "lab.ipynb"


def test_a_cell_that_was_run_is_told_with_its_number(tmp_path):
    path = tmp_path / "lab.ipynb"
    cell = v4.new_code_cell("class CNN: pass", execution_count=7)
    path.write_text(json.dumps(v4.new_notebook(cells=[v4.new_markdown_cell("#"), cell])))

    assert notebook.read(path).modules["cnn.py"].places == ("cell 2 (In [7]), line 1",)


def test_a_history_counts_as_it_was_run(tmp_path):
    stub = "class CNN:\n    def f(self):\n        raise NotImplementedError"
    path = tmp_path / "lab.ipynb"
    sources = [
        (1, "class CNN: number = 1"),
        (4, "class FNN: number = 1"),
        (5, stub),
        (6, "class CNN: ("),
    ]
    path.write_text(notebook.of_history(sources))

    found = notebook.read(path)

    assert found.notes == ()
    assert found.modules["cnn.py"].text == f"{stub}\n"
    assert found.modules["fnn.py"].places == ("In [4], line 1",)


# What is broken


def test_a_cell_that_is_not_python_is_handed_in_as_it_is(lab):
    source = "class CNN:\n  def f(self:\n    pass"
    found = lab("class FNN: pass", source)

    assert found.modules["cnn.py"].text.strip() == source
    with pytest.raises(SyntaxError):
        defined(found.modules["cnn.py"])


def test_a_tagged_cell_that_is_not_python_stands_for_what_is_missing(lab):
    found = lab(("clas CNN: pass", "cnn"), ("clas FNN: pass", "fnn"), "class FNN: pass")

    assert found.modules["cnn.py"].text == "clas CNN: pass\n\n"
    assert defined(found.modules["fnn.py"])["FNN"]


def test_reading_warns_of_nothing(lab, recwarn):
    assert lab("class CNN: pattern = '\\d'").modules
    assert not recwarn.list


@pytest.mark.parametrize(
    "source",
    [
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 100_000 + "1",
        "x = " + "+".join("1" * 100_000),
        "x = a" + ".b" * 100_000,
        "x = '\0'",
        "\ud800 = 1",
    ],
    ids=["brackets", "signs", "sums", "attributes", "null", "surrogate"],
)
def test_what_no_parser_takes_spoils_nothing_else(tmp_path, source):
    path = written(tmp_path / "lab.ipynb", source, "class CNN: pass")

    assert list(notebook.read(path).modules) == ["cnn.py"]


NOT_NOTEBOOKS = {
    "": "is empty: hand it in again",
    "\n<!DOCTYPE html>": "is a web page, whatever its name says: hand in the exercises themselves",
    '{"nbformat": 4, "cells": [], "metadata": {"kernelspec": {"language": "R"}}}': "in R: hand in",
    '{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "Julia"}}}': "in Julia",
    "<<<<<<< HEAD\n{}\n": "is an unfinished merge of two versions",
    '{"cells": [': "is damaged: it is not JSON",
    "\xff": "is damaged: it is not JSON",
    "[" * 100_000: "is damaged: it is not JSON",
    "[]": "has no nbformat",
    '{"nbformat": "4"}': "has no nbformat",
    '{"nbformat": 4}': "has no cells",
    '{"nbformat": 5, "cells": []}': "has the notebook format 5, and this kit reads 4",
    '{"nbformat": 3, "worksheets": 3}': "has the notebook format 3, and this kit reads 4",
    '{"nbformat": 4, "cells": [{"cell_type": "code", "source": 3}]}': "defines nothing",
    '{"nbformat": 4, "cells": [3, {"cell_type": "code", "metadata": 3}]}': "defines nothing",
    '{"nbformat": 4, "cells": []}': "defines nothing that is asked for: test_transform, ",
}


@pytest.mark.parametrize("content", NOT_NOTEBOOKS)
def test_what_is_no_notebook_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "lab.ipynb"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(SourceError) as refused:
        source.read(path)

    assert str(refused.value).startswith("lab.ipynb ")
    assert NOT_NOTEBOOKS[content] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_notebook_in_another_encoding_is_read(tmp_path):
    written(tmp_path / "lab.ipynb", "class CNN: pass")
    text = (tmp_path / "lab.ipynb").read_text()

    for encoding in ("utf-16", "utf-8-sig"):
        (tmp_path / "lab.ipynb").write_text(text, encoding=encoding)
        assert list(source.read(tmp_path / "lab.ipynb").originals) == ["cnn"]


def test_too_much_code_or_too_many_cells_or_bytes_are_refused(tmp_path, monkeypatch):
    written(tmp_path / "cells.ipynb", *["class CNN: pass"] * 2001)
    written(tmp_path / "code.ipynb", f"class CNN: pass\n# {'x' * (1 << 20)}")
    (tmp_path / "bytes.ipynb").write_text(" " * (50 << 20) + "{}")

    for name, said in (("cells", "2,000 cells"), ("code", "1 MB"), ("bytes", "50 MB")):
        with pytest.raises(SourceError, match=said):
            source.read(tmp_path / f"{name}.ipynb")


# Where a notebook lies


def test_a_notebook_alone_in_a_folder_or_an_archive_is_what_is_graded(tmp_path):
    place = written(tmp_path / "ada" / "lab.ipynb", "import helper\nclass CNN: pass")
    (tmp_path / "ada" / "helper.py").write_text("x = 1")
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as archive:
        for file in (tmp_path / "ada").iterdir():
            archive.write(file, f"ada/{file.name}")

    for path in (tmp_path / "ada", tmp_path / "ada.zip"):
        assert list(source.read(path).originals) == ["cnn"]
        assert source.read(path).files["helper.py"] == b"x = 1"
    assert source.read(tmp_path / "ada").sha256 == source.read(tmp_path / "ada.zip").sha256
    assert source.read(tmp_path / "ada").originals == {"cnn": place}


def test_a_notebook_by_its_name_gets_none_of_its_neighbours(tmp_path):
    written(tmp_path / "ada.ipynb", "class CNN: pass")
    (tmp_path / "eve.py").write_text("x = 1")

    assert list(source.read(tmp_path / "ada.ipynb").files) == ["cnn.py"]


STUB = "def train():\n    raise NotImplementedError\n"


def test_of_files_and_a_notebook_what_was_begun_counts(tmp_path):
    written(tmp_path / "lab.ipynb", "class CNN: pass")
    (tmp_path / "training.py").write_text(STUB)

    assert list(source.read(tmp_path).originals) == ["cnn"]
    assert source.read(tmp_path).notes == ()

    (tmp_path / "training.py").write_text("def train(): pass")
    assert list(source.read(tmp_path).originals) == ["cnn", "training"]
    assert source.read(tmp_path).notes[-1].startswith("The exercises in the top folder, lab.ipynb")

    (tmp_path / "cnn.py").write_text("class CNN: pass")
    assert source.read(tmp_path).folder == tmp_path
    assert source.read(tmp_path).notes[0].startswith("Not graded: lab.ipynb.")

    (tmp_path / "lab.ipynb").write_bytes((ROOT / "exercises" / "mnist_lab.ipynb").read_bytes())
    assert source.read(tmp_path).notes == ()


def test_of_several_notebooks_the_one_with_most_counts_and_it_is_said(tmp_path):
    written(tmp_path / "a.ipynb", "class CNN: pass")
    written(tmp_path / "b.ipynb", "x = 1")
    written(tmp_path / "c.ipynb", "class FNN: pass\nclass CNN: pass")

    assert list(source.read(tmp_path).originals) == ["fnn", "cnn"]
    assert (
        source.read(tmp_path)
        .notes[0]
        .startswith("Not graded: a.ipynb. The exercises in c.ipynb count;")
    )


def test_saved_outputs_and_cells_without_a_text_do_no_harm(tmp_path):
    cells = [
        {"cell_type": "code", "outputs": ["x" * (30 << 20)]},
        {"cell_type": "code", "source": None},
        {"cell_type": "code", "source": ["class CNN: pass"]},
    ]
    (tmp_path / "lab.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))

    assert list(source.read(tmp_path).originals) == ["cnn"]


def test_a_prepared_notebook_is_graded_as_the_notebook(tmp_path):
    cells = [v4.new_markdown_cell("# x"), v4.new_code_cell("class CNN: pass", execution_count=3)]
    cells[1].outputs = [v4.new_output("stream", text="x")]
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "lab.ipynb").write_text(json.dumps(v4.new_notebook(cells=cells)))
    (tmp_path / "ada" / "helper.py").touch()
    (tmp_path / "ada" / "training.py").write_text(STUB)
    (tmp_path / "target").mkdir()

    found = source.read(tmp_path / "ada")
    found.write(tmp_path / "target")

    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == [
        "helper.py",
        "lab.ipynb",
    ]
    assert found.sha256 == source.read(tmp_path / "target").sha256
    for folder in ("ada", "target"):
        read = notebook.read(tmp_path / folder / "lab.ipynb")
        assert read.modules["cnn.py"].places == ("cell 2 (In [3]), line 1",)


def test_a_notebook_that_is_a_link_is_refused(tmp_path):
    place = written(tmp_path / "other" / "lab.ipynb", "class CNN: pass")
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / "lab.ipynb").symlink_to(place)

    for path in (tmp_path / "ada", tmp_path / "ada" / "lab.ipynb"):
        with pytest.raises(SourceError, match="is a link"):
            source.read(path)


def test_a_digest_is_of_the_code_and_not_of_what_was_printed(tmp_path):
    first = source.read(written(tmp_path / "a.ipynb", "x = 1", "class CNN: pass")).sha256
    cells = [v4.new_code_cell("class CNN: pass", outputs=[v4.new_output("stream", text="hello")])]
    (tmp_path / "b.ipynb").write_text(json.dumps(v4.new_notebook(cells=cells)))

    assert source.read(tmp_path / "b.ipynb").sha256 == first
    assert source.read(written(tmp_path / "c.ipynb", "class CNN: x = 1")).sha256 != first
