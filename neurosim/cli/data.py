"""`neurosim data list | fetch`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from neurosim.cli.output import JSON, print_json, print_table
from neurosim.errors import NeurosimError

app = typer.Typer(invoke_without_command=True, help="Data sets: list, fetch.")


@app.callback(invoke_without_command=True)
def data(context: typer.Context, as_json: bool = JSON) -> None:
    if context.invoked_subcommand is None:
        list_tasks(as_json)
    elif as_json:
        raise NeurosimError(f"--json stands before {context.invoked_subcommand}", where="data",
                            hint="put it behind")


@app.command("list")
def list_tasks(as_json: bool = JSON) -> None:
    """List the tasks, their licence, and where their data lie."""
    from neurosim.tasks import task_info, task_names

    found = [task_info(name) for name in task_names()]
    if as_json:
        print_json({"tasks": [asdict(info) for info in found]})
        return
    print_table(["task", "what", "licence", "source", "lies in"],
                [(info.name, info.title, info.licence, info.source, info.where or "not here: neurosim data fetch "
                  f"{info.name} ({info.size / 1e6:.0f} MB), or set NEUROSIM_DATA") for info in found])


@app.command("fetch")
def fetch(task: str = typer.Argument(help="Name of a task."), as_json: bool = JSON) -> None:
    """Make the data of a task lie on this machine, checked against the publisher's checksums."""
    from neurosim.tasks import fetch_task

    where = fetch_task(task)
    if as_json:
        print_json({"task": task, "path": str(where)})
    else:
        typer.echo(f"{task}: {where}")
