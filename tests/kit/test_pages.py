"""The pages in a real browser: they show, compute and look as they should, and load nothing."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnist_lab import grade, kit, report
from mnist_lab.grade import Cause, Result
from mnist_lab.grading.batch import pages
from mnist_lab.grading.batch.analysis import Analysis, Learner
from mnist_lab.grading.batch.results import Graded, NotGraded
from mnist_lab.grading.batch.similar import Pair, Passage
from mnist_lab.report.files import contents
from mnist_lab.report.live import MOST_OF_A_CELL, live

MOST_BYTES = 4_000_000
PICTURES = 250_000
"""More than the pictures of a page take."""
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PAPER = {"width": 718, "height": 1000}
ONE = ((0.5, 0.15), (0.52, 0.85))
HOSTILE = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'> `<b>` & end"


def graded(name="ada", tier="quick", **causes):
    """All checks passed but those in ``causes``, by id with ``__`` for the dot."""
    ran = [check for check in kit.load().checks if tier == "full" or check.tier == "quick"]
    results = {check.id: Result("passed") for check in ran}
    results |= {
        check.replace("__", "."): Result("failed", cause=cause) for check, cause in causes.items()
    }
    results["evaluation.state"] = Result("todo", cause=Cause("It is not written yet."))
    results["training.state"] = Result("blocked", cause=Cause("It waits for training.steps."))
    return grade.build(
        kit.load(), results, version="0", submission=name, sha256="0", tier=tier, seed=3
    )


def hostile():
    return Cause(
        HOSTILE,
        fault="cnn.<b>",
        evidence=HOSTILE,
        hint=HOSTILE,
        where=HOSTILE,
        actual=HOSTILE,
        traceback=HOSTILE,
        output=HOSTILE,
    )


def feedback_page(name, outcome):
    return pages.feedback(Learner(name, "ada", outcome), attainable=85)["html"]


def class_page(*names):
    grades = graded(tier="full", cnn__network=hostile())
    reached = {"logistic_regression": 0.9, "fnn": 0.97, "cnn": 0.99}
    outcome = Graded(grades, digits="mnist", accuracy=reached)
    learners = [Learner(name, "ada", outcome) for name in names]
    learners.append(Learner("bob", "bob", NotGraded(HOSTILE)))
    found = Analysis(learners, 100)
    passage = Passage("cnn", 0.9, (HOSTILE, "cnn.py:1-2"), (f"{HOSTILE * 20}\n{HOSTILE}", "x"))
    pairs = [Pair((names[0], "bob"), (passage,))]
    return pages.class_page(found, [("Seed", "3")], [HOSTILE], pairs)


@pytest.fixture(scope="session")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
    )
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium here: apt install chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture(scope="session")
def written(comparison, tmp_path_factory):
    """The folder of a report on ``comparison``. Read it, do not change it."""
    return report.write(comparison, tmp_path_factory.mktemp("pages") / "report").parent


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page, the path of a file or its text; fails if it complains or asks for more."""
    contexts, complaints, asked = [], [], []

    def open_page(page, size=DESKTOP, **options):
        path = page
        if not isinstance(page, Path):
            path = tmp_path / f"{len(contexts)}.html"
            path.write_text(page, "utf-8")
        contexts.append(browser.new_context(viewport=size, **options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda said: complaints.append(said.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(path.as_uri())
        asked[:] = [url for url in asked if url != path.as_uri() and not url.startswith("data:")]
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
    assert asked == []


@pytest.fixture
def opened(show, written):
    """The page of the report on a desktop."""
    return show(written / "report.html")


def until(tab, happened):
    """Wait for what comes with one of the next frames. The page's policy forbids Playwright's own
    waiting, which evaluates text in the page."""
    for _ in range(400):
        if happened():
            return
        tab.wait_for_timeout(25)
    raise AssertionError("it did not happen within 10 seconds")


def answered(tab):
    return tab.locator(".answer li").first.get_attribute("data-probability") != ""


@pytest.fixture
def page_of(undrawn):
    """The text of the page on a comparison, without matplotlib's pictures, which take seconds."""
    return lambda *about: contents(*about)["report.html"].decode()


def shown_probabilities(tab, model):
    rows = tab.locator(f"[data-model={model}] li")
    return [float(row) for row in rows.evaluate_all("all => all.map(r => r.dataset.probability)")]


def draw(tab, *points):
    """Draw a stroke through ``points``, (x, y) in parts of the pad."""
    pad = tab.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    first, *others = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points
    ]
    tab.mouse.move(*first)
    tab.mouse.down()
    for point in others:
        tab.mouse.move(*point, steps=5)
    tab.mouse.up()
    until(tab, lambda: answered(tab))


def pixels_on_the_pad(tab):
    script = (
        "seen => seen.getContext('2d').getImageData(0, 0, 28, 28).data.filter((_, i) => !(i % 4))"
    )
    return np.array(list(tab.locator("#seen").evaluate(f"s => Array.from(({script})(s))")))


# The report


def test_the_confusion_matrices_hold_the_counts_of_the_results(opened, written):
    results = json.loads((written / "results.json").read_text("utf-8"))
    for number, model in enumerate(results["models"]):
        cells = opened.locator(".matrix").nth(number).locator("[role=gridcell]")
        counts = [int(text or 0) for text in cells.all_text_contents()]
        assert np.reshape(counts, (10, 10)).tolist() == model["confusion_matrix"]


def test_the_page_is_below_its_limit(written):
    assert (written / "report.html").stat().st_size < MOST_BYTES


def test_the_page_of_models_that_misread_nearly_all_is_below_its_limit(page_of, comparison):
    rng = np.random.default_rng(0)
    digits = comparison.digits
    test = replace(
        digits.test,
        images=digits.test.images.repeat(25, 1, 1),
        labels=digits.test.labels.repeat(25),
    )
    results = []
    for result in comparison.results:
        guessed = rng.random((len(test), 10), dtype=np.float32)
        counts = np.zeros((10, 10), int)
        np.add.at(counts, (test.labels.numpy(), guessed.argmax(1)), 1)
        results.append(replace(result, probabilities=guessed, confusion_matrix=counts))
    wide = replace(comparison, digits=replace(digits, test=test), results=tuple(results))
    weights = sum(len(model["weights"]) for model in live(comparison).data["models"])
    assert weights + len(page_of(wide)) + PICTURES < MOST_BYTES


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_is_wider_than_its_window(show, written, size):
    texts = [
        written / "report.html",
        feedback_page("ada", Graded(graded(cnn__network=hostile()))),
        class_page("a" * 80, "a.rather-long-name.of-a-learner@example.org"),
    ]
    for text in texts:
        tab = show(text, size)
        assert tab.evaluate("document.documentElement.scrollWidth") <= size["width"]


# The class


def test_the_learners_of_a_class_are_searched_filtered_and_sorted(show):
    wrong = graded(cnn__network=Cause("No ReLU.", fault="cnn.no-relu-conv2"))
    outcomes = {"ada": wrong, "bob 10": graded(), "bob 9": graded(fnn__network=Cause("No bias."))}
    learners = [Learner(name, name, Graded(each)) for name, each in outcomes.items()]
    learners.append(Learner("zoe", "zoe", NotGraded("It is empty.")))
    tab = show(pages.class_page(Analysis(learners, 85), [], []))

    def names():
        return tab.locator("#learners tbody tr:visible th").all_inner_texts()

    assert tab.locator("#shown").inner_text() == "4 of 4 learners"
    tab.locator("#learners thead button").first.click()
    assert names() == ["ada", "bob 9", "bob 10", "zoe"]
    tab.locator("#learners thead button").nth(1).click()
    assert names()[0] == "bob 10"
    assert names()[-1] == "zoe"
    tab.locator("#search").fill("BOB")
    assert names() == ["bob 10", "bob 9"]
    tab.locator("#check").select_option("fnn.network")
    assert names() == ["bob 9"]
    tab.locator("#mistakes summary").click()
    tab.locator("button[data-mistake]").click()
    assert names() == ["ada"]
    tab.locator("#mistake").select_option("")
    tab.locator("#state").select_option("not-graded")
    assert names() == ["zoe"]
    assert tab.locator("#shown").inner_text() == "1 of 4 learners"


# Draw a digit


def test_a_stroke_changes_the_answers(opened):
    assert opened.locator(".answer .read").all_inner_texts() == ["–"] * 3
    draw(opened, *ONE)
    before = {name: shown_probabilities(opened, name) for name in ("fnn", "cnn")}
    draw(opened, (0.2, 0.2), (0.8, 0.2))
    until(opened, lambda: shown_probabilities(opened, "cnn") != before["cnn"])
    for name, former in before.items():
        now = shown_probabilities(opened, name)
        assert sum(now) == pytest.approx(1)
        assert max(abs(a - b) for a, b in zip(now, former, strict=True)) > 1e-3


def test_the_answer_shown_is_the_most_probable_digit(opened):
    draw(opened, *ONE)
    for name in ("logistic_regression", "fnn", "cnn"):
        shares = shown_probabilities(opened, name)
        card = opened.locator(f"[data-model={name}]")
        assert card.locator(".read").inner_text() == str(int(np.argmax(shares)))
        assert card.locator(".best .percent").inner_text() == f"{max(shares):.1%}"


def test_a_finger_draws_as_well_as_a_mouse(show, written):
    tab = show(written / "report.html", PHONE, has_touch=True, is_mobile=True)
    tab.locator("#pad").tap()
    until(tab, lambda: answered(tab))
    assert pixels_on_the_pad(tab).sum() > 0


def test_clear_takes_the_answers_away(opened):
    draw(opened, *ONE)
    opened.locator("#clear").press("Enter")
    assert opened.locator(".answer .read").all_inner_texts() == ["–"] * 3
    assert pixels_on_the_pad(opened).sum() == 0


def test_the_page_computes_what_pytorch_computed(opened, comparison):
    images = comparison.digits.test.images[:100].flatten(1).double() / 255
    answers = np.array(opened.evaluate("images => images.map(answer)", images.tolist()))
    for number, result in enumerate(comparison.results):
        np.testing.assert_allclose(
            answers[:, number], result.probabilities[:100], rtol=0, atol=1e-4, err_msg=result.name
        )


@pytest.mark.parametrize("digit", [0, 7])
def test_a_test_digit_can_be_loaded_with_the_keyboard_and_is_read_as_it_is(
    opened, comparison, digit
):
    test = comparison.digits.test
    for place in np.flatnonzero(test.labels.numpy() == digit)[:3]:
        expected = test.images[place].flatten().numpy()
        opened.locator(f"[data-examples='{digit}']").press("Enter")
        until(opened, lambda: (pixels_on_the_pad(opened) == expected).all())  # noqa: B023
        for result in comparison.results:
            shares = shown_probabilities(opened, result.name)
            assert shares == pytest.approx(result.probabilities[place].tolist(), abs=1e-4)
        said = opened.locator("#answer").text_content()
        assert "Convolutional network" in said


def test_a_misread_digit_goes_from_the_gallery_to_the_pad(opened, comparison):
    shown = live(comparison).gallery[1]
    opened.locator(".gallery button").nth(1).click()
    until(opened, lambda: answered(opened))
    assert shown_probabilities(opened, "cnn") == pytest.approx(shown.probabilities, abs=1e-4)


def prepared(tab, ink):
    """What the page makes of ``ink``, a square array in 0 to 1, as 28 rows of 28 numbers."""
    script = "([ink, side]) => Array.from(asMnist(Float32Array.from(ink), side))"
    pixels = tab.evaluate(script, [ink.flatten().tolist(), len(ink)])
    return np.reshape(pixels, (28, 28))


@pytest.mark.parametrize(("height", "width"), [(200, 100), (60, 90), (40, 40)])
def test_strokes_are_fitted_into_20_by_20_pixels_around_their_centre_of_mass(opened, height, width):
    ink = np.zeros((280, 280))
    ink[10 : 10 + height, 150 : 150 + width] = 1
    pixels = prepared(opened, ink)
    scale = 20 / max(height, width)
    rows, columns = np.indices(pixels.shape)
    assert (pixels * rows).sum() / pixels.sum() == pytest.approx(14, abs=0.01)
    assert (pixels * columns).sum() / pixels.sum() == pytest.approx(14, abs=0.01)
    assert pixels.sum(0).max() == pytest.approx(height * scale, abs=0.01)
    assert pixels.sum(1).max() == pytest.approx(width * scale, abs=0.01)
    assert pixels.sum() == pytest.approx(height * width * scale**2, rel=1e-3)


def test_strokes_are_scaled_with_smooth_edges(opened):
    rows, columns = np.indices((280, 280))
    disc = np.hypot(rows - 90, columns - 170) < 70
    grey = np.unique(prepared(opened, disc.astype(float)).round(2))
    assert len(grey) > 10
    assert (grey.min(), grey.max()) == (0, 1)


def test_ink_off_the_middle_is_centred_by_mass_not_by_its_box(opened):
    ink = np.zeros((280, 280))
    ink[40:60, 40:240] = ink[40:240, 40:60] = 1  # a corner: its mass is up and left
    pixels = prepared(opened, ink)
    assert np.flatnonzero(pixels.any(0))[0] > 7


def test_a_subset_of_the_models_answers(show, page_of, comparison):
    only = replace(comparison, results=comparison.results[1:2])
    tab = show(page_of(only))
    assert tab.locator("[data-model]").count() == 1
    draw(tab, *ONE)
    assert sum(shown_probabilities(tab, "fnn")) == pytest.approx(1)


def renamed(result):
    """The same model with a learner's names and order of its parameters."""
    weights = {f"layers.{place}": value for place, value in enumerate(result.weights.values())}
    return replace(result, weights=dict(reversed(weights.items())))


def test_a_learners_model_answers_whatever_its_parameters_are_called(comparison):
    learners = replace(comparison, results=tuple(map(renamed, comparison.results)))
    assert live(learners).data == live(comparison).data


def written_otherwise(result):
    """The same answers from weights that the kit's model cannot use as they are."""
    weights = {name: value.flip(0) for name, value in result.weights.items()}
    return replace(result, weights=weights)


def test_a_model_that_the_page_cannot_compute_is_said_not_to_answer(show, page_of, comparison):
    *others, cnn = comparison.results
    strange = replace(comparison, results=(*others, written_otherwise(cnn)))
    tab = show(page_of(strange))
    assert tab.locator("[data-model]").count() == 2
    said = tab.locator("#draw").inner_text()
    assert "The convolutional network of this comparison is written in another way" in said


def test_the_kits_model_answers_for_a_learners_that_the_page_cannot_compute(comparison):
    *others, cnn = comparison.results
    own = replace(cnn, title="Convolutional network (the kit's)")
    strange = replace(comparison, results=(*others, written_otherwise(cnn)), beside=(own,))
    assert live(strange).models == (*others, own)


def test_a_page_without_a_model_that_it_can_compute_has_no_pad(show, page_of, comparison):
    strange = replace(comparison, results=tuple(map(written_otherwise, comparison.results)))
    tab = show(page_of(strange))
    assert tab.locator("#pad").count() == 0
    assert tab.locator(".matrix").count() == 3


# The confusion matrices


def worst_cell(comparison, number):
    return comparison.results[number].worst_confusions(1)[0]


def cell_of(tab, number, true, read):
    matrix = tab.locator(".matrix").nth(number)
    return matrix.locator(f"[data-true='{true}'][data-read='{read}']")


def told(tab, number):
    """The sentence and the images below a confusion matrix."""
    detail = tab.locator(".matrix").nth(number).locator(".detail")
    sources = detail.locator("img").evaluate_all("all => all.map(image => image.src)")
    images = [Image.open(io.BytesIO(base64.b64decode(s.split(",")[1]))) for s in sources]
    return detail.locator("p").first.inner_text(), [np.asarray(image) for image in images]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("way", ["hover", "focus"])
def test_a_cell_tells_its_count_its_share_and_its_misread_digits(opened, comparison, number, way):
    worst = worst_cell(comparison, number)
    getattr(cell_of(opened, number, worst.true, worst.predicted), way)()
    sentence, images = told(opened, number)
    share = f"{worst.count / worst.of:.1%}"
    assert sentence == (
        f"{worst.true} read as {worst.predicted}: {worst.count} of {worst.of}, {share}"
    )
    assert len(images) == min(worst.count, MOST_OF_A_CELL)
    result, test = comparison.results[number], comparison.digits.test
    labels = test.labels.numpy()
    those = test.images[(labels == worst.true) & (result.predictions == worst.predicted)].numpy()
    assert all((those == image).all((1, 2)).any() for image in images)


def test_a_cell_that_the_pointer_leaves_tells_no_more(opened):
    before = told(opened, 0)
    cell_of(opened, 0, 3, 5).hover()
    assert told(opened, 0) != before
    opened.locator("h1").hover()
    assert told(opened, 0) == before


def test_the_arrow_keys_go_from_cell_to_cell_and_one_tab_leaves_the_matrix(opened, comparison):
    worst = worst_cell(comparison, 0)
    opened.locator(".matrix [tabindex='0']").first.focus()
    keys = ["ArrowUp", "ArrowLeft"] * 9 + ["ArrowRight", "ArrowDown", "ArrowDown"]
    for key in keys:
        opened.keyboard.press(key)
    assert told(opened, 0)[0].startswith("2 read as 1: ")
    assert told(opened, 0)[0] == cell_of(opened, 0, 2, 1).get_attribute("aria-label")
    opened.keyboard.press("End")
    assert told(opened, 0)[0].startswith("2 read as 9: ")
    opened.keyboard.press("Tab")
    assert opened.evaluate(
        "document.activeElement.closest('.matrix') === null || "
        "document.activeElement.closest('.matrix') !== "
        "document.querySelector('.matrix')"
    )
    assert worst.count > 0


# How they look

TEXTS = """() => {
  const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const opaque = (colour) => colour.length === 3 || colour[3] > 0;
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parsed(getComputedStyle(at).backgroundColor);
      if (opaque(colour)) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const texts = [];
  for (const element of document.querySelectorAll("main *, main text")) {
    const words = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    const box = element.getBoundingClientRect();
    const style = getComputedStyle(element);
    if (!words || box.width < 3 || style.visibility === "hidden") continue;
    let background = behind(element);
    const rect = element.closest("[role=gridcell]")?.querySelector("rect");
    if (rect) {
      const { fill, fillOpacity } = getComputedStyle(rect);
      const over = parsed(fill);
      background = background.map((value, i) => value + (over[i] - value) * fillOpacity);
    }
    const svg = element instanceof SVGElement;
    texts.push({
      text: element.textContent.trim().slice(0, 40),
      colour: parsed(svg ? style.fill : style.color).slice(0, 3),
      background,
    });
  }
  return texts;
}"""


def luminance(colour):
    """The relative luminance of WCAG 2.2 of red, green and blue in 0 to 255."""
    parts = np.array(colour) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def paper(tab):
    colour = tab.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", colour)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_what_is_behind_it(show, written, scheme):
    texts = [
        written / "report.html",
        feedback_page("ada", Graded(graded(cnn__network=Cause("No ReLU.", hint="`x`")))),
        feedback_page("ada", NotGraded("It is empty.")),
        class_page("ada"),
    ]
    for text in texts:
        tab = show(text, color_scheme=scheme)
        said = tab.evaluate(TEXTS)
        assert len(said) > 1
        weak = [each for each in said if contrast(each["colour"], each["background"]) < 4.5]
        assert weak == []


def test_the_page_is_dark_where_the_reader_wants_it_dark(show, written):
    light = show(written / "report.html", color_scheme="light")
    dark = show(written / "report.html", color_scheme="dark")
    assert luminance(paper(light)) > 0.9
    assert luminance(paper(dark)) < 0.02
    line = "getComputedStyle(document.querySelector('.card path[style*=accent]')).stroke"
    for tab in (light, dark):
        stroke = [int(part) for part in re.findall(r"\d+", tab.evaluate(line))]
        assert contrast(stroke, paper(tab)) > 3


def test_printed_the_page_is_black_on_white_without_what_needs_a_pointer(show, written):
    tab = show(written / "report.html", PAPER, color_scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert paper(tab) == [255, 255, 255]
    assert not tab.locator("#draw").is_visible()
    assert not tab.locator(".detail").first.is_visible()
    assert tab.locator(".matrix svg").first.is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    weak = [
        each for each in tab.evaluate(TEXTS) if contrast(each["colour"], each["background"]) < 4.5
    ]
    assert weak == []


def test_feedback_shows_the_line_that_is_not_python_with_its_caret():
    wrong = Graded(graded(cnn__network=Cause("It is no Python.", code="def f(\n     ^")))

    for text in pages.feedback(Learner("ada", "ada", wrong), attainable=85).values():
        assert "def f(\n     ^" in text


def test_printed_feedback_shows_what_was_printed(show):
    cause = Cause("No ReLU.", output="Epoch 1 of 10")
    tab = show(feedback_page("ada", Graded(graded(cnn__network=cause))), PAPER)
    assert not tab.get_by_text("Epoch 1 of 10").is_visible()
    tab.emulate_media(media="print")
    assert tab.get_by_text("Epoch 1 of 10").is_visible()


def test_whatever_can_be_pressed_or_visited_has_a_name(opened):
    nameless = opened.evaluate(
        """() => [...document.querySelectorAll("button, a, canvas, [tabindex], [role]")]
          .filter((each) => !each.getAttribute("aria-label") && !each.textContent.trim()
            && !each.getAttribute("aria-labelledby") && each.getAttribute("role") !== "status")
          .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


# What is not the kit's stays text


def test_what_a_learner_wrote_is_text_on_every_page(show, page_of, comparison):
    wrong = graded(cnn__network=hostile())
    texts = [
        feedback_page(HOSTILE, Graded(wrong)),
        feedback_page(HOSTILE, NotGraded(HOSTILE)),
        class_page(HOSTILE),
        page_of(replace(comparison, missing=(HOSTILE,)), wrong),
    ]
    for text in texts:
        tab = show(text)
        assert tab.evaluate("window.owned") is None
        assert "<script>window.owned = 1</script>" in tab.locator("main").inner_text()
        assert tab.locator("img[src=x]").count() == 0


def test_a_page_runs_no_script_but_the_kits(browser, written, tmp_path):
    text = (written / "report.html").read_text("utf-8")
    feedback = feedback_page("ada", NotGraded("It is empty."))
    slipped = "<script>window.owned = 1</script><img src=x onerror='window.owned = 1'>"
    for page in (text, feedback):
        path = tmp_path / "page.html"
        path.write_text(page.replace("</main>", f"{slipped}</main>"), "utf-8")
        tab = browser.new_page()
        tab.goto(path.as_uri())
        assert tab.evaluate("window.owned") is None
        tab.close()


def test_the_report_on_a_learner_shows_the_grade(show, page_of, comparison):
    learners = replace(
        comparison,
        results=tuple(map(renamed, comparison.results)),
        beside=tuple(replace(r, title=f"{r.title} (the kit's)") for r in comparison.results),
    )
    cause = Cause("CNN lacks the `ReLU` after conv2.")
    tab = show(page_of(learners, graded(tier="full", cnn__network=cause)))
    assert tab.locator("#grade tbody tr").count() == 6
    assert "CNN lacks the ReLU after conv2." in tab.locator("#grade").inner_text()
    assert tab.locator("#results tbody tr").count() == 6
    assert tab.locator("[data-model]").count() == 3
