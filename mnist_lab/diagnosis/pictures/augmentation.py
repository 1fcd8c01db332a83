"""How pictures were rotated and distorted at random, measured on a probe image of five dots, and
what was done to them besides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import explain
from mnist_lab.diagnosis.faults import tables
from mnist_lab.diagnosis.pictures import warps
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.diagnosis.pictures.values import OwnTones, Tones
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.remote import Transform

WARPS, MORE = 800, 2400
"""Warps of one image; more of them where those leave a doubt."""

SURE, CERTAIN = 2.5, 5.0
"""Standard deviations: what ``WARPS`` have so near to what is asked for passes, and what all have
so far from it does not. All that the handout says is told apart is 3 and more from passing."""

IN_DOUBT = (SURE + CERTAIN) / 2
"""More than is sure, less than is certain."""

ANGLES = (5.65, 5.95)
"""The standard deviation of the angles in degrees, 10 / sqrt(3): 5.70 to 5.93 in the ways to rotate
a picture."""

STEEPEST, DOUBTFUL = (9.2, 10.4), 8.6
"""Degrees of the steepest of some 400 warps to either side. By nearest neighbour 10 shows as 9.6, 9
as 8.2 and 11 as 11; now and then the steepest of 400 shows as 9.0, and more have to tell."""

SHRINKAGE, VARIED = (0.8955, 0.9272), (0.0208, 0.0229)
"""How far the dots are from the centre after a perspective, as a share of before, and the standard
deviation of that. 0.926 and 0.022 by torchvision's whole pixels, 0.896 and 0.021 by fractions of a
pixel; 0.889 and 0.030, 0.870 and 0.026 with a distortion scale of 0.25; 0.922 and 0.016 by
fractions with one of 0.15, which by whole pixels is the same as 0.2."""

OF_SCALES = "0.926 and 0.022 by whole pixels, 0.896 and 0.021 by fractions of a pixel are asked for"
"""Of a distortion scale of 0.2."""

TURNED_AS_WELL = 4.0
"""The standard deviation in degrees of the angles of those with a perspective: 5.9, and 1.3 if they
are not turned."""

SHIFT = 0.1
"""Pixels by which a mere rotation about the centre moves the dots at most, as a root of the mean
square: 0.003 in any right way, 0.2 with a shift of up to 1 % of the side."""

BLUR = 0.3
"""Squared pixels by which the spread of a dot may be another than ``warps.SPREAD``."""

PLAIN = 64
"""Warps of a black and of a white picture; what is done to one in ten shows in all but 0.1 %."""

BACKGROUND = 0.037
"""Black filled in after normalising may be this far off, in parts of white, at the edge of a warp,
where torchvision blends it twice: (1 - w + w * w) * -0.4242. Grey is 0.13 off."""

UNCOVERED = 0.66
"""The share of warps of a white picture that show another colour in a corner: 0.87 and more in the
right ways, 0.5 where a perspective alone does."""

OVERSHOOT = 0.65
"""How far beyond black and white bicubic interpolations may go at an edge, in parts of white: an
eighth along each axis is 0.27, and another of that 0.61."""

RARELY = 0.003
"""The share of pictures that are mirrored which is no error of measurement: none is, otherwise."""

DRAWN_TOGETHER, VARYING = 0.0755, 0.027
"""By how much the dots are nearer to the centre for each pixel that corners move inwards on
average, and the standard deviation of that for each pixel of the moves' standard deviation: by
``SHRINKAGE`` and ``VARIED``, of corners that move by 0, 1 or 2 pixels, or evenly by up to 2.7."""

VARY_MOST = 1.3
"""How many times that dots may vary: 1.14 and less with scales from 0.1 to 0.5, 1.4 and more where
pictures are sheared by up to 2 degrees, or one in twenty is enlarged."""

BENT = 0.8
"""Pixels by which the middle dot may miss the diagonals of the others after any perspective, moved
pixel by pixel; an elastic transform has more in half of the images."""

STRAIGHT, STRAIGHT_NEAREST = 0.2, 0.55
"""The same for nine of ten images with a perspective: at most 0.06 and 0.36 were seen."""

DISTORTED, MOSTLY = 0.15, 0.43
"""Pixels by which a dot misses any slanted or oblong square, as only a perspective moves it, and
the share of the enlarged images in which one does: 0.5 and more where corners move outwards, 0.35
and less where a picture is enlarged evenly and half of all are distorted as well."""

PROJECTIVE = 0.1
"""Pixels by which the dots miss a slanted or oblong square on average, as only a perspective moves
them: 0.154 to 0.254 in the right ways."""

FEW_SHAPES = 0.06
"""The median distance of a perspective to the one most like it, in standard deviations: 0.13 to
0.41 in the right ways, 0.02 of twelve."""

INTERVAL, FEW_ANGLES = 0.3, 11
"""Degrees, and in how few intervals of so many the angles lie that are too few: 35 to 58 in the
right ways, 13 of whole degrees by nearest neighbour."""

NEAR, SHARE_NEAR = 4.0, (0.2, 0.6)
"""Degrees, and the share of angles that are nearer to none: 0.4 is asked for, 0.29 to 0.47 were
seen in the right ways."""

AS_OTHERS: dict[str, tuple[float, float]] = {
    "degrees": (TURNED_AS_WELL, 7.6),
    "upright": (0.75, 1.0),
    "shift": (0.0, 0.95),
    "spread": (2.85, 4.15),
}
"""Of pictures with a perspective that are not even: the standard deviation of the angles in degrees
(5.6 to 6.8 in the right ways), the share that are ``Warps.upright`` (0.9 and more), the root of the
mean square of the move in pixels, which is the perspective's own (0.63 to 0.75), and the mean
squared distance of the centre dot's light from its centre, if the dots were not drawn together
(3.4 to 3.75; 2.93 where both are bicubic)."""

UNRELATED = 6.5
"""Standard deviations that the correlation of draws may be from none."""

ALIKE = 0.99
"""Of clouds that were merely turned; a perspective leaves them at most 0.988 alike."""

DRAWN, TURNED, FEWEST, LEAST = 48, 0.95, 5, 3.0
"""Warps of a picture that is drawn, how alike it looks after a mere rotation (0.9 after most
perspectives), how few others are too few (14 to 30 of 48 are rotations in 125 right ways), and the
square of the angle in degrees that the mean of all has at least: 17 by chance, less than 3 once in
200,000 times, 2 and less of an oblong picture that is turned before it is resized."""

KNOWN_TO = 0.6
"""Degrees to which the angle of a mere rotation is known."""


def expect_background(transform: Transform, tones: Tones, seed: int, found: Findings) -> float:
    """Black stays black, white has black corners, and nothing else is painted.

    What the corners are filled with, from 0 black to 1 white.
    """
    if isinstance(tones, OwnTones):
        return 0.0  # one colour has no standard deviation
    black = torch.zeros(28, 28, dtype=torch.uint8)
    results, _ = transform.of_any_kind([black, 255 - black], PLAIN, seed)
    if results[0].numel() != 28 * 28:
        return 0.0
    dark, light = tones.light(results.view(2, PLAIN, 28, 28))
    inside = light[:, 9:19, 9:19]
    painted = ((inside - 1).abs() > BACKGROUND).flatten(1).any(1).double().mean().item()
    if painted > 0:
        found.observe("white-middle", f"{painted:.0%} of {PLAIN} were so.")
        return 0.0
    if dark.abs().max() >= BACKGROUND:
        fill = dark.flatten()[dark.abs().argmax()].item()
        if not (found.does("inverts") and abs(fill - 1) < BACKGROUND):
            _say_corners(fill, tones, found)
        return fill
    if light.min() < -OVERSHOOT or light.max() > 1 + OVERSHOOT:
        found.observe(
            "no-grey",
            f"In warps of a white picture the brightness lies between {light.min():.4f} and "
            f"{light.max():.4f}, on the scale from 0 to 1.",
        )
    elif light[:, ::27, ::27].abs().min() >= BACKGROUND and not (light == light[:1]).all():
        found.add(
            "stretched-corners",
            f"In {PLAIN} warps of a white picture no corner was darker than "
            f"{light[:, ::27, ::27].min():.4f}, on the scale from 0 to 1.",
        )
    return 0.0


def expect_black_corners(transform: Transform, tones: Tones, seed: int, found: Findings) -> None:
    """Rotations uncover corners of a white picture as well as perspectives do; asked where all
    pictures are turned as they should be.
    """
    if isinstance(tones, OwnTones):
        return  # one colour has no standard deviation
    white = torch.full((28, 28), 255, dtype=torch.uint8)
    results, _ = transform.of_any_kind([white], PLAIN, seed)
    corners = tones.light(results.view(PLAIN, 28, 28))[:, ::27, ::27]
    share = (corners < 1 - BACKGROUND).flatten(1).any(1).double().mean().item()
    if share < UNCOVERED:
        found.add(
            "stretched-corners",
            f"In {share:.0%} of {PLAIN} warps of a white picture a corner was not white; rotations "
            "by up to 10 degrees uncover one in nine of ten.",
        )


def _say_corners(fill: float, tones: Tones, found: Findings) -> None:
    evidence = (
        f"In {PLAIN} warps of a black picture there are pixels with a brightness of {fill:.4f} on "
        "the scale from 0 to 1."
    )
    if abs(fill - tones.light(torch.zeros(()))) < 1e-3:
        found.add("grey-corners", f"{evidence} That is the value 0 after normalising.")
    elif abs(fill - 1) < BACKGROUND:
        found.add("bright-corners", evidence)
    else:
        found.add("other-corners", evidence)


def expect_warps(
    transform: Transform,
    again: Callable[[], Transform],
    tones: Tones,
    fill: float,
    seed: int,
    found: Findings,
) -> None:
    """Rotation and perspective as asked, measured on dots; ``again`` makes another transform.

    The dots are on a ground of the brightness ``fill``, so that filled corners do not show.
    """
    filled = found.does("fills")
    ground = round(255 * fill) / 255

    def warped(picture: Tensor, times: int, seed: int, by: Transform = transform) -> Tensor:
        """The light of the picture, 0 ground to 1, in warps of it: (times, 28, 28)."""
        picture = picture / 255
        shown = ground + picture * (1 - ground) if fill < 0.5 else ground - picture * ground
        results, _ = by.of_any_kind([(255 * shown).round().to(torch.uint8)], times, seed)
        if results[0].numel() != 28 * 28:
            return torch.zeros(0)
        seen = (tones.light(results.view(-1, 28, 28)) - fill).float()
        seen = seen / (1 - fill) if fill < 0.5 else -seen / fill
        kept = warps.middle() if filled else warps.middle() | (seen.abs() > BACKGROUND)
        return seen * kept

    light = warped(warps.dots(), WARPS, seed)
    if not len(light):
        return
    if (light == light[0]).all():
        if not found.does("seeds"):
            framed_light = warped(warps.framed_dots(), 1, seed + 2)
            other = warped(warps.dots(), 1, seed + 1, again())
            _say_not_random(light[0], framed_light[0], other[0], found)
        return
    measured = warps.measure(light)
    if SURE < off_by(measured) < CERTAIN:
        light = torch.cat([light, warped(warps.dots(), MORE, seed + 1)])
        measured = warps.measure(light)
    if off_by(measured) < (SURE if len(light) == WARPS else CERTAIN):
        _expect_drawn_anew(measured, found)
        if not filled:
            _expect_no_more(light, measured, found)
        return
    try:
        clouds = warped(warps.clouds(), 256, seed)
    except SubmissionFailure:  # There was no time left for more; the dots are known.
        clouds = light
    _say_warps(light, clouds, measured, found)
    if found.does("turns-alike"):
        _say_drawn_once(clouds, warped(warps.clouds(), 32, seed + 1, again()), found)
    if found.does("crops"):
        framed = warps.trace(warped(warps.framed_dots(), 64, seed))
        if (framed.scale[framed.similar < 0.3] < 1.02).double().mean() > 0.5:
            found.replace(
                "crops",
                "cropped-to-ink",
                "Five dots on black come out larger than they were, and with a white pixel in each "
                "corner of the picture as large as before.",
            )


def expect_any_picture(transform: Transform, tones: Tones, seed: int, found: Findings) -> None:
    """Clouds that are drawn, in pictures of other sizes, are warped too: neither the dots nor a
    ramp alone, whose warps a table may have.
    """
    for height, width in ((56, 56), (28, 112)):
        clouds = warps.clouds(seed).float()[None, None]
        picture = F.interpolate(clouds, (height, width), mode="bilinear")[0, 0]
        results, _ = transform.of_any_kind([picture.round().to(torch.uint8)], DRAWN, seed)
        if results[0].numel() != 28 * 28:
            return
        degrees, alike = warps.angles(tones.light(results.view(-1, 28, 28)).float(), seed)
        turned = degrees[alike > TURNED]
        if len(turned) > DRAWN - FEWEST or turned.square().sum() < LEAST * DRAWN:
            found.observe(
                "some-pictures",
                f"Of {DRAWN} warps of clouds, {height}x{width} pixels, {len(turned)} are the "
                "picture in 28x28 pixels and turned; half of them are asked for, by angles from "
                "-10 to 10 degrees.",
            )


def off_by(measured: warps.Warps) -> float:
    """How many standard deviations warps are from what is asked for; infinitely many where one
    shows what no rotation and no perspective does.
    """
    plain, degrees = measured.rotations, measured.degrees
    turned = degrees[plain]
    if not 1 < len(turned) < len(plain) - 1:
        return math.inf
    steepest = -turned.min().item(), turned.max().item()
    in_doubt = len(plain) == WARPS and not _steep(*steepest)
    as_asked = (
        _steep(*steepest, least=DOUBTFUL if in_doubt else STEEPEST[0])
        and degrees[~plain].std().item() > TURNED_AS_WELL
        and bool(measured.upright[plain].all())
        and _blurred(measured) == 0
        and _shifted(measured) < SHIFT
    )
    if not as_asked:
        return math.inf
    known = max(_share_off(plain), _angles_off(measured), _scale_off(measured))
    return max(known, IN_DOUBT) if in_doubt else known


def _expect_drawn_anew(measured: warps.Warps, found: Findings) -> None:
    """Neither angle nor perspective follows from that of a call before, nor are both from a table.

    Angles alone may be whole degrees; with a perspective hardly two warps are equal.
    """
    calls, bent = len(measured.degrees), measured.degrees[~measured.rotations]
    distorted = ~measured.rotations & measured.whole
    shapes = torch.stack([measured.scale, measured.shear, measured.affine], dim=1)[distorted]
    several = _intervals(measured.degrees[measured.rotations])
    by = measured.affine[distorted].mean().item()
    if by < PROJECTIVE:
        found.observe(
            "sheared-instead",
            f"In {len(shapes)} distorted pictures the dots are {by:.3f} pixels on average from a "
            "slanted or oblong square.",
        )
    elif len(bent.unique()) < 0.9 * len(bent) or _nearest(shapes) < FEW_SHAPES:
        found.observe(
            "few-warps",
            f"Of {len(bent)} warps with a perspective many are equal, or but for the angle.",
        )
    if several < FEW_ANGLES:
        found.observe(
            "few-turns",
            f"Those of {int(measured.rotations.sum())} mere rotations lie in {several} intervals "
            f"of {INTERVAL} degrees.",
        )
    series = (
        ("angle", measured.degrees),
        ("size of the angle", measured.degrees.abs()),
        ("perspective", measured.rotations),
    )
    apart = [(what, each.double() - each.double().mean()) for what, each in series]
    waves = [(what, torch.fft.rfft(each / each.norm())) for what, each in apart]
    for (what, now), (before, then) in product(waves, repeat=2):
        alike = torch.fft.irfft(now * then.conj(), calls)[1 : (calls + 1) // 2]
        at = int(alike.abs().argmax())
        if alike[at].abs() > UNRELATED / math.sqrt(calls):
            found.observe(
                "not-drawn-anew",
                f"In {calls} calls it goes with the {before} of {at + 1} calls before: their "
                f"correlation is {alike[at]:.2f}.",
                what=what,
            )


def _expect_no_more(light: Tensor, measured: warps.Warps, found: Findings) -> None:
    """Pictures with a perspective are turned as others are, and nothing else is done to them; small
    angles are as likely as large ones.
    """
    distorted = ~measured.rotations
    whole = distorted & measured.whole
    upright = measured.upright[distorted].double().mean()
    seen = {
        "degrees": (measured.degrees[whole].std(), "turned by other angles than others"),
        "upright": (upright, "mirrored, or turned by quarters, at times"),
        "shift": (measured.shift[whole].abs().square().mean().sqrt(), "moved as well"),
        "spread": (
            (measured.spread / measured.scale.square())[whole].mean(),
            "blurred or sharpened as well",
        ),
    }
    for what, (value, said) in seen.items():
        low, high = AS_OTHERS[what]
        if not low <= value <= high:
            if what == "upright":
                _say_flips(warps.trace(light), found)
            if found:
                return
            found.observe(
                "more-than-perspective",
                f"Measured on five dots in {int(distorted.sum())} warps that are no mere rotation: "
                f"{value:.2f} where {low:g} to {high:g} is right.",
                said=said,
            )
            return
    turned = measured.degrees[measured.rotations]
    near = (turned.abs() < NEAR).double().mean().item()
    if not SHARE_NEAR[0] < near < SHARE_NEAR[1]:
        found.add(
            "uneven-angles",
            f"Of {len(turned)} mere rotations {near:.0%} are by less than {NEAR:g} degrees; 40 % "
            "are asked for.",
        )


def _nearest(shapes: Tensor) -> float:
    """The median distance of (N, 3) shapes to the one most like each, in standard deviations."""
    scaled = (shapes - shapes.mean(0)) / shapes.std(0).clamp(min=1e-9)
    return torch.cdist(scaled, scaled).fill_diagonal_(math.inf).amin(1).median().item()


def _intervals(degrees: Tensor) -> int:
    """How many intervals of ``INTERVAL`` it takes to cover the angles."""
    count, end = 0, -math.inf
    for each in degrees.sort().values.tolist():
        if each > end:
            count, end = count + 1, each + INTERVAL
    return count


def _share_off(plain: Tensor) -> float:
    """Of a share of one half with a perspective, in standard deviations."""
    return 2 * math.sqrt(len(plain)) * abs(plain.double().mean().item() - 0.5)


def _angles_off(measured: warps.Warps) -> float:
    """Of angles drawn evenly from -10 to 10 degrees, in standard deviations."""
    turned = measured.degrees[measured.rotations]
    mean = abs(measured.degrees.mean().item()) * math.sqrt(len(measured.degrees)) / 5.9
    return max(mean, _beyond(turned.std().item(), ANGLES, 2.6 / math.sqrt(len(turned))))


def _scale_off(measured: warps.Warps) -> float:
    """Of a distortion scale of 0.2, in standard deviations."""
    scale = _distorted(measured)
    known_to = 0.022 / math.sqrt(max(1, len(scale)))
    return max(
        _beyond(scale.mean().item(), SHRINKAGE, known_to),
        _beyond(scale.std().item(), VARIED, 0.7 * known_to),
    )


def _distorted(measured: warps.Warps) -> Tensor:
    """How far a perspective drew the dots together, where all of them are still in the picture."""
    scale = measured.scale[~measured.rotations]
    return scale[~scale.isnan()]


def _beyond(value: float, bounds: tuple[float, float], known_to: float) -> float:
    return max(0.0, bounds[0] - value, value - bounds[1]) / known_to


def _steep(left: float, right: float, least: float = STEEPEST[0]) -> bool:
    """Whether the outermost angles are those that are asked for, to within what dots tell."""
    return least < min(left, right) and max(left, right) <= STEEPEST[1]


def _blurred(measured: warps.Warps) -> float:
    """The share of mere rotations whose centre dot is wider or narrower than it was."""
    spread = measured.spread[measured.rotations & ((measured.scale - 1).abs() < 0.02)]
    return ((spread - warps.SPREAD).abs() > BLUR).double().mean().item() if len(spread) else 0.0


def _shifted(measured: warps.Warps) -> float:
    """By how many pixels mere rotations moved the dots: the root of the mean square."""
    return measured.shift[measured.rotations].abs().square().mean().sqrt().item()


def _say_not_random(light: Tensor, framed: Tensor, second: Tensor, found: Findings) -> None:
    """Every call gives ``light``, and for another picture ``framed``; the transform made once more
    gives ``second``.
    """
    of_other = warps.trace(framed.unsqueeze(0)).degrees.item()
    traces = warps.trace(torch.stack([light, second]))
    degrees, turned = traces.degrees.tolist()
    evidence = f"{WARPS} calls gave equal results; five dots were turned by {degrees:z.1f} degrees"
    still = (
        (traces.degrees.abs() < KNOWN_TO)
        & (traces.similar < 0.3)
        & ((traces.scale - 1).abs() < 0.02)
        & (traces.shift.abs() < 0.3)
        & ~traces.mirrored
    )
    if still.all():
        found.add("not-augmented", f"{evidence}.")
    elif abs(degrees - of_other) > 1:
        found.observe(
            "same-for-a-picture", f"{evidence}, and a picture with more dots by {of_other:z.1f}."
        )
    elif explain.difference(second, light) > 1e-3:
        found.add("same-draw", f"{evidence}, and by {turned:z.1f} when it was made once more.")
    elif traces.similar[0] < 0.3 and abs(degrees) >= KNOWN_TO:
        found.add("fixed-angle", f"{evidence}, also when it was made once more.")
        found.add("no-perspective", "")
    else:
        found.observe("same-every-time", f"{evidence}.")


def _say_drawn_once(clouds: Tensor, others: Tensor, found: Findings) -> None:
    """Whether a transform that was made once more turns all pictures alike too, but otherwise."""
    (first, second) = (
        degrees[alike > ALIKE] for degrees, alike in map(warps.angles, (clouds, others))
    )
    if len(second) < 3 or (second - second.median()).abs().max() > KNOWN_TO:
        return
    if (first.median() - second.median()).abs() > 1:
        found.replace(
            "turns-alike",
            "same-draw",
            f"All pictures were turned by {first.median():z.1f} degrees, and by "
            f"{second.median():z.1f} after the transform was made once more.",
        )


def _say_warps(light: Tensor, clouds: Tensor, measured: warps.Warps, found: Findings) -> None:
    before = len(found)
    traces = warps.trace(light)
    straight = (traces.bent[traces.whole] < BENT).double().mean().item()
    if traces.whole.sum() > 100 and straight > 0.85:
        degrees = _say_flips(traces, found)
        bends = _bends(traces, light)
        moved = _say_moves(traces, measured, bends, found)
        if not _say_either(measured, found):
            wide = degrees[traces.whole].abs().quantile(0.9) > 45
            mere = warps.angles(clouds)[1] > ALIKE if wide else None
            _say_perspective(traces, mere, measured, moved, bends, found)
            _say_angles(traces, degrees, clouds, measured, moved, found)
        if not bends and (share := _blurred(measured)) >= 0.2:
            found.add(
                "blurred",
                f"In {share:.0%} of the mere rotations of five dots the middle one is wider or "
                "narrower than it was.",
            )
    if len(found) == before and not found.does("fills"):
        rotated = measured.rotations.double().mean().item()
        elsewhere = traces.whole & (traces.mirrored | (traces.degrees.abs() > 45))
        scale = _distorted(measured)
        found.observe(
            "more-than-warps",
            f"In {len(light)} warps of five dots {rotated:.0%} were a mere rotation, and in "
            f"{straight:.0%} the middle dot stayed where the diagonals of the others cross, as it "
            f"does in any perspective; {int(elsewhere.sum())} were mirrored or turned by more than "
            f"45 degrees. The others were drawn together to {scale.mean():.3f} of their distance "
            f"on average, with a standard deviation of {scale.std():.3f}: {OF_SCALES}.",
        )


def _say_flips(traces: warps.Warps, found: Findings) -> Tensor:
    """The angles (N,), less the quarter turns that are part of a flip or of another place."""
    quarters = torch.polar(torch.ones(len(traces.degrees)), torch.deg2rad(4 * traces.degrees))
    lean = torch.rad2deg(quarters.mean().angle()).item() / 4
    turns = ((traces.degrees - lean) / 90).round().long()
    fits = traces.whole & (traces.affine < 0.5)
    named = False
    for place in tables("pictures")["place"]:
        placed = (traces.mirrored == place["mirrored"]) & (turns % 4 == place["turns"])
        part = placed[fits].double().mean().item()
        name = place["always"] if part > 0.9 else place["sometimes"]
        if part > (RARELY if place["mirrored"] else 0.05) and name:
            found.add(name, f"So were five dots in {part:.0%} of {len(placed)} warps.")
            named = True
    return traces.degrees - 90 * turns if named else traces.degrees


def _bends(traces: warps.Warps, light: Tensor) -> bool:
    """Whether the middle dot goes astray in images that were distorted, as by no perspective."""
    other = ~torch.isin((255 * light).round(), warps.dots().float())  # of brightnesses in between
    distorted = traces.whole & ((traces.similar > 0.3) | ((traces.scale - 1).abs() > 0.01))
    bent = traces.bent[distorted]
    limit = STRAIGHT if other.double().mean() > 0.01 else STRAIGHT_NEAREST
    return len(bent) > 0 and bent.quantile(0.9).item() > limit


def _say_moves(
    traces: warps.Warps, measured: warps.Warps, bends: bool, found: Findings
) -> Tensor | None:
    """Shift, scale and shear, in images that no perspective has made smaller; which of the N have
    no more than that and a rotation, None if nothing moved.
    """
    similar = traces.whole & (traces.similar < 0.3)
    affine = traces.whole & ~similar & (traces.affine < 0.3)
    kept = (traces.scale - 1).abs() <= 0.02
    shift = traces.shift.abs()
    larger = similar & (traces.scale > 1.02)
    smaller = similar & (traces.scale < 0.98) & (shift < 0.3)
    moved = similar & kept & (shift > 0.4)
    sheared = affine & (traces.shear > 0.03 * traces.scale) & (traces.scale > 0.985)
    enlarged = traces.whole & (traces.scale > 1.02)
    outwards = enlarged & (traces.affine > DISTORTED)
    parts = (larger, smaller, moved, sheared)
    grown, shrunk, shifted, slanted = (
        which[traces.whole].double().mean().item() for which in parts
    )
    count = len(similar)
    apart = outwards.double().mean().item()
    most = MOSTLY * enlarged.double().mean().item()
    if not bends and apart > max(0.05, most, shifted):
        found.add(
            "corners-outwards",
            f"In {apart:.0%} of {count} warps five dots were distorted and drawn apart as well.",
        )
        return measured.rotations
    even = None
    if grown > 0.05 or shrunk > 0.25:
        which, always = (larger, "cropped") if grown > 0.05 else (smaller, "padded")
        changed, both = traces.scale[which], traces.scale[larger | smaller]
        alike = ((changed - changed.median()).abs() < 0.012).double().mean().item()
        found.add(
            always if alike > 0.75 and len(changed) > 0.25 * count else "rescaled",
            f"Of {count} warps of five dots {grown:.0%} enlarged them and {shrunk:.0%} drew them "
            f"together evenly, by factors from {both.min():.2f} to {both.max():.2f}.",
        )
        even = similar
    if shifted > 0.05 or (not bends and _shifted(measured) > SHIFT):
        slightly = measured.rotations & (shift > SHIFT)
        _say_moved(traces, moved if shifted > 0.05 else slightly, found)
        even = similar & kept if even is None else even
    if not bends and slanted > 0.1 and grown <= 0.05:
        found.add(
            "sheared",
            f"In {slanted:.0%} of {count} warps of five dots the square that they make became a "
            "slanted or oblong one.",
        )
        even = traces.affine < 0.15
    return even


def _say_moved(traces: warps.Warps, moved: Tensor, found: Findings) -> None:
    """About another point c a turn by t moves all dots by (1 - e^it) c."""
    turn = torch.polar(torch.ones(()), torch.deg2rad(traces.degrees[moved]))
    shift = traces.shift[moved]
    centre = ((1 - turn).conj() * shift).sum() / (1 - turn).abs().square().sum().clamp(min=1e-9)
    left = (shift - (1 - turn) * centre).abs().square().sum() / shift.abs().square().sum()
    if left < 0.15 and centre.abs() > 1:
        right, up = centre.real.item(), centre.imag.item()
        found.add(
            "rotation-centre",
            f"Five dots turned about a point {abs(right):.1f} pixels to the "
            f"{'right' if right > 0 else 'left'} of the centre and {abs(up):.1f} "
            f"{'above' if up > 0 else 'below'} it.",
        )
        return
    found.add(
        "shifted",
        f"In {moved.double().mean():.0%} of {len(moved)} warps five dots moved together, by up to "
        f"{shift.abs().max():.1f} pixels.",
    )


def _say_perspective(
    traces: warps.Warps,
    mere: Tensor | None,
    measured: warps.Warps,
    moved: Tensor | None,
    bends: bool,
    found: Findings,
) -> None:
    """By the dots, or where they are far from where they were by which of some clouds are a
    ``mere`` rotation.
    """
    even, of = measured.rotations if moved is None else moved[traces.whole], "five dots"
    if moved is None and mere is not None:
        even, of = mere, "clouds"
    share = 1 - even.double().mean().item()
    evidence = (
        f"Of {len(even)} warps of {of} {share:.1%} were more than a rotation; a perspective "
        "is asked for with probability 0.5."
    )
    if share < 0.02:
        found.add("no-perspective", evidence)
        return
    if moved is not None or bends:
        return  # there is more, and it may not be a perspective
    if share > 0.98:
        found.add("perspective-always", evidence)
    elif _share_off(even) > CERTAIN:
        found.add("perspective-probability", evidence)
    usual = traces.degrees[traces.whole].abs().quantile(0.9) < 45  # strong ones hide a dot at times
    exact = measured.degrees.abs().max() < 15  # two turns, one after the other, are not
    off = usual and _scale_off(measured) > (CERTAIN if exact else 3 * CERTAIN)
    if off and _is_of_a_scale(scale := _distorted(measured)):
        found.add(
            "distortion-scale",
            f"It draws dots together to {scale.mean():.3f} of their distance on average, with a "
            f"standard deviation of {scale.std():.3f}: {OF_SCALES}.",
        )


def _is_of_a_scale(scale: Tensor) -> bool:
    """Whether dots that are so far drawn together vary no more than by a perspective of some scale:
    each corner moves by as many pixels in the mean, evenly from none.
    """
    pixels = max(0.0, 1 - scale.mean().item()) / DRAWN_TOGETHER
    return scale.std().item() < VARY_MOST * VARYING * math.sqrt(pixels * (pixels + 1) / 3)


def _say_angles(
    traces: warps.Warps,
    degrees: Tensor,
    clouds: Tensor,
    measured: warps.Warps,
    moved: Tensor | None,
    found: Findings,
) -> None:
    """How far pictures are turned, told from those without a perspective if there are any.

    Clouds tell it best, where they are not moved or mirrored as well.
    """
    turned, alike = warps.angles(clouds)
    plain = traces.whole & (traces.similar < 0.3) & (traces.scale > 0.98)
    if (alike > ALIKE).double().mean() > 0.15:
        angles = turned[alike > ALIKE].sort().values
        if degrees is not traces.degrees:
            angles = (angles - 90 * (angles / 90).round()).sort().values
    elif moved is not None and plain.double().mean() > 0.15:
        angles = degrees[plain].sort().values
    elif moved is None:
        _say_rough_angles(degrees[traces.whole], measured, found)
        return
    else:
        return
    angles = _without_strays(angles)
    seen = measured.degrees[measured.rotations].sort().values
    known = moved is None and degrees is traces.degrees and len(seen) > 100
    if known and (often := _without_strays(seen)).abs().max() > 1.6 * angles.abs().max():
        angles = often  # clouds that are turned twice are less alike
    low, high, spread = angles[0].item(), angles[-1].item(), angles.std().item()
    evidence = (
        f"The angles of {len(angles)} mere rotations lie between {low:z.1f} and {high:z.1f} "
        f"degrees, with a standard deviation of {spread:.1f}; -10, 10 and 5.8 are asked for."
    )
    if max(abs(low), abs(high)) < KNOWN_TO:
        distorted = measured.degrees[~measured.rotations]
        as_well = moved is None and _turned(distorted, measured) > TURNED_AS_WELL
        found.add("rotation-with-perspective" if as_well else "no-rotation", evidence)
        return
    if high - low < 2 * KNOWN_TO:
        found.add("fixed-angle", evidence)
        return
    groups = _groups(angles, max(1.5, 8 * (high - low) / len(angles)))
    if len(groups) > 1 and all(group[-1] - group[0] < 2 * KNOWN_TO for group in groups):
        listed = ", ".join(f"{group.mean():.0f}" for group in groups[:8])
        found.add("few-angles", f"{evidence} They are near {listed} and nowhere else.")
        return
    steep = known and _steep(-seen[0].item(), seen[-1].item())
    if (steep and _angles_off(measured) < CERTAIN) or (not known and _as_asked(angles)):
        return
    even = (high - low) / math.sqrt(12)
    if low > -KNOWN_TO or high < KNOWN_TO:
        found.add("one-sided-angle", evidence)
    elif steep:
        mean, spread = seen.mean().item(), seen.std().item()
        found.add(
            "uneven-angles",
            f"The angles of {len(seen)} mere rotations have a mean of {mean:z.1f} degrees and a "
            f"standard deviation of {spread:.1f}; 0 and 5.8 are asked for.",
        )
    elif high - low > 8 and not 0.85 < spread / even < 1.15:
        found.add("uneven-angles", evidence)
    else:
        found.add("angle-range", evidence)


def _as_asked(angles: Tensor) -> bool:
    """Whether angles may be drawn evenly from -10 to 10 degrees, by rough bounds."""
    low, high = angles.quantile(0.01).item(), angles.quantile(0.99).item()
    return 4.7 < angles.std().item() < 6.9 and 8.3 < -low < 10.8 and 8.3 < high < 10.8


def _turned(degrees: Tensor, measured: warps.Warps) -> float:
    """The standard deviation of angles but for a perspective's share: it turns dots as well, by
    some 18 degrees for each part that it draws them together by.
    """
    own = 18 * (1 - measured.scale[~measured.rotations].nanmean().item())
    return math.sqrt(max(0.0, degrees.var().item() - own**2))


def _say_rough_angles(degrees: Tensor, measured: warps.Warps, found: Findings) -> None:
    """How far pictures are turned of which hardly any has no perspective."""
    angles = degrees[(degrees - degrees.median()).abs() < 60]
    spread = _turned(angles, measured)
    evidence = (
        f"Without the perspective's share the angles of {len(angles)} warps of five dots have a "
        f"mean of {angles.mean():z.1f} degrees and a standard deviation of {spread:.1f}; 0 and 5.8 "
        "are asked for."
    )
    mean = angles.mean().item()
    if spread < 1.5:
        found.add("no-rotation" if abs(mean) < 1 else "fixed-angle", evidence)
    elif abs(mean) > 0.8 * math.sqrt(3) * spread:
        found.add("one-sided-angle", evidence)
    elif not 4.0 < spread < 7.5:
        found.add("angle-range", evidence)


def _without_strays(angles: Tensor) -> Tensor:
    """Sorted angles, but for a few beside the others: now and then a perspective is so slight that
    it passes for none.
    """
    gap = max(1.0, 8 * (angles[-1] - angles[0]).item() / len(angles))
    groups = [group for group in _groups(angles, gap) if len(group) > 0.03 * len(angles)]
    return torch.cat(groups) if groups else angles


def _groups(angles: Tensor, gap: float) -> list[Tensor]:
    """Sorted angles, parted where there are none for so many degrees."""
    ends = ((angles[1:] - angles[:-1]) > gap).nonzero().flatten() + 1
    return list(angles.tensor_split(ends.tolist()))


def _say_either(measured: warps.Warps, found: Findings) -> bool:
    """Whether it is that pictures with a perspective are not turned."""
    plain = measured.rotations
    if not 0.05 < plain.double().mean() < 0.95:
        return False
    turned, as_well = (measured.degrees[which].std().item() for which in (plain, ~plain))
    if not turned > TURNED_AS_WELL > 2.5 > as_well:
        return False
    found.add(
        "rotation-or-perspective",
        f"The angles of mere rotations have a standard deviation of {turned:.1f} degrees, those of "
        f"pictures with a perspective one of {as_well:.1f}, which is the perspective's own.",
    )
    return True
