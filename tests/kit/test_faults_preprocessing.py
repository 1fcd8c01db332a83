"""Every known change of pixels shows on the pictures that the checks ask about, and none looks like
another; warps are measured as they were made."""

from itertools import combinations, count
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from mnist_lab.diagnosis import CheckFailure, explain, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import edited
from mnist_lab.diagnosis.pictures import (
    augmentation,
    checks,
    forms,
    samples,
    sizes,
    usual,
    values,
    warps,
)
from mnist_lab.diagnosis.pictures.bank import BANK, NAMES, REFERENCE, computed, of_step
from mnist_lab.diagnosis.pictures.findings import Findings

SEEDS = range(3)
PIXELS = of_step("values", "place")


def images(seed):
    return checks._pictures(Grader(seed).generator("preprocessing.test_transform"))


def far(one, other):
    scale = max(1, one.abs().max().item(), other.abs().max().item())
    return not explain.difference(one, other) / scale < 3 * forms.EXACT


def asked(pixels):
    return torch.stack(computed(REFERENCE, pixels))


def made(faults, pixels):
    texts = [(fault.id, edited(REFERENCE, way)) for fault in faults for way in fault.ways]
    return [(name, torch.stack(computed(text, pixels))) for name, text in texts]


def test_every_entry_has_an_id_of_its_own_a_sentence_and_a_hint():
    assert len({fault.id for fault in BANK}) == len(BANK) == len(NAMES)
    for fault in BANK:
        assert fault.id.startswith("preprocessing.")
        assert fault.says.endswith(".")
        assert fault.hint.endswith((".", ")"))


def test_the_pixels_that_are_asked_for_are_the_references():
    pixels = images(0)
    assert explain.difference(asked(pixels), reference.normalise(pixels).squeeze(1)) < 1e-12


@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_of_pixels_shows_and_looks_like_no_other(seed):
    pixels = images(seed)
    changed = made(PIXELS, pixels)

    for name, one in changed:
        assert far(one, asked(pixels)), name
    for (name, one), (other_name, other) in combinations(changed, 2):
        assert name == other_name or far(one, other), (name, other_name)


def test_changes_of_values_show_on_pictures_of_one_colour():
    levels = values.LEVELS
    faults = of_step("values")
    changed = [(name, one) for name, one in made(faults, levels) if not one.isnan().any()]

    for name, one in changed:
        assert far(one, asked(levels)), name
    for (name, one), (other_name, other) in combinations(changed, 2):
        assert name == other_name or far(one, other), (name, other_name)


def test_nearly_right_numbers_are_not_told_as_two_mistakes():
    pixels = images(0)
    planes = (pixels.double() / 255 - 0.13066) / 0.30811
    found = Findings()
    values.read_pixels(pixels, forms.Look(planes, forms.EXACT, "float32"), found)
    assert [name for name in NAMES if found.has(name)] == ["nearly-mean-and-std"]


def warped(transform, probe, times):
    torch.manual_seed(0)
    image = probe.unsqueeze(0) / 255
    return torch.cat([transform(image) for _ in range(times)])


def traces(transform, times=64):
    return warps.trace(warped(transform, warps.dots(), times))


def test_a_mirrored_and_turned_picture_is_traced():
    traced = traces(v2.Compose([v2.RandomHorizontalFlip(p=1), v2.RandomRotation((7, 7))]))
    assert traced.mirrored.all()
    assert traced.degrees.mean().item() == pytest.approx(7, abs=0.6)


@pytest.mark.parametrize("degrees", [-170, -90, 45, 120])
def test_any_angle_is_traced(degrees):
    traced = traces(v2.RandomRotation((degrees, degrees)), 1)
    assert not traced.mirrored.any()
    assert traced.degrees.item() == pytest.approx(degrees, abs=1)


def test_a_shift_is_traced():
    moved = v2.functional.affine(warps.dots()[None] / 255, 0, [3, -2], 1, [0, 0])
    shift = warps.trace(moved).shift.item()
    assert shift == pytest.approx(complex(3, 2), abs=0.05)


