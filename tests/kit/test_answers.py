"""Whatever the learner's side answers, the grader gets checked data or one kind of exception."""

import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_lab.submission import answers
from mnist_lab.submission.caller import Caller, SubmissionFailure
from mnist_lab.submission.client import Batches, ExerciseHandle, Recipe
from mnist_lab.submission.protocol import Message, WireError

IMAGES = torch.zeros(4, 1, 28, 28)
LABELS = torch.zeros(4, dtype=torch.int64)
RECIPE = Recipe("linear", {"linear.weight": torch.zeros(10, 784), "linear.bias": torch.zeros(10)})
BATCHES = Batches(IMAGES, LABELS)

OPERATIONS = {
    "build": lambda exercise: exercise.build("FNN"),
    "forward": lambda exercise: exercise.build("FNN")(IMAGES),
    "gradients": lambda exercise: exercise.build("FNN").gradients(IMAGES, torch.zeros(4, 10)),
    "weights": lambda exercise: exercise.build("FNN").weights(),
    "fit": lambda exercise: exercise.build("FNN").fit(IMAGES, LABELS, 2),
    "learn": lambda exercise: exercise.build("FNN").learn(IMAGES, LABELS, IMAGES),
    "on_fake_device": lambda exercise: exercise.build("FNN").on_fake_device(),
    "transform": lambda exercise: exercise.test_transform()([IMAGES[0, 0]]),
    "reseeds": lambda exercise: exercise.test_transform().reseeds(IMAGES[0, 0]),
    "downsample": lambda exercise: exercise.downsample(4, 2),
    "make_loaders": lambda exercise: exercise.make_loaders((IMAGES, LABELS), (IMAGES, LABELS)),
    "train_epoch": lambda exercise: exercise.train_epoch(RECIPE, BATCHES),
    "train": lambda exercise: exercise.train(RECIPE, BATCHES),
    "evaluate": lambda exercise: exercise.evaluate(RECIPE, BATCHES),
    "confusion_matrix": lambda exercise: exercise.confusion_matrix(RECIPE, BATCHES),
}

SCORE = {"loss": 1.0, "accuracy": 0.5, "types": ["float", "float"]}
PARAMETER = {"name": "w", "shape": [2], "dtype": "float32", "requires_grad": True}
ANSWER = Message(
    {
        "id": 0,
        "parameters": [PARAMETER],
        "buffers": [],
        "modules": ["FNN"],
        "unregistered": [],
        "made": 0,
        "requires_grad": False,
        "training_after": False,
        "losses": [2.0, 1.0],
        "epochs": [{"loss": 1.0, "accuracy": 0.5, "seconds": 1.0}],
        "stopped": "",
        "shape": [4, 10],
        "device": "meta",
        "reseeds": [],
        "length": 2,
        "labels_kept": True,
        "train.batches": [1, 1],
        "test.batches": [1, 1],
        "batches": [4],
        "modes": [True],
        "grad_enabled": [True],
        "fresh": [True],
        "steps": 1,
        "passes": 1,
        "optimizers": [{"name": "SGD", "options": {"lr": 0.1, "betas": [0.9, 0.99]}}],
        "requires_grad_after": True,
        "grad_after": True,
        "default_dtype_after": "torch.float32",
        "reseeded": False,
        "recorded": 1,
        "history": [SCORE],
        "score": SCORE,
        "type": "list",
    },
    {
        "logits": torch.zeros(4, 10),
        "logits.0": torch.zeros(4, 10),
        "parameters.w": torch.zeros(2),
        "weights.w": torch.zeros(2),
        "weights.linear.weight": torch.zeros(10, 784),
        "weights.linear.bias": torch.zeros(10),
        "gradients.0.linear.bias": torch.zeros(10),
        "matrix": torch.zeros(10, 10),
        "images": IMAGES[:1],
        "indices": torch.tensor([3, 1]),
        **{f"{side}.{n}.0.images": IMAGES for side in ("train", "test") for n in (0, 1)},
        **{f"{side}.{n}.0.labels": LABELS for side in ("train", "test") for n in (0, 1)},
    },
)
"""An answer that is right for every operation but ``gradients``."""


class Answering:
    """A worker that gives the same answer to everything."""

    alive = True

    def __init__(self, answer: Message) -> None:
        self.answer = answer

    def ask(self, operation: str, request: Message, seconds: float) -> Message:
        return Message() if operation == "load" else self.answer

    def take_output(self) -> str:
        return ""

    def stop(self) -> None:
        pass


def exercise(answer: Message) -> ExerciseHandle:
    return ExerciseHandle(Caller("fnn.py", Path("fnn.py"), lambda: Answering(answer)))


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
@settings(max_examples=40, deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from([*ANSWER.fields, "error"]), JSON, max_size=3),
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
        ("gradients", {"images": IMAGES, "parameters.w": torch.zeros(3)}),
        ("gradients", {"images": IMAGES[:2]}),
        ("transform", {"images": IMAGES}),
        ("learn", {"logits.0": torch.zeros(4, 9)}),
        ("downsample", {"indices": torch.zeros(2)}),
        ("downsample", {"indices": torch.arange(3)}),
        ("train", {"weights.linear.bias": torch.zeros(9)}),
        ("train", {"weights.linear.bias": torch.zeros(10, dtype=torch.float16)}),
        ("train", {"gradients.0.linear.bias": torch.zeros(9)}),
        ("train", {"gradients.0.other": torch.zeros(9)}),
        ("confusion_matrix", {"matrix": torch.full((10, 10), torch.nan)}),
    ],
)
def test_arrays_that_can_not_be_are_refused(name, changed):
    with pytest.raises(SubmissionFailure):
        OPERATIONS[name](exercise(Message(ANSWER.fields, ANSWER.arrays | changed)))


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
