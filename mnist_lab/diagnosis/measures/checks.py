"""Do ``evaluate`` and ``confusion_matrix`` measure what their handout asks for?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, Waiting, draws, explain, fail, reference
from mnist_lab.diagnosis.degenerate import of_table
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import Fault, edited
from mnist_lab.diagnosis.measures import amounts, bank, comparing
from mnist_lab.diagnosis.measures.bank import observed
from mnist_lab.diagnosis.measures.numbers import IN_FLOAT32, Column, explain_numbers, matrices
from mnist_lab.diagnosis.reference import ACCURACY, LOSS, MATRIX
from mnist_lab.submission.answers import Batches, Confusion, Evaluated, Facts, Recipe, Score
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle

Answer = Evaluated | Confusion


@dataclass(frozen=True)
class Quiz:
    """A model whose answers are known, and what it is asked, as ``said`` in a sentence."""

    recipe: Recipe
    batches: Batches
    said: str

    @property
    def logits(self) -> Tensor:
        assert self.recipe.plus is not None
        return self.recipe.weights["table"] + self.recipe.plus

    @property
    def scored(self) -> tuple[reference.Batch, ...]:
        """The model's logits and the labels, batch by batch."""
        logits = self.logits.split(self.batches.batch_size)
        labels = self.batches.labels.split(self.batches.batch_size)
        return tuple(zip(logits, labels, strict=True))

    @property
    def asked(self) -> tuple[float, float]:
        """Loss and accuracy."""
        logits, labels = self.logits, self.batches.labels
        return reference.cross_entropy(logits, labels).item(), reference.accuracy(logits, labels)

    @property
    def counts(self) -> Tensor:
        """The confusion matrix."""
        return reference.confusion_matrix(self.logits, self.batches.labels)

    def has(self, answer: Answer) -> bool:
        """Whether it is right, apart from its types."""
        return _as_scored(answer, self.logits, self.batches.labels)


def check_evaluate(exercise: ExerciseHandle, grader: Grader) -> None:
    """``evaluate`` returns the mean loss and the accuracy over all examples."""
    first, *_ = _expect(exercise, "evaluate", _quizzes(grader, "evaluate"))
    _expect_all_of_many(exercise, grader, "evaluate", 100, 5_000)
    if isinstance(first, Evaluated) and (tensors := _tensors(first.score)):
        kinds = " and ".join(f"a {kind}" for kind in first.score.types)
        said = f"Loss and accuracy are {kinds}; two floats are asked for."
        raise explain.failure([tensors], said)


def check_confusion_matrix(exercise: ExerciseHandle, grader: Grader) -> None:
    """``confusion_matrix`` counts each pair of true and predicted digit."""
    name = "confusion_matrix"
    _expect(exercise, name, _quizzes(grader, name))
    _expect_all_of_many(exercise, grader, name, 4, 500)


def check_state(exercise: ExerciseHandle, grader: Grader) -> None:
    """By the numbers of a model that gives others in train mode, and others again with gradients.

    In float32, as learners' own models are, and in batches of one size, so that a mean over batches
    is no mistake of this check's.
    """
    generator = grader.generator("evaluation.state")
    weights = draws.normed_weights(generator)
    count = 10 * int(torch.randint(3, 7, (), generator=generator))
    labels = torch.randint(10, (count,), generator=generator)
    batches = Batches(draws.digits(generator, count)[0].double(), labels, 10)
    moved = 4 * torch.randn(10, generator=generator, dtype=torch.float64)
    plus = draws.plus(generator)
    recipe = Recipe("normed", weights, training=True, with_gradient=moved, plus=plus)
    logits = reference.normed_fnn(weights, batches.images, training=False) + plus
    recipe, batches = comparing.in_float32(recipe, batches)

    answers = {name: _answer_if_it_can(exercise, name, recipe, batches) for name in ANSWERS}
    right = {name: _as_scored(each, logits, labels) for name, each in answers.items()}
    for name, each in answers.items():
        if not each.facts.batches and not right[name]:  # It has no state to keep.
            raise explain.failure(
                [[observed("does-not-run-the-model")]],
                f"No batch of images reached it in {name}, and what is returned is not what it "
                "computes.",
            )
    left = {
        name: [
            *_state(recipe, answers[name]),
            *comparing.reseeds(exercise, getattr(exercise, name), recipe, batches),
            *comparing.elsewhere(getattr(exercise, name), recipe, batches),
        ]
        for name in ANSWERS
    }
    _expect_state(left)
    for name in (name for name in ANSWERS if not right[name]):
        for changed, said in comparing.odd_images(answers[name].facts, batches):
            raise explain.failure([[observed(changed)]], f"{name}: {said}")
        for quiz in _quizzes(grader, name):
            if not quiz.has(_answer_if_it_can(exercise, name, quiz.recipe, quiz.batches)):
                other = fail(
                    f"{name} does not give the same results each time.",
                    "They were right before, and for the same model and batches are not any more.",
                    "Use the arguments alone: draw nothing, and keep nothing of earlier calls.",
                )
                raise Waiting(f"evaluation.{name}", other)
        raise _other_mode(name, answers[name].facts)