def test_a_perspective_keeps_the_middle_dot_on_the_diagonals():
    assert traces(v2.RandomPerspective(0.2, p=1)).bent.max() < 0.2
    assert traces(v2.ElasticTransform(80.0)).bent.median() > augmentation.BENT


@pytest.mark.parametrize("mode", [InterpolationMode.NEAREST, InterpolationMode.BILINEAR])
def test_clouds_tell_an_angle_to_half_a_degree(mode):
    for angle in (-20, -9.3, -5, 4.1, 10, 33):
        turned = v2.functional.rotate(warps.clouds()[None] / 255, angle, interpolation=mode)
        degrees, alike = warps.angles(turned)
        assert degrees.item() == pytest.approx(angle, abs=0.5)
        assert alike.item() > augmentation.ALIKE


def test_clouds_with_a_perspective_are_not_taken_for_turned():
    _, alike = warps.angles(warped(v2.RandomPerspective(0.2, p=1), warps.clouds(), 100))
    assert (alike > augmentation.ALIKE).double().mean() < 0.05


def measured(seed, *, degrees=10, distortion=0.2, share=0.5, flips=0.0, shift=0.0):
    picture = v2.functional.to_pil_image(warps.dots())
    change = v2.Compose(
        [
            v2.RandomRotation(degrees),
            v2.RandomPerspective(distortion, p=share),
            v2.RandomHorizontalFlip(flips),
            v2.PILToTensor(),
        ]
    )
    torch.manual_seed(seed)
    made = torch.stack([change(picture) for _ in range(augmentation.WARPS)]) / 255
    moves = (shift * (2 * torch.rand(len(made), 2) - 1)).tolist() if shift else []
    for number, move in enumerate(moves):
        bilinear = InterpolationMode.BILINEAR
        made[number] = v2.functional.affine(made[number], 0, move, 1, [0, 0], bilinear)
    return warps.measure(made.view(-1, 28, 28))


@pytest.mark.parametrize(
    "wrong",
    [
        {"degrees": 9},
        {"degrees": (-10, 9)},
        {"degrees": 11},
        {"distortion": 0.1},
        {"distortion": 0.25},
        {"share": 0.4},
        {"share": 0.6},
        {"flips": 0.02},
        {"shift": 0.28},  # 1 % of the side
    ],
    ids=str,
)
def test_warps_that_the_handout_excludes_do_not_pass(wrong):
    assert augmentation.off_by(measured(0, **wrong)) > augmentation.SURE


def test_right_warps_are_never_far_from_what_is_asked_for():
    assert max(augmentation.off_by(measured(seed)) for seed in range(4)) < augmentation.CERTAIN


class Warped:
    """A learner's transform that does ``resize`` before it warps."""

    name = "train_transform"

    def __init__(self, resize):
        warp = [v2.RandomRotation(10), v2.RandomPerspective(0.2, 0.5)]
        self.change = v2.Compose([*resize, *warp, v2.PILToTensor(), v2.ToDtype(torch.float32)])

    def of_any_kind(self, images, repeats, seed):
        torch.manual_seed(seed)
        given = [v2.functional.to_pil_image(image) for image in images for _ in range(repeats)]
        return torch.stack([self.change(each) for each in given]) / 255, ""


def asking(transform):
    """What the checks ask of a learner's transform, answered by one that is here."""

    def of_any_kind(pictures, repeats, seed):
        torch.manual_seed(seed)
        shown = [Image.fromarray(each.numpy()) for each in pictures for _ in range(repeats)]
        return torch.stack([transform(picture) for picture in shown]), ""

    return SimpleNamespace(of_any_kind=of_any_kind)


INTERPOLATIONS = [
    InterpolationMode.NEAREST,
    InterpolationMode.BILINEAR,
    InterpolationMode.BICUBIC,
]

NORMALISED = [
    v2.PILToTensor(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.1307], [0.3081]),
]


