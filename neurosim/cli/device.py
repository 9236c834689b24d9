"""`neurosim device`: one memristor under a voltage, by the write dynamics of its profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer

from neurosim.cli.output import JSON, key_values, print_json
from neurosim.errors import NeurosimError


def device(
    profile: str = typer.Argument(help="Chip type with write dynamics: vteam, stanford_pku, or a .toml file."),
    change: list[str] = typer.Option([], "--set", help="KEY=VALUE of the profile, such as crossbar.vteam.k_on=-5."),
    amplitude: float = typer.Option(None, help="V of the sine; default: the profile's."),
    period: float = typer.Option(None, help="s of the sine; default: the profile's."),
    cycles: int = typer.Option(2, min=1, max=1000, help="Periods of the sine."),
    pulses: int = typer.Option(None, min=1, max=100_000, help="Pulses instead of a sine."),
    level: float = typer.Option(None, help="V of a pulse; default: --amplitude."),
    width: float = typer.Option(None, help="s of a pulse; default: a hundredth of the period."),
    start: float = typer.Option(1.0, min=0.0, max=1.0, help="First state, from 0 (its least) to 1 (its most)."),
    plot: Path = typer.Option(None, "--plot", help="A .svg, .png or .pdf file: current over voltage, and the state."),
    as_json: bool = JSON,
) -> None:
    """Show what a memristor does while it is written: its loop of current and voltage, or its answer to pulses."""
    from neurosim.devices import dynamics
    from neurosim.profile import load_profile

    chip = load_profile(profile)
    if change:
        chip = chip.with_values(key_values(change, "--set"))
    model = chip.crossbar.dynamics if chip.crossbar else None
    if model is None:
        raise NeurosimError("this chip type does not say how its devices move", where=f"profile {chip.name}",
                            hint="[crossbar.vteam] and [crossbar.stanford_pku] do, as in the profiles of these names")
    amplitude = model.amplitude.value if amplitude is None else amplitude
    period = model.period.value if period is None else period
    width = period / 100 if width is None else width
    for name, value in (("--period", period), ("--width", width)):
        if not 1e-15 <= value <= 1e6:
            raise NeurosimError(f"{name} is {value:g}", allowed="1e-15 to 1e6 s")
    low, high = dynamics.law(model).ends(model)
    if pulses is None:
        time, voltage = dynamics.sweep(amplitude, period, cycles)
    else:
        time, voltage = dynamics.pulses(np.full(pulses, amplitude if level is None else level), width)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        trace = dynamics.simulate(model, time, voltage, np.array([low + start * (high - low)]))
    if not (np.isfinite(trace.state).all() and np.isfinite(trace.current).all()):
        raise NeurosimError(f"the equations of the device have no finite answer at {np.abs(voltage).max():g} V",
                            where=f"profile {chip.name}", hint="take a smaller --level or --amplitude")
    state = trace.state[:, 0]
    found = {"profile": chip.name, "model": type(model).__name__, "seconds": float(time[-1]),
             "state": {"least": float(state.min()), "most": float(state.max()), "last": float(state[-1])},
             "current": {"least": float(trace.current.min()), "most": float(trace.current.max())},
             "plot": str(plot) if plot else None}
    if pulses is None:
        last = slice(-(len(time) - 1) // cycles - 1, None)
        found["loop_area"] = dynamics.loop_area(voltage[last], trace.current[last, 0])
    else:
        found["states"] = [float(x) for x in state[len(time) // pulses - 1::len(time) // pulses]]
    if plot is not None:
        from neurosim.report import plot_device, save_figure

        save_figure(plot_device(trace, f"{chip.name}: {type(model).__name__}"), plot)
    if as_json:
        print_json(found)
        return
    what = f"{pulses} pulses" if pulses else "a sine"
    typer.echo(f"{chip.name} ({found['model']}), {found['seconds']:g} s of {what}")
    typer.echo(f"state {found['state']['least']:.4g} to {found['state']['most']:.4g} m, at the end "
               f"{found['state']['last']:.4g} m")
    typer.echo(f"current {found['current']['least']:.4g} to {found['current']['most']:.4g} A")
    if pulses is None:
        typer.echo(f"area of the last loop {found['loop_area']:.4g} W")
    if plot is not None:
        typer.echo(f"plot: {plot}")