ANSWERS = ("evaluate", "confusion_matrix")


def _answer(
    exercise: ExerciseHandle, name: str, recipe: Recipe, batches: Batches, device: str = "cpu"
) -> Answer:
    return comparing.in_float64(partial(getattr(exercise, name), device=device), recipe, batches)


def _answer_if_it_can(
    exercise: ExerciseHandle, name: str, recipe: Recipe, batches: Batches
) -> Answer:
    """Raises ``Waiting`` where it raises something, of which the function's own check says more."""
    try:
        return _answer(exercise, name, recipe, batches)
    except SubmissionFailure as failure:
        event = failure.event
        if failure.outcome != "failed" or event.kind != "raised" or event.operation == "load":
            raise
        raise Waiting(f"evaluation.{name}", failure) from None


def _as_scored(answer: Answer, logits: Tensor, labels: Tensor) -> bool:
    """Whether it is what these scores come to."""
    if isinstance(answer, Confusion):
        return torch.equal(
            answer.matrix.double(), reference.confusion_matrix(logits, labels).double()
        )
    loss, accuracy = answer.score.loss, answer.score.accuracy
    mean = reference.cross_entropy(logits, labels).item()
    right = reference.accuracy(logits, labels)
    return comparing.close(loss, mean, len(labels)) and comparing.close(accuracy, right)


def _other_mode(what: str, facts: Facts) -> CheckFailure:
    partly = "A part of the model was in train mode." if any(facts.partly) else ""
    return fail(
        f"{what} returns something else than the model in eval mode gives.",
        f"The model has batch normalisation and came in train mode. {partly}".strip(),
        "Put the whole model into eval mode first, and leave it so: model.eval().",
    )


def check_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    """Both give the same on a GPU."""
    for name in ANSWERS:
        _expect(exercise, name, _quizzes(grader, name), "cuda")


# What is asked: a few examples on which every mistake shows, and many

CLEAR = 1.2 * comparing.NUMBER
"""What a mistake changes at least, as a part of the number. Rounding to four digits changes no more
than 5e-5, 1.7e-5 of a loss of 3: twice ``NUMBER`` would never be drawn."""


@lru_cache(maxsize=2)
def _quizzes(grader: Grader, name: str) -> tuple[Quiz, Quiz]:
    """For ``evaluate`` drawn until none of the known mistakes gives the numbers that are asked for
    by chance.
    """
    generator = grader.generator(f"evaluation.{name}")
    while True:
        quizzes = _few(generator), _many(generator)
        if name == "confusion_matrix" or _show_every_mistake(quizzes):
            return quizzes


def _show_every_mistake(quizzes: Sequence[Quiz]) -> bool:
    scored = [[quiz.scored for quiz in quizzes]]
    losses, accuracies = zip(*(quiz.asked for quiz in quizzes), strict=True)
    return not any(
        wrong and column.differs(wrong, [asked], CLEAR) < CLEAR
        for name, text, asked in (("loss", LOSS, losses), ("accuracy", ACCURACY, accuracies))
        for column in (Column(text, scored),)
        for fault in bank.of(name, "evaluate")
        for wrong in (edited(text, way) for way in fault.ways)
    )


def _few(generator: torch.Generator) -> Quiz:
    """29 examples of all digits; right more often in the large batches than in the small one, with
    errors that all go one way. The loss of one of them is ``draws.SURE``.
    """
    labels = torch.cat([torch.randperm(10, generator=generator) for _ in range(3)])[:29]
    confused = int(labels[0])
    wrong = [10, 11, 22, 25, 26, 27]
    labels[wrong] = (confused + torch.tensor([1, 1, 1, 1, 1, 2])) % 10
    table = _table(generator, labels, wrong, torch.full((6,), confused))
    table[wrong[0], labels[wrong[0]]] = table[wrong[0]].logsumexp(0) - draws.SURE
    said = "On 29 examples in batches of 12, 12 and 5."
    return Quiz(_recipe(generator, table), _batches(labels, 12), said)