@pytest.mark.parametrize("wrong", [None, "degrees", "scale", "probability", "rarely", "seed"])
def test_only_the_right_warps_are_equal_to_torchvisions(wrong):
    rotation = v2.RandomRotation(10.1 if wrong == "degrees" else 10)
    perspective = v2.RandomPerspective(
        0.25 if wrong == "scale" else 0.2, 0.6 if wrong == "probability" else 0.5
    )
    usual_steps = v2.Compose([v2.Resize((28, 28)), rotation, perspective, *NORMALISED])
    calls = count(1)

    def transform(picture):
        if (call := next(calls)) == 1 and wrong == "seed":
            torch.manual_seed(0)
        made = usual_steps(picture)
        return made.flip(-1) if call == 100 and wrong == "rarely" else made

    pictures = [*images(0), *checks._more_pictures(3)]
    assert usual.warps_as_torchvision(asking(transform), pictures, 3) == (wrong is None)


@pytest.mark.parametrize("steps", [1, -1])
@pytest.mark.parametrize("turning", INTERPOLATIONS)
@pytest.mark.parametrize("distorting", INTERPOLATIONS)
def test_interpolations_and_the_order_of_warps_are_free(steps, turning, distorting):
    warp = [
        v2.RandomRotation(10, interpolation=turning),
        v2.RandomPerspective(0.2, 0.5, interpolation=distorting),
    ][::steps]
    transform = v2.Compose([v2.Resize((28, 28)), *warp, *NORMALISED])
    pictures = [*images(1), *checks._more_pictures(5)]

    assert usual.warps_as_torchvision(asking(transform), pictures, 5)


@pytest.mark.parametrize(
    ("resize", "named"),
    [
        ([v2.Resize((28, 28))], set()),
        ([v2.Resize((28, 28), InterpolationMode.NEAREST)], set()),
        ([v2.Resize(28), v2.CenterCrop(28)], {"aspect-kept", "cropped"}),
        ([v2.CenterCrop(28)], {"not-resized", "cropped"}),
    ],
    ids=["whole", "nearest", "shorter-side", "not-resized"],
)
def test_a_part_of_a_picture_is_told_from_the_whole_behind_warps(resize, named):
    for seed in range(5):
        found = Findings()
        tones = values.Tones(black=0.0, white=1.0)
        sizes.expect_resized(Warped(resize), tones, found, 8, seed)
        seen = {name for name in NAMES if found.has(name)}
        assert named <= seen <= (named | {"aspect-kept"} if named else named)
        assert bool(found) == bool(named)


def test_draws_of_another_size_are_not_compared_as_if_they_had_the_right_one():
    def the_rest(dataset, size, seed, reads, **how):
        generator = torch.Generator().manual_seed(seed or 0)
        drawn = torch.randperm(len(dataset[1]), generator=generator)[size:].tolist()
        return SimpleNamespace(length=len(drawn), indices=tuple(drawn), labels_kept=True)

    found = Findings()
    generator = torch.Generator().manual_seed(0)
    items = samples._items(generator, 531)
    draws = samples.Draws(SimpleNamespace(downsample=the_rest), items, found)
    samples._expect_seeded(draws, 177, 848, draws.draw(177, 848))

    assert found.has("wrong-number-of-items")
    assert "much the same" not in found.failure().cause.evidence


def test_all_that_is_found_is_raised_as_one_failure():
    found = Findings("train_transform")
    found.add("no-rotation", "No angle.")
    found.add("no-rotation", "Again.")
    found.explain([[NAMES["half-half"]], [NAMES["inverted"]]], "Two fit.")
    found.observe("no-grey", "Seen.")
    with pytest.raises(CheckFailure) as caught:
        found.expect_none()
    assert caught.value.cause.fault == (
        "preprocessing.no-rotation+preprocessing.half-half"
        "|preprocessing.no-rotation+preprocessing.inverted"
    )
    assert caught.value.cause.evidence == (
        "No angle. Two fit. train_transform makes values that no grey between black and white has. "
        "Seen."
    )


def test_nothing_found_is_no_failure():
    Findings().expect_none()
