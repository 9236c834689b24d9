"""A differential-pair integrator as transistors for ngspice: netlists are written here, from nothing of neurosim.

Every transistor is a current source with the weak-inversion law, n-type with its bulk at ground, p-type at the supply.
The tail transistor and the pair draw charge from the capacitor, the p-transistor `tau` gives it back, and another one
with the same gate as the capacitor's node is the output.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

I_0, KAPPA, UT, SUPPLY = 0.5e-12, 0.705, 0.025, 1.8


def ngspice() -> str:
    """The simulator; without it the test is left out, or fails where CI is set."""
    found = shutil.which("ngspice")
    if found is None and os.environ.get("CI"):
        pytest.fail("ngspice is missing: apt-get install ngspice")
    return found or pytest.skip("ngspice is not installed")


def _n(name: str, gate: str, source: str, drain: str) -> str:
    """n-transistor; one exponential for each direction, so that no large numbers are multiplied."""
    return (f"B{name} {drain} {source} I = {I_0} * (exp(({KAPPA}*V({gate}) - V({source}))/{UT})"
            f" - exp(({KAPPA}*V({gate}) - V({drain}))/{UT}))")


def _p(name: str, gate: str, drain: str) -> str:
    """p-transistor with its source at the supply."""
    return (f"B{name} dd {drain} I = {I_0} * (exp({KAPPA}*(V(dd) - V({gate}))/{UT})"
            f" - exp(({KAPPA}*(V(dd) - V({gate})) - (V(dd) - V({drain})))/{UT}))")


def gate_of(current: float) -> float:
    """Gate voltage of a saturated n-transistor, and of a p-transistor below its supply."""
    return UT / KAPPA * math.log(current / I_0)


def run(folder: Path, start: float, weight: float, i_tau: float, i_gain: float, capacitor: float, pulse: float,
        after: float) -> tuple[np.ndarray, np.ndarray]:
    """Times and output currents: a pulse of `weight` from time 0 on, `pulse` long, and `after` seconds more."""
    edge = pulse / 1000
    netlist = folder / "dpi.cir"
    netlist.write_text("\n".join([
        "differential-pair integrator", f"Vdd dd 0 {SUPPLY}",
        f"Vtau gtau 0 {SUPPLY - gate_of(i_tau)}", f"Vgain gthr 0 {SUPPLY - gate_of(i_gain)}",
        f"Vw gw 0 PWL(0 {gate_of(weight)} {pulse} {gate_of(weight)} {pulse + edge} -0.4)",
        f"Cmem dd syn {capacitor} IC={gate_of(start)}", f"Ctail c 0 1e-17 IC={_tail(weight, start, i_gain)}",
        _p("tau", "gtau", "syn"), _n("in", "syn", "c", "syn"), _n("thr", "gthr", "c", "dd"), _n("w", "gw", "0", "c"),
        _p("out", "syn", "out"), "Vout out 0 0",
        ".options method=gear reltol=1e-6 abstol=1e-18 chgtol=1e-22 vntol=1e-9",
        f".tran {pulse / 100} {pulse + after} 0 {max(pulse / 100, (pulse + after) / 2000)} uic",
        ".control", "run", "set wr_singlescale", f"wrdata {folder / 'out.txt'} i(Vout)", ".endc", ".end", ""]))
    done = subprocess.run([ngspice(), "-b", str(netlist)], cwd=folder, capture_output=True, text=True, timeout=120)
    if not (folder / "out.txt").exists():
        raise AssertionError(f"ngspice: {done.stdout[-2000:]} {done.stderr[-2000:]}")
    time, current = np.loadtxt(folder / "out.txt").T
    return time, current


def _tail(weight: float, start: float, i_gain: float) -> float:
    """Voltage of the common source at which the pair carries the tail's current."""
    gates = np.array([SUPPLY - gate_of(start), SUPPLY - gate_of(i_gain)])
    return float(UT * (np.log(np.exp((KAPPA * gates - 1) / UT).sum()) + 1 / UT - math.log(weight / I_0)))
