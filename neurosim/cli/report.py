"""`neurosim report`: runs to one HTML page."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.deploy import as_dict
from neurosim.cli.output import JSON, print_json, print_table


def report(
    runs: list[Path] = typer.Argument(help="Run files that `neurosim deploy` wrote."),
    out: Path = typer.Option(Path("report.html"), "--out", "-o", help="The HTML file to write."),
    title: str = typer.Option("neurosim report", help="Its heading."),
    threshold: float = typer.Option(None, help="Accuracy for the yield; default: 95 % of each network's own."),
    figures: Path = typer.Option(None, help="A folder for the plots as SVG and PNG files as well."),
    as_json: bool = JSON,
) -> None:
    """Write one self-contained HTML page about one or several runs."""
    from neurosim.deployment import load_run
    from neurosim.report import write_report

    found = [load_run(path) for path in runs]
    write_report(found, out, title, threshold, figures)
    if as_json:
        print_json({"report": str(out), "runs": [{"run": str(path), **as_dict(run, threshold)}
                                                 for path, run in zip(runs, found, strict=True)]})
        return
    print_table(["run", "dies", "network itself", "mean", "min", "yield"],
                [(path.name, run.accuracy.size, f"{run.ideal_accuracy:.2%}", *(
                    f"{run.summary(threshold)[i].value:.2%}" for i in (0, 2, 4))) for path, run in
                 zip(runs, found, strict=True)], numbers_from=1)
    typer.echo(f"report: {out}")