def _many(generator: torch.Generator) -> Quiz:
    """700 examples, so many of two pairs of digits that no byte can count them; 9 and another
    digit neither occur nor are answered.
    """
    absent, often, taken, *others = torch.randperm(9, generator=generator).tolist()
    labels = torch.tensor([often] * 280 + [taken] * 270 + others * 25)
    read = labels.clone()
    read[280:550] = often
    read[600:] = torch.tensor(others)[torch.randint(6, (100,), generator=generator)]
    order = torch.randperm(700, generator=generator)
    labels, read = labels[order], read[order]
    wrong = (labels != read).nonzero().flatten()
    table = _table(generator, labels, wrong.tolist(), read[wrong])
    table[:, [absent, 9]] -= 40
    size = 16 + int(torch.randint(112, (), generator=generator))
    size += 700 % size == 0
    sizes = f"batches of {size}, the last of {700 % size}"
    said = f"On 700 examples in {sizes}; {absent} and 9 do not occur."
    return Quiz(_recipe(generator, table), _batches(labels, size), said)


def _further() -> list[Quiz]:
    """Two more, on which a mistake that was recognised by chance is not recognised again."""
    generator = torch.Generator().manual_seed(5)
    return [_random(generator, size, batch_size) for size, batch_size in ((211, 24), (75, 16))]


def _in_tens() -> list[list[Quiz]]:
    """As many examples in a batch as there are digits, so that a mix-up of the two is no error:
    some batches a call, and only one.
    """
    generator = torch.Generator().manual_seed(6)
    return [
        [_random(generator, size, 10) for size in sizes] for sizes in ((30, 70, 110), (10,) * 6)
    ]


def _random(generator: torch.Generator, size: int, batch_size: int) -> Quiz:
    """All of the second batch are right."""
    labels = torch.randint(10, (size,), generator=generator)
    wrong = [image for image in range(1, size, 3) if not batch_size <= image < 2 * batch_size]
    read = (labels[wrong] + torch.randint(1, 9, (len(wrong),), generator=generator)) % 10
    table = _table(generator, labels, wrong, read)
    table[0] += 30  # The best score of all is that of the first image.
    said = f"On {size} examples in batches of {batch_size}."
    return Quiz(_recipe(generator, table), _batches(labels, batch_size), said)


def _table(
    generator: torch.Generator, labels: Tensor, wrong: Sequence[int], read: Tensor
) -> Tensor:
    """Logits that read each image as its label, and the ``wrong`` ones as what they are ``read``.

    The best score of every third image equals its label's number, and that of every other third
    lies a little above it: who compares values and not positions is told apart.
    """
    size = len(labels)
    table = 2 * torch.randn(size, 10, generator=generator, dtype=torch.float64)
    answers = labels.clone()
    answers[wrong] = read
    margin = 0.2 + 2 * torch.rand(size, generator=generator, dtype=torch.float64)
    margin[wrong] += 3
    table[torch.arange(size), answers] = table.amax(1) + margin
    near = torch.arange(size) % 3
    above = torch.where(near == 0, 0.0, 0.3)
    moved = labels + above - table.amax(1)
    return torch.where((near < 2).unsqueeze(1), table + moved.unsqueeze(1), table)


def _recipe(generator: torch.Generator, table: Tensor) -> Recipe:
    """Of a model that answers with the rows of ``table``; the table that it has is another."""
    plus = draws.plus(generator)
    return Recipe("scripted", {"table": table - plus}, plus=plus)


def _batches(labels: Tensor, batch_size: int) -> Batches:
    """Image i is filled with i, by which the model knows what to answer."""
    numbers = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1)
    return Batches(numbers.expand(-1, 1, 28, 28), labels, batch_size)


FEW = 5
"""Examples of a batch that counts for little among thousands."""


