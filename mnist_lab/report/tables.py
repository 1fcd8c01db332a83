"""Tables and cards that a notebook shows: HTML where it can, aligned text elsewhere.

Styles are inline, since a notebook's page is not ours; colours are the report's, and text has the
colour of the page that it stands on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mnist_lab.report.pages import render

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison
    from mnist_lab.grade import Grade


@dataclass(frozen=True)
class Table:
    """``columns`` are headings, in ``rows`` is text; what is in ``numbers`` is set to the right.

    ``notes`` are sentences below it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    notes: Sequence[str] = ()

    def only(self, *places: int) -> Table:
        """The table of the columns at ``places``."""
        columns, *rows = ([line[place] for place in places] for line in (self.columns, *self.rows))
        numbers = [new for new, place in enumerate(places) if place in self.numbers]
        return replace(self, columns=columns, rows=rows, numbers=numbers)

    def _repr_html_(self) -> str:
        return render("table.html.jinja", table=self)

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        shown = [
            "  ".join(
                text.rjust(width) if place in self.numbers else text.ljust(width)
                for place, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*shown, *self.notes])


def of_models(comparison: Comparison) -> Table:
    """The models of a comparison: what they are and how well they read."""
    from mnist_lab.report import words

    rows = [
        (
            result.title,
            f"{result.parameters:,}",
            f"{result.accuracy:.2%}",
            "{:.2%} to {:.2%}".format(*result.interval),
            words.loss(result),
            words.duration(result.history.seconds),
        )
        for result in (*comparison.results, *comparison.beside)
    ]
    columns = ("Model", "Parameters", "Test accuracy", "95% interval", "Test loss", "Training")
    return Table(columns, rows, range(1, 6), comparison.missing)


def of_grade(grade: Grade) -> Table:
    """A learner's points, and what stands in the way of the rest."""
    from mnist_lab.report import words

    rows = [
        (e.title, f"{e.points:g} of {e.max_points:g}", words.obstacle(e)) for e in grade.exercises
    ]
    total = f"{grade.score:g} of {grade.max_score:g} points."
    return Table(("Exercise", "Points", "What stands in the way"), rows, (1,), (total,))
