"""Whatever the learner's side answers, the grader gets checked data or one kind of exception."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab.submission import answers
from mnist_lab.submission.answers import Batches, Recipe
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle
from mnist_lab.submission.given import Given
from mnist_lab.submission.protocol import Message, WireError, encode

IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 28, 28)
LABELS = torch.zeros(4, dtype=torch.int64)
WEIGHTS = {
    "hidden.weight": torch.zeros(4, 784),
    "hidden.bias": torch.zeros(4),
    "output.weight": torch.zeros(10, 4),
    "output.bias": torch.zeros(10),
}
RECIPE = Recipe("mlp", WEIGHTS)
BATCHES = Batches(IMAGES, LABELS)

DATASET = (IMAGES, LABELS)

OPERATIONS = {
    "build": lambda exercise: exercise.build("FNN"),
    "forward": lambda exercise: exercise.build("FNN")(IMAGES),
    "gradients": lambda exercise: exercise.build("FNN").gradients(IMAGES, torch.zeros(4, 10)),
    "steps": lambda exercise: exercise.build("FNN").steps(IMAGES),
    "weights": lambda exercise: exercise.build("FNN").weights(),
    "on_fake_device": lambda exercise: exercise.build("FNN").on_fake_device(),
    "transform": lambda exercise: exercise.test_transform()([IMAGES[0, 0]]),
    "reseeds": lambda exercise: exercise.test_transform().reseeds(IMAGES[0, 0]),
    "downsample": lambda exercise: exercise.downsample(DATASET, 2),
    "make_loaders": lambda exercise: exercise.make_loaders(DATASET, DATASET),
    "train_epoch": lambda exercise: exercise.train_epoch(RECIPE, BATCHES),
    "train": lambda exercise: exercise.train(RECIPE, BATCHES),
    "evaluate": lambda exercise: exercise.evaluate(RECIPE, BATCHES),
    "confusion_matrix": lambda exercise: exercise.confusion_matrix(RECIPE, BATCHES),
}


def number(value: float) -> dict:
    return {"is": "number", "type": "float", "value": value, "whole": False}


def tensor(name: str) -> dict:
    return {"is": "tensor", "type": "Tensor", "name": name, "graph": False, "dtype": "float32"}


def parts(*values: dict) -> dict:
    return {"is": "tuple", "type": "tuple", "parts": list(values)}


PARAMETER = {"name": "w", "shape": [2], "dtype": "float32", "requires_grad": True}
PAIR, BATCH = parts(number(1.0), number(0.5)), parts(tensor("images"), tensor("labels"))
RETURNED = {
    "train_epoch": PAIR,
    "train": parts(PAIR, PAIR, PAIR),
    "evaluate": PAIR,
    "confusion_matrix": tensor("matrix"),
    "make_loaders": parts({"is": "object", "type": "DataLoader"}, {"is": "object", "type": "x"}),
}
"""What a right function returns, as a guest describes it; anything will do for the others."""

ANSWER = Message(
    {
        "id": 0,
        "kept": 0,
        "callable": True,
        "parameters": [PARAMETER],
        "buffers": [],
        "modules": {"": "FNN"},
        "unregistered": [],
        "made": 0,
        "places": [{"line": 1, "module": "", "inside": False}],
        "requires_grad": False,
        "training_after": False,
        "device": "meta",
        "columns": parts(tensor("items"), parts(number(0), number(0))),
        "passes": parts(*[parts(parts(BATCH), parts(BATCH))] * 2),
        "requires_grad_after": True,
        "grad_after": True,
        "default_dtype_after": "torch.float32",
        "draws_again": False,
        "reseeded": False,
    },
    {
        "logits": torch.zeros(4, 10),
        "steps.0": torch.zeros(4),
        "parameters.w": torch.zeros(2),
        "weights.w": torch.zeros(2),
        **{f"weights.{name}": value for name, value in WEIGHTS.items()},
        "matrix": torch.zeros(10, 10),
        "images": IMAGES[:1],
        "labels": LABELS[:1],
        "items": IMAGES[[3, 1]],
        **{name: torch.zeros(3, dtype=torch.uint8) for name in ("torch", "numpy", "random")},
    },
)
"""An answer that is right for every question but that for gradients."""


class Answering:
    """A worker that gives the same answer to everything."""

    alive = True

    def __init__(self, answer: Message) -> None:
        self.answer = answer

    def ask(self, operation: str, request: Message, seconds: float, given=None) -> Message:
        if operation == "load":
            return Message()
        if operation != "call":
            return self.answer
        returned = RETURNED.get(request.fields["name"], number(0.0))
        return Message({"returned": returned, **self.answer.fields}, self.answer.arrays)

    def take_output(self) -> str:
        return ""

    def stop(self) -> None:
        pass


def exercise(answer: Message) -> ExerciseHandle:
    return ExerciseHandle("fnn.py", {"fnn.py": b""}, lambda: Answering(answer))


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - {"gradients"}))
def test_a_right_answer_is_taken(name):
    OPERATIONS[name](exercise(ANSWER))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
ARRAYS = st.sampled_from(
    [
        torch.zeros(()),
        torch.full((4, 10), torch.nan),
        torch.zeros(0, 10),
        torch.zeros(3, dtype=torch.bool),
        torch.zeros(2, 3, dtype=torch.int64),
    ]
)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=40)
@given(
    fields=st.dictionaries(
        st.sampled_from([*ANSWER.fields, "returned", "odd", "kind", "error"]), JSON, max_size=3
    ),
    arrays=st.dictionaries(st.sampled_from([*ANSWER.arrays]), ARRAYS, max_size=3),
    missing=st.sets(st.sampled_from([*ANSWER.fields, *ANSWER.arrays]), max_size=1),
)
def test_a_wrong_answer_is_the_learners_failure_and_never_ours(name, fields, arrays, missing):
    answer = Message(
        {k: v for k, v in (ANSWER.fields | fields).items() if k not in missing},
        {k: v for k, v in (ANSWER.arrays | arrays).items() if k not in missing},
    )
    with contextlib.suppress(SubmissionFailure):
        OPERATIONS[name](exercise(answer))


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("forward", {"logits": torch.full((4, 10), torch.inf)}),
        ("gradients", {"parameters.w": torch.zeros(3)}),
        ("weights", {"weights.w": torch.zeros(3)}),
        ("transform", {"images": IMAGES}),
        ("downsample", {"items": torch.zeros(2)}),
        ("downsample", {"items": IMAGES[:2, 0]}),
        ("downsample", {"items": IMAGES[:2] + 0.5}),
        ("make_loaders", {"labels": torch.tensor(1)}),
        ("train", {"weights.output.bias": torch.zeros(9)}),
        ("train", {"weights.output.bias": torch.zeros(10, dtype=torch.float16)}),
        ("confusion_matrix", {"matrix": torch.full((10, 10), torch.nan)}),
    ],
)
def test_arrays_that_can_not_be_are_refused(name, changed):
    with pytest.raises(SubmissionFailure):
        OPERATIONS[name](exercise(Message(ANSWER.fields, ANSWER.arrays | changed)))


@pytest.mark.parametrize("shape", [[-2], [1 << 40], [1 << 20] * 3])
def test_a_parameter_of_a_size_that_can_not_be_is_refused(shape):
    told = {**ANSWER.fields, "parameters": [{**PARAMETER, "shape": shape}]}
    with pytest.raises(SubmissionFailure):
        OPERATIONS["build"](exercise(Message(told, ANSWER.arrays)))


TREES = st.recursive(
    st.sampled_from([number(1.0), tensor("images"), tensor("nothing"), {"is": "nothing"}, {}, 3])
    | st.fixed_dictionaries({"is": st.text(max_size=6), "type": st.text(max_size=3)}),
    lambda inner: st.builds(
        lambda each, kind: {"is": kind, "type": kind, "parts": each},
        st.lists(inner, max_size=3),
        st.sampled_from(["list", "tuple", "dict"]),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=40)
@given(
    fields=st.dictionaries(
        st.sampled_from(["returned", "columns", "passes", "odd"]), TREES | st.lists(TREES)
    )
)
def test_whatever_is_said_to_be_returned_is_a_failure_at_the_most(name, fields):
    with contextlib.suppress(SubmissionFailure):
        OPERATIONS[name](exercise(Message(ANSWER.fields | fields, ANSWER.arrays)))


@pytest.mark.parametrize("name", OPERATIONS)
def test_lists_in_lists_without_end_are_a_failure_at_the_most(name):
    deep = number(1.0)
    for _ in range(5000):  # JSON reads them from Python 3.12 on.
        deep = parts(deep)
    told = dict.fromkeys(["returned", "columns", "passes", "odd"], deep)
    with contextlib.suppress(SubmissionFailure):
        OPERATIONS[name](exercise(Message(ANSWER.fields | told, ANSWER.arrays)))


@pytest.mark.parametrize("part", [[1], [1, 2, 3], ["a", "b"], [True, 2]])
def test_a_part_of_a_line_that_has_no_two_ends_is_no_answer(part):
    words = ("raised", "is_a", "said", "where", "stack", "mistake", "bound")
    error = {**dict.fromkeys(words, ""), "column": 0, "facts": {}, "kind": "raised", "part": part}

    with pytest.raises(SubmissionFailure, match="is not an answer"):
        OPERATIONS["weights"](exercise(Message(ANSWER.fields | {"error": error}, ANSWER.arrays)))


ASKED = {
    "asks": "forward",
    "modes": {"": True, "hidden": True, "output": True},
    "grad": True,
    "of_images": False,
    "is_a_copy": False,
    "ticket": 1,
    "indices": [0, 1],
    "optimizer": 1,
    "name": "SGD",
    "options": {"lr": 0.1},
    "rates": [0.1],
    "betas": [0.9],
}
SENT = {
    "images": IMAGES.contiguous(),
    **{f"weights.{name}": value for name, value in WEIGHTS.items()},
    "slope": torch.ones(4, 10),
    "gradients.output.bias": torch.zeros(10),
}


@settings(max_examples=300)
@given(
    asks=st.lists(
        st.tuples(
            st.sampled_from(["forward", "backward", "examples", "step", "another"]),
            st.dictionaries(st.sampled_from([*ASKED]), JSON, max_size=2),
            st.dictionaries(st.sampled_from([*SENT]), ARRAYS, max_size=2),
            st.sets(st.sampled_from([*ASKED, *SENT]), max_size=1),
        ),
        max_size=4,
    )
)
def test_whatever_a_guest_asks_it_gets_an_answer_or_is_refused(asks):
    given = Given(RECIPE, BATCHES)
    for what, fields, arrays, missing in asks:
        told = {**ASKED, "asks": what, **fields}
        asked = Message(
            {k: v for k, v in told.items() if k not in missing},
            {k: v.clone() for k, v in (SENT | arrays).items() if k not in missing},
        )
        try:
            answer = given.answer(asked)
        except WireError:
            continue
        assert answer is None or isinstance(answer, Message)
        if answer is not None:
            encode(answer)


PASS = {"images", *(f"weights.{name}" for name in WEIGHTS)}


def test_a_right_question_gets_the_numbers_of_the_model():
    given = Given(RECIPE, BATCHES)
    asked = {name: value.clone() for name, value in SENT.items() if name in PASS}
    answer = given.answer(Message(ASKED, asked))
    assert torch.equal(answer.arrays["outputs"], torch.zeros(4, 10))
    back = given.answer(Message({**ASKED, "asks": "backward"}, SENT))
    assert torch.equal(back.arrays["weights.output.bias"], torch.full((10,), 4.0))


def test_text_of_a_learner_can_not_steer_a_terminal():
    assert answers.text("a\x1b[2J\tb\r\x07\n\ud800\u202e") == "a[2J\tb\n?"


def test_text_is_not_endless():
    assert len(answers.text("x" * 10**6)) == answers.MAX_TEXT


@pytest.mark.parametrize("value", [10**400, -(10**30)])
def test_a_number_beyond_all_bounds_is_refused(value):
    with pytest.raises(WireError):
        answers.of(value, float, "loss")
    with pytest.raises(WireError):
        answers.of(value, int, "steps")


def test_of_more_images_than_the_loader_has_none_are_kept():
    given = Given(RECIPE, BATCHES)
    for count in (4, 1000):
        images = torch.zeros(count, 1, 28, 28)
        asked = {name: value.clone() for name, value in SENT.items() if "weights" in name}
        given.answer(Message(ASKED, {**asked, "images": images}))

    facts = given.facts(ANSWER)
    assert facts.batches == [4, 1000]
    assert [len(images) for images in facts.inputs] == [4]
