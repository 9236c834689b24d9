"""The command line as a whole: its commands, and how errors end it."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

import typer

from neurosim import __version__
from neurosim.cli import attack, data, demo, deploy, device, examine, landscape, map, pareto, profiles, report, train
from neurosim.errors import NeurosimError

_STOPPED = 130  # as shells say it of Ctrl-C
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})
app.command("demo")(demo.demo)
app.add_typer(profiles.app, name="profiles")
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("map")(map.map_model)
app.command("deploy")(deploy.deploy)
app.command("examine")(examine.examine)
app.command("attack")(attack.attack)
app.command("landscape")(landscape.landscape)
app.command("pareto")(pareto.pareto)
app.command("device")(device.device)
app.command("report")(report.report)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neurosim {__version__}")
        raise typer.Exit


@app.callback()
def neurosim(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                          help="Print the version.")) -> None:
    """Train a spiking network once for a chip type, and know how every die of it will do."""


def main() -> None:
    """Run the command line: exit code 0 when it did what was asked, 2 and one sentence when the input is wrong."""
    logging.basicConfig(stream=sys.stderr, format="neurosim: %(message)s", level=logging.WARNING)
    try:
        code = app(standalone_mode=False) or 0
        sys.exit(_stopped() if code == _STOPPED else code)  # typer makes this code of Ctrl-C, or raises it
    except NeurosimError as error:
        sys.exit(_say(str(error), 2))
    except typer.TyperException as error:
        sys.exit(_say(f"{error.format_message()} (see --help)" if error.format_message() else "see --help", 2))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_stopped())
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # of files, commands say it themselves
        with suppress(OSError, ValueError):  # what is left would be said once more when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_say(f"{error.filename or 'the output'}: {error.strerror or error}", 1))


def _stopped() -> int:
    return _say("stopped; what was done so far is kept where the command can go on", _STOPPED)


def _say(text: str, code: int) -> int:
    print(f"neurosim: {text}", file=sys.stderr)
    return code
