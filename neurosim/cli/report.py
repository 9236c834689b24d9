"""`neurosim report`: results to one HTML page."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.deploy import as_dict
from neurosim.cli.output import JSON, print_json, print_table
from neurosim.writing import refuse_place


def report(
    results: list[Path] = typer.Argument(help="Files that `neurosim deploy`, pareto, examine, attack and landscape "
                                              "wrote."),
    out: Path = typer.Option(Path("report.html"), "--out", "-o", help="The HTML file to write."),
    title: str = typer.Option("neurosim report", help="Its heading."),
    threshold: float = typer.Option(None, help="Accuracy for the yield; default: 95 % of each network's own."),
    figures: Path = typer.Option(None, help="A folder for the figures as SVG and PNG files as well."),
    as_json: bool = JSON,
) -> None:
    """Write one self-contained HTML page about results: whatever they can fill is on it."""
    from neurosim.deployment import Run
    from neurosim.report import load, write_report

    refuse_place(out, *results)
    loaded = [load(path) for path in results]
    write_report(loaded, out, title, threshold, figures)
    runs = [(path, one) for path, one in zip(results, loaded, strict=True) if isinstance(one, Run)]
    if as_json:
        print_json({"report": str(out), "runs": [{"run": str(path), **as_dict(run, threshold)} for path, run in runs]})
        return
    if runs:
        print_table(["run", "dies", "network itself", "mean", "min", "yield"],
                    [(path.name, run.accuracy.size, f"{run.ideal_accuracy:.2%}", *(
                        f"{run.summary(threshold)[i].value:.2%}" for i in (0, 2, 4))) for path, run in runs],
                    numbers_from=1)
    typer.echo(f"report: {out}")
