"""The pictures show the numbers of the comparison, legibly, whatever it holds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from mnist_lab import plots
from mnist_lab.augment import augment, draw
from mnist_lab.contract import MEAN, STD
from mnist_lab.data import Split


def only(comparison, *names):
    kept = tuple(result for result in comparison.results if result.name in names)
    return replace(comparison, results=kept)


def cut_short(comparison):
    """The same with the CNN stopped after its first epoch."""
    *others, cnn = comparison.results
    history = replace(cnn.history, epochs=cnn.history.epochs[:1], stopped="Interrupted.")
    missing = ("Convolutional network: Interrupted.",)
    return replace(comparison, results=(*others, replace(cnn, history=history)), missing=missing)


def with_accuracies(comparison, name, *accuracies):
    """The same with the accuracies of ``name`` after each epoch replaced."""
    epoch = comparison.results[0].history.epochs[0]
    epochs = tuple(replace(epoch, train_accuracy=a, test_accuracy=a) for a in accuracies)
    results = tuple(
        replace(result, history=replace(result.history, epochs=epochs))
        if result.name == name
        else result
        for result in comparison.results
    )
    return replace(comparison, results=results)


def misreading_nothing(comparison):
    result = comparison.results[-1]
    labels = comparison.digits.test.labels
    right = replace(
        result,
        probabilities=np.eye(10, dtype=np.float32)[labels],
        confusion_matrix=np.diag(torch.bincount(labels, minlength=10).numpy()),
    )
    return replace(comparison, results=(right,))


KINDS = {
    "three models": lambda comparison: comparison,
    "two models": lambda comparison: only(comparison, "fnn", "cnn"),
    "one model": lambda comparison: only(comparison, "logistic_regression"),
    "a model cut short": cut_short,
    "one epoch": lambda comparison: with_accuracies(only(comparison, "fnn"), "fnn", 0.9),
    "no misreading": misreading_nothing,
}


def laid_out(figure):
    figure.draw_without_rendering()
    return figure


CASES = [
    *((name, "three models") for name in plots.FIGURES),
    *(
        (name, kind)
        for name in ("accuracy_curves", "confusion_matrices", "misread_gallery")
        for kind in list(KINDS)[1:]
    ),
]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_no_word_of_a_picture_is_cut_off_or_written_over_another(comparison, name, kind):
    figure = laid_out(plots.FIGURES[name](KINDS[kind](comparison)))
    boxes = [box for text in words_of(figure) if is_shown(text, box := text.get_window_extent())]
    whole = figure.bbox.padded(1)
    assert all(whole.contains(*corner) for box in boxes for corner in box.corners())
    inner = [box.padded(-1) for box in boxes]
    assert not any(a.overlaps(b) for place, a in enumerate(inner) for b in inner[:place])


def words_of(figure):
    loose = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and (text.axes or text in loose)
    ]


def is_shown(text, box):
    """Whether a word is drawn: matplotlib keeps labels of ticks beyond the ends of an axis."""
    axes = text.axes
    if axes is None:
        return True
    ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    if text not in ticks:
        return text in axes.texts or axes.axison or bool(axes.get_title("left"))
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return axes.axison and (
        axes.bbox.x0 - 1 <= x <= axes.bbox.x1 + 1 or axes.bbox.y0 - 1 <= y <= axes.bbox.y1 + 1
    )


def test_drawing_leaves_no_state_of_pyplot_behind(comparison):
    for picture in plots.FIGURES.values():
        picture(comparison)
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def test_accuracy_has_a_panel_for_each_model_with_its_history(comparison):
    panels = plots.accuracy_curves(comparison).axes
    assert len(panels) == 3
    for axes, result in zip(panels, comparison.results, strict=True):
        tested, trained = (line.get_ydata() for line in axes.lines)
        assert list(tested) == [epoch.test_accuracy for epoch in result.history.epochs]
        assert list(trained) == [epoch.train_accuracy for epoch in result.history.epochs]
        assert result.title in axes.get_title()


def test_lines_differ_in_more_than_colour(comparison):
    tested, trained = plots.accuracy_curves(comparison).axes[0].lines
    assert tested.get_linestyle() != trained.get_linestyle()
    assert tested.get_marker() != trained.get_marker()


def test_ninety_and_ninety_nine_percent_both_have_room(comparison):
    apart = with_accuracies(comparison, "logistic_regression", 0.8, 0.9)
    apart = with_accuracies(apart, "fnn", 0.95, 0.97)
    apart = with_accuracies(apart, "cnn", 0.98, 0.99)
    figure = laid_out(plots.accuracy_curves(apart))
    for axes in figure.axes:
        low, high = axes.lines[0].get_window_extent().intervaly
        assert high - low > 0.1 * axes.bbox.height


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_accuracies_of_zero_and_one_lie_inside_the_panel(comparison, accuracy):
    figure = laid_out(plots.accuracy_curves(with_accuracies(comparison, "cnn", accuracy)))
    low, high = figure.axes[0].get_ylim()
    assert all(low < y < high for axes in figure.axes for y in axes.lines[0].get_ydata())


def test_a_single_epoch_is_a_mark_above_the_number_one(comparison):
    axes = laid_out(plots.accuracy_curves(KINDS["one epoch"](comparison))).axes[0]
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]
    assert axes.lines[0].get_marker() == "o"


def test_bars_are_the_shares_of_the_labels(comparison):
    axes = plots.label_distribution(comparison).axes[0]
    digits = comparison.digits
    for bars, split in zip(axes.containers, (digits.train, digits.test), strict=True):
        shares = torch.bincount(split.labels, minlength=10) / len(split)
        assert [bar.get_height() for bar in bars] == pytest.approx(shares.tolist())


def tile(panel, row, column):
    """An image of a grid, without the line around it."""
    pixels = panel.images[0].get_array()
    return np.asarray(pixels[1 + row * 29 :, 1 + column * 29 :][:28, :28])


def test_a_column_of_the_samples_holds_one_digit_of_the_training_split(comparison):
    panel, _ = plots.sample_images(comparison).axes
    train = comparison.digits.train
    for digit in range(10):
        images = train.images[train.labels == digit].numpy() / 255
        for row in range(plots.SAMPLES):
            assert np.array_equal(tile(panel, row, digit), images[row])


def test_the_augmented_samples_are_those_that_the_models_saw(comparison):
    _, panel = plots.sample_images(comparison).axes
    train, seed = comparison.digits.train, comparison.settings.seed
    first = (train.labels == 7).nonzero()[0]
    for epoch in range(plots.AUGMENTED):
        seen = augment(train.images[first], draw(seed, epoch, len(train))[first])
        assert np.allclose(tile(panel, epoch, 7), seen[0, 0] * STD + MEAN, atol=1e-6)


def test_without_augmentation_only_the_digits_themselves_are_shown(comparison):
    plain = replace(comparison, settings=replace(comparison.settings, augment=False))
    assert len(plots.sample_images(plain).axes) == 1


def test_a_digit_that_the_training_split_lacks_leaves_its_column_empty(comparison):
    train = comparison.digits.train
    digits = replace(comparison.digits, train=train[train.labels != 3])
    panel, augmented = plots.sample_images(replace(comparison, digits=digits)).axes
    assert not tile(panel, 0, 3).any()
    assert not tile(augmented, 0, 3).any()
    assert tile(augmented, 0, 4).any()


def counts_shown(axes):
    cells = [int(text.get_text() or 0) for text in axes.texts]
    return np.array(cells).reshape(10, 10)


def test_heatmaps_show_the_counts_and_the_cnn_is_the_large_one(comparison):
    figure = laid_out(plots.confusion_matrices(comparison))
    large, *small = figure.axes
    others, cnn = comparison.results[:2], comparison.results[2]
    assert np.array_equal(counts_shown(large), cnn.confusion_matrix)
    for axes, result in zip(small, others, strict=True):
        assert np.array_equal(counts_shown(axes), result.confusion_matrix)
        assert axes.bbox.width < 0.6 * large.bbox.width


def test_without_a_cnn_the_most_accurate_model_is_featured(comparison):
    fewer = only(comparison, "logistic_regression", "fnn")
    best = max(fewer.results, key=lambda result: result.accuracy)
    assert plots.featured(fewer) is best
    assert best.title in plots.confusion_matrices(fewer).axes[0].get_title()


def test_the_gallery_shows_misread_digits_surest_first(comparison):
    result, test = plots.featured(comparison), comparison.digits.test
    wrong = plots.misreadings(result, test)
    surest = result.probabilities[wrong].max(1)
    assert len(wrong) == result.tested - result.confusion_matrix.trace()
    assert np.all(np.diff(surest) <= 0)

    panels = plots.misread_gallery(comparison).axes
    for axes, place in zip(panels, wrong, strict=False):
        true, read = int(test.labels[place]), int(result.predictions[place])
        assert axes.get_title("left") == f"{true} read as {read}"
        assert np.array_equal(axes.images[0].get_array()[1:-1, 1:-1] * 255, test.images[place])


def test_bars_of_the_gallery_are_the_probabilities(comparison):
    result = plots.featured(comparison)
    first = plots.misreadings(result, comparison.digits.test)[0]
    widths = [bar.get_width() for bar in plots.misread_gallery(comparison).axes[0].containers[0]]
    assert np.allclose(np.array(widths) / 28, result.probabilities[first], atol=1e-6)


def test_fewer_misreadings_than_places_leave_the_rest_blank(comparison):
    result, test = plots.featured(comparison), comparison.digits.test
    kept = plots.misreadings(result, test)[:4]
    few = replace(result, probabilities=result.probabilities[kept])
    digits = replace(comparison.digits, test=Split(test.images[kept], test.labels[kept]))
    panels = plots.misread_gallery(replace(comparison, digits=digits, results=(few,))).axes
    assert [bool(axes.images) for axes in panels] == [True] * 4 + [False] * 2


def test_a_model_without_misreadings_is_said_to_have_none(comparison):
    figure = plots.misread_gallery(misreading_nothing(comparison))
    assert "misreads none of the 200 test digits" in figure.texts[0].get_text()
