"""`neurosim profiles list | show | check`."""

from __future__ import annotations

from pathlib import Path

import typer

from neurosim.cli.output import JSON, print_json, print_table
from neurosim.errors import NeurosimError
from neurosim.profile import check_profile, load_profile, profile_names, profile_path, profile_rows

app = typer.Typer(no_args_is_help=False, invoke_without_command=True, help="Chip types: list, show, check.")


@app.callback(invoke_without_command=True)
def profiles(context: typer.Context, as_json: bool = JSON) -> None:
    if context.invoked_subcommand is None:
        list_profiles(as_json)
    elif as_json:
        raise NeurosimError(f"--json stands before {context.invoked_subcommand}", where="profiles",
                            hint="put it behind")


@app.command("list")
def list_profiles(as_json: bool = JSON) -> None:
    """List the chip types that come with neurosim."""
    found = [load_profile(name) for name in profile_names()]
    if as_json:
        print_json({"profiles": [{"name": p.name, "family": p.family, "description": p.description, "hash": p.hash}
                                 for p in found]})
        return
    print_table(["profile", "family", "what"], [(p.name, p.family, p.description) for p in found])


@app.command("show")
def show(name: str = typer.Argument(help="Name of a shipped profile, or a .toml file."), as_json: bool = JSON) -> None:
    """Show every number of a chip type with its meaning and source."""
    profile, rows = load_profile(name), profile_rows(load_profile(name))
    if as_json:
        print_json({**profile.model_dump(exclude_none=True), "hash": profile.hash, "path": str(profile_path(name))})
        return
    typer.echo(f"{profile.name} ({profile.family}): {profile.description}")
    print_table(["key", "value", "meaning", "source"], [(r.key, r.value, r.meaning, r.source) for r in rows])
    for source in profile.sources:
        typer.echo(f"source: {source}")


@app.command("check")
def check(file: Path = typer.Argument(help="A .toml file."), as_json: bool = JSON) -> None:
    """Check a profile file and tell every fault at once; exit code 2 if there is one."""
    if as_json:
        faults = check_profile(file)
        print_json({"path": str(file), "faults": [line.strip() for line in faults]})
        if faults:
            raise NeurosimError("\n".join(faults))
        return
    profile = load_profile(file)
    typer.echo(f"{file}: {len(profile_rows(profile))} values, no fault")