def _expect_all_of_many(
    exercise: ExerciseHandle, grader: Grader, name: str, largest: int, one: int
) -> None:
    """Of batches up to the ``largest``, and ``one``: as many as all of MNIST makes, 128 or (in the
    full tier) 64 digits at a time.
    """
    generator = grader.generator(f"evaluation.{name} of many")
    recipe = amounts.recipe(generator)
    batches = amounts.batches(generator, 940 if grader.full else 470, largest, one)
    sizes = torch.tensor(batches.batch_size)
    worst = reference.linear(recipe.weights, batches.images).argmin(1)
    small = (sizes <= FEW).repeat_interleave(sizes)  # The model is wrong, that they may count.
    batches = replace(batches, labels=torch.where(small, worst, batches.labels))
    answer = _answer(exercise, name, *comparing.in_float32(recipe, batches))

    def like(part: Batches) -> bool:
        return _as_scored(answer, reference.linear(recipe.weights, part.images), part.labels)

    if not like(batches):
        exact = _answer(exercise, name, recipe, batches)
        if _as_scored(exact, reference.linear(recipe.weights, batches.images), batches.labels):
            many = f"On {len(batches.labels)} examples in {len(sizes)} batches."
            raise _other_in_float32(name, many)
        raise amounts.failure(name, batches, like)


def _expect(
    exercise: ExerciseHandle, name: str, quizzes: Sequence[Quiz], device: str = "cpu"
) -> list[Answer]:
    """What the function returns for the quizzes, if that is right, and right again when the model
    gives other scores.
    """
    wrong, unknown = _wrong_scores, _unknown_scores
    if name == "confusion_matrix":
        wrong, unknown = _wrong_counts, _unknown_counts
    changes: dict[str, list[str]] = {}

    def ask(quiz: Quiz) -> Answer:
        answer = _answer(exercise, name, quiz.recipe, quiz.batches, device)
        _note_changes(changes, name, quiz, answer)
        return answer

    answers, failure = _answers(ask, quizzes)
    right = all(map(_is_right, answers, quizzes))
    if failure and right:
        raise _on_even_batches(failure, ask, wrong)
    if not right:
        further = [] if failure else _answers(ask, _further())[0]
        known = wrong([*quizzes, *_further()], [*answers, *further])
        raise known or _changed(changes) or unknown(quizzes, answers)
    again = _called_again(_with_other_labels(quizzes[-1]))
    single = _in_float32(again)
    if _is_right(ask(single), single):
        return answers
    once = _in_float32(quizzes[-1])
    if not _is_right(ask(once), once) and _is_right(ask(again), again):
        raise _other_in_float32(name, once.said)
    raise explain.failure(
        [[observed("depends-on-earlier-calls")]],
        f"{again.said} {name} was called with batches of the same sizes and other labels, then "
        "twice with the same model and loader. The model gives other scores the second time, and "
        "what is returned then is not what they come to.",
    )


def _other_in_float32(name: str, said: str) -> CheckFailure:
    return fail(
        f"{name} gives something else for a model in float32.",
        f"{said} For one in float64 it gives what is asked for.",
        "Compute in the dtype of the model: leave autocast and conversions such as half() out.",
    )


def _in_float32(quiz: Quiz) -> Quiz:
    recipe, batches = comparing.in_float32(quiz.recipe, quiz.batches)
    return replace(quiz, recipe=recipe, batches=batches)


def _is_right(answer: Answer, quiz: Quiz) -> bool:
    return quiz.has(answer) and (isinstance(answer, Evaluated) or _is_whole(answer.matrix))


# What evaluate returns


def _tensors(score: Score) -> tuple[Fault, ...]:
    """A plain number keeps no graph alive."""
    plain = all(kind in comparing.NUMBERS for kind in score.types)
    return () if plain else (observed("returns-tensors"),)


def _wrong_scores(quizzes: Sequence[Quiz], returned: Sequence[Any]) -> CheckFailure | None:
    """The failure that names what is wrong with the scores, if that is known."""
    quizzes = quizzes[: len(returned)]
    scored = [[quiz.scored for quiz in quizzes]]
    told, asked = _told(returned), [quiz.asked for quiz in quizzes]
    found = explain_numbers("evaluate", [Column(LOSS, scored)], [Column(ACCURACY, scored)], [told])
    if not any(found.alternatives):
        return None
    at = comparing.first_wrong(told, asked)
    return explain.failure(
        [(*faults, *_tensors(returned[0].score)) for faults in found.alternatives],
        found.evidence(quizzes[at].said, told[at], asked[at], len(told)),
    )


def _unknown_scores(quizzes: Sequence[Quiz], returned: Sequence[Any]) -> CheckFailure:
    said = [quiz.said for quiz in quizzes]
    return comparing.unknown("evaluate", _told(returned), [quiz.asked for quiz in quizzes], said)


def _told(returned: Sequence[Any]) -> list[tuple[float, float]]:
    return [(each.score.loss, each.score.accuracy) for each in returned]


