"""What the benchmarks share: interleaved medians, the machine, its arithmetic, a table."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """The seconds of each of ``works`` in each round, taken in turn."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    return taken


def medians(taken: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(each) for name, each in taken.items()}


def arithmetic(size: int = 1024, rounds: int = 20) -> float:
    """Floating-point operations a second of the largest product of matrices that is timed here."""
    a, b = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(rounds))


def machine() -> str:
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [
            x.partition(":")[2].strip() for x in cpus.read_text().splitlines() if "model name" in x
        ]
        model = names[0] if names else model
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{model}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}{gpu}"
    )


def show(
    title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], *notes: str
) -> None:
    """Print a table 88 columns wide, with the machine below it."""
    console = Console(width=88, highlight=False)
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    table.add_column("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for note in (*notes, machine()):
        console.print(note)
    console.print()