# What confusion_matrix returns


def _is_whole(matrix: Tensor) -> bool:
    """Whether its numbers are of an integer type."""
    return not (matrix.dtype.is_floating_point or matrix.dtype == torch.bool)


def _wrong_counts(quizzes: Sequence[Quiz], returned: Sequence[Any]) -> CheckFailure | None:
    """The failure that names what is wrong with the matrices, if that is known; of zeros alone
    nothing is.
    """
    if not any(each.matrix.any() for each in returned):
        return None
    calls = [quiz.scored for quiz in quizzes[: len(returned)]]
    told = [each.matrix.double() for each in returned]

    def differs(text: str) -> float:
        furthest = 0.0
        for expected, actual in zip(matrices(text, calls), told, strict=True):
            scale = max(1.0, actual.abs().max().item()) if actual.numel() else 1.0
            if expected.shape == actual.shape:  # no integer type has what 0 / 0 is
                expected = expected.where(~expected.isnan(), actual)
            furthest = max(furthest, explain.difference(actual, expected) / scale)
            if furthest >= IN_FLOAT32:
                break
        return furthest

    known = bank.of("matrix", "confusion_matrix")
    explanation = explain.explain(MATRIX, known, differs, IN_FLOAT32)
    at = next((at for at, each in enumerate(map(_is_right, returned, quizzes)) if not each), None)
    if explanation is None or at is None:
        return None
    if not _is_whole(returned[0].matrix):
        not_whole = [observed("matrix-not-integers")]
        with_type = tuple(
            (*faults, *([] if any("fractions" in fault.more for fault in faults) else not_whole))
            for faults in explanation.alternatives
        )
        explanation = replace(explanation, alternatives=with_type)
    matrix, counts = returned[at].matrix, quizzes[at].counts
    kind = str(matrix.dtype).removeprefix("torch.")
    shape = "x".join(map(str, matrix.shape))
    return explain.named(
        explanation,
        f"{quizzes[at].said} It returns {shape} numbers of the type {kind}, which sum to "
        f"{matrix.double().sum().item():g}{_first_difference(matrix, counts)}. Computed this "
        "way, all of them are the same.",
    )


def _first_difference(matrix: Tensor, counts: Tensor) -> str:
    if matrix.shape != counts.shape or not len(wrong := (matrix != counts).nonzero()):
        return ""
    row, column = wrong[0].tolist()
    return (
        f"; {matrix[row, column].item():g} in row {row}, column {column}, where "
        f"{counts[row, column].item()} is asked for"
    )


def _unknown_counts(quizzes: Sequence[Quiz], returned: Sequence[Any]) -> CheckFailure:
    pairs = zip(returned, quizzes, strict=False)
    answer, quiz = next(pair for pair in pairs if not _is_right(*pair))
    matrix, counts = answer.matrix, quiz.counts
    if matrix.shape != (10, 10):
        return fail(
            f"confusion_matrix returns counts of the shape {tuple(matrix.shape)}.",
            f"{quiz.said} (10, 10) is asked for, also where a digit does not occur.",
            expected=[10, 10],
            actual=list(matrix.shape),
        )
    if same := of_table(matrix, f"{quiz.said} Counts in several rows and columns are asked for."):
        return same
    wrong = (matrix != counts).nonzero().tolist()
    row, column = wrong[0]
    return fail(
        f"confusion_matrix has {matrix[row, column].item():g} in row {row}, column {column}; the "
        f"number of {row}s that the model reads as {column} is {counts[row, column].item()}.",
        f"{quiz.said} Its counts sum to {matrix.double().sum().item():g}; {len(wrong)} of 100 "
        f"{'is' if len(wrong) == 1 else 'are'} off.",
        "Add 1 for each image, in the row of its label and the column of the digit that the model "
        "reads.",
        expected=counts.tolist(),
        actual=matrix.tolist(),
    )


# What both may do


def _answers(
    ask: Callable[[Quiz], Answer], quizzes: Sequence[Quiz]
) -> tuple[list[Answer], SubmissionFailure | None]:
    """The answers until one is refused, and how it was."""
    answers: list[Answer] = []
    try:
        for quiz in quizzes:
            answers.append(ask(quiz))  # noqa: PERF401 - those before the failure are kept
    except SubmissionFailure as failure:
        return answers, failure
    return answers, None


def _with_other_labels(quiz: Quiz) -> Quiz:
    """Batches of the same sizes, and another answer."""
    labels = quiz.batches.labels.flip(0)
    return replace(quiz, batches=replace(quiz.batches, labels=labels))


def _called_again(quiz: Quiz) -> Quiz:
    """Asked twice of the same model, which reads all images as nines the first time."""
    assert quiz.recipe.plus is not None
    nines = quiz.recipe.plus + 40 * torch.arange(10)
    return replace(quiz, recipe=replace(quiz.recipe, calls=2, before=nines))


def _on_even_batches(
    failure: SubmissionFailure,
    ask: Callable[[Quiz], Answer],
    wrong: Callable[[Sequence[Quiz], Sequence[Answer]], CheckFailure | None],
) -> CheckFailure | SubmissionFailure:
    """Why code fails that has an answer as long as there are as many examples as digits."""
    if failure.outcome != "failed" or not failure.event.raised:
        return failure
    for quizzes in _in_tens():
        answers, refused = _answers(ask, quizzes)
        known = None if refused else wrong(quizzes, answers)
        if known:
            said = f"{failure.cause.message.rstrip('.')}. {known.cause.evidence}"
            told = {key: getattr(known.cause, key) for key in ("message", "fault", "hint")}
            return CheckFailure(replace(failure.cause, **told, evidence=said))
    return failure


def _note_changes(
    changes: dict[str, list[str]], what: str, quiz: Quiz, answer: Evaluated | Confusion
) -> None:
    """Note what the call changed of the model: then its later answers are not those asked for.

    Raises ``CheckFailure`` where the model got other images than the loader's.
    """
    for name, evidence in comparing.odd_images(answer.facts, quiz.batches):
        raise explain.failure([[observed(name)]], f"{what}: {evidence} {quiz.said}")
    for name, evidence in _state(quiz.recipe, answer):
        if name in ("trains", "weights-changed", "buffers-changed"):
            changes.setdefault(name, []).append(f"{what}: {evidence} {quiz.said}")


def _changed(changes: Mapping[str, Sequence[str]]) -> CheckFailure | None:
    """The failure for what explains wrong numbers where nothing else does."""
    if not changes:
        return None
    return explain.failure(
        [[observed(name) for name in changes]], " ".join(said[0] for said in changes.values())
    )


def _expect_state(wrong: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Everything that is wrong with the state after each of both functions."""
    seen: dict[str, list[tuple[str, str]]] = {}
    for what, each in wrong.items():
        for name, said in each:
            seen.setdefault(name, []).append((what, said))
    if seen:
        evidence = " ".join(f"{what}: {said}" for each in seen.values() for what, said in each)
        faults = [
            replace(fault, says=f"In {both} {fault.says[0].lower()}{fault.says[1:]}")
            for name, each in seen.items()
            for fault, both in [(observed(name), " and ".join(what for what, _ in each))]
        ]
        raise explain.failure([faults], evidence)


AVERAGES = "running averages, the buffers of batch normalisation"


def _state(recipe: Recipe, answer: Evaluated | Confusion) -> Iterator[tuple[str, str]]:
    """The names of the mistakes that show in what was seen, with their evidence."""
    facts = answer.facts
    changed = [
        name
        for name, before in recipe.weights.items()
        if comparing.furthest(answer.weights, {name: before}) > 0
    ]
    buffers = [name for name in changed if "running" in name]
    weights = [name for name in changed if name not in buffers]
    if any(facts.modes):
        averages = f", which changed its {AVERAGES}" if buffers else ""
        modes = f"{sum(facts.modes)} of {len(facts.modes)}"
        yield "no-eval-mode", f"the model was in train mode for {modes} batches{averages}."
    elif any(facts.partly):
        parts = f"{sum(facts.partly)} of {len(facts.partly)}"
        yield "partly-in-train-mode", f"some layers were in train mode for {parts} batches."
    elif facts.training_after:
        yield "left-in-train-mode", "the model is in train mode after the call."
    if any(facts.grad_enabled):
        on = f"{sum(facts.grad_enabled)} of {len(facts.grad_enabled)}"
        yield "gradients-on", f"they were on for {on} batches."
    if facts.steps:
        yield "trains", f"an optimizer made {facts.steps} steps."
    elif weights:
        yield "weights-changed", f"the call changes {len(weights)} of the model's weight tensors."
    if buffers and not any(facts.modes) and not any(facts.partly):
        yield "buffers-changed", f"the call changes the model's {AVERAGES}."
    yield from comparing.left_behind(facts)
