"""Between the fields of a `DPINeuron` and the biases of a core: which bias makes which field, and the codes for it.

A field is a current, or a time that a current needs to discharge a capacitor, ``t = C V / I``. Fields that no bias
makes (capacitors, leakage, reset, slope factor, form of the feedback) are the chip's own: a network must have been made
with them, see `chip_fields`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurosim.devices import nearest_codes, table_currents
from neurosim.errors import NeurosimError
from neurosim.network import DPINeuron
from neurosim.network.circuit_layers import SYNAPSES
from neurosim.profile import Circuit, Profile

OFF = -1  # both codes of a bias that is switched off


@dataclass(frozen=True)
class Setting:
    """A bias: the field that it makes, the capacitor where that is a time, and what spreads it."""

    bias: str
    field: str
    variation: str
    capacitor: str | None = None
    may_be_off: bool = False

    def current(self, circuit: Circuit, value: np.ndarray) -> np.ndarray:
        """Amperes for values of the field."""
        return self._charge(circuit) / value if self.capacitor else value

    def value(self, circuit: Circuit, current: np.ndarray) -> np.ndarray:
        """The field for amperes."""
        return self._charge(circuit) / current if self.capacitor else current

    def _charge(self, circuit: Circuit) -> float:
        return getattr(circuit.capacitor, self.capacitor).value * circuit.discharge.value


#: in the order of the codes of a configuration, and of the random numbers of a die: only ever append
SETTINGS = (
    Setting("leak", "i_tau_mem", "leak"), Setting("gain", "i_gain_mem", "gain"),
    Setting("refractory", "t_refractory", "refractory", "refractory"),
    Setting("spike_threshold", "i_threshold", "spike_threshold"), Setting("dc", "i_dc", "dc", may_be_off=True),
    Setting("pulse", "t_pulse", "pulse", "pulse"),
    Setting("ahp_tau", "i_tau_ahp", "ahp_tau"), Setting("ahp_gain", "i_gain_ahp", "ahp_gain"),
    Setting("ahp_weight", "i_weight_ahp", "ahp_weight", may_be_off=True),
    Setting("ahp_pulse", "t_pulse_ahp", "ahp_pulse", "ahp_pulse"),
    *(Setting(f"{kind}_{what}", f"i_{what}_{kind}", f"synapse_{what}")
      for kind in SYNAPSES for what in ("tau", "gain")),
    Setting("nmda_gate", "i_nmda_threshold", "nmda_gate", may_be_off=True),
    *(Setting(f"feedback_{what}", f"i_feedback_{what}", "feedback", may_be_off=what != "norm")
      for what in ("gain", "threshold", "norm")),
)


def settings_of(circuit: Circuit) -> tuple[Setting, ...]:
    """The biases that this chip has."""
    return tuple(setting for setting in SETTINGS if getattr(circuit.bias, setting.bias) is not None)


def fixed_fields(circuit: Circuit) -> dict[str, float | str]:
    """The fields of a `DPINeuron` that the chip has by itself."""
    i_0, caps = circuit.transistor.i0.value, circuit.capacitor
    return {
        "c_mem": caps.membrane.value, "c_ahp": caps.ahp.value,
        **{f"c_{kind}": getattr(caps, kind).value for kind in SYNAPSES},
        "i_0": i_0, "i_reset": circuit.reset.value * i_0, "feedback": circuit.feedback,
        "kappa": (circuit.transistor.kappa_n.value + circuit.transistor.kappa_p.value) / 2,
        "temperature": circuit.temperature.nominal.value,
    }


def chip_fields(profile: Profile) -> dict[str, float | str]:
    """Arguments of a `DPINeuron` for neurons of this chip at its nominal biases, without weights.

    A bias that is nominally the leakage I0 (no constant input, no adaptation, an open NMDA gate) is off.

    >>> import numpy as np, neurosim as ns
    >>> fields = chip_fields(ns.load_profile("dynap_se2"))
    >>> ns.DPINeuron(weight_ampa=np.full((3, 2), 50e-9), **fields).c_mem
    array(3.e-12)
    """
    circuit = circuit_of(profile)
    found = fixed_fields(circuit)
    for setting in settings_of(circuit):
        nominal = getattr(circuit.bias, setting.bias).current.value
        if setting.may_be_off and nominal <= circuit.transistor.i0.value:
            if setting.field != "i_weight_ahp":
                found[setting.field] = 0.0
            continue
        found[setting.field] = float(setting.value(circuit, nominal))
    return found


def circuit_of(profile: Profile) -> Circuit:
    """The `[circuit]` section; raises where there is none."""
    if profile.circuit is None:
        raise NeurosimError("this chip type is not described at the level of circuits",
                            where=f"profile {profile.name}", allowed="a profile with a [circuit] section",
                            hint="take dynap_se1 or dynap_se2")
    return profile.circuit


def foreign_fields(layer: DPINeuron, circuit: Circuit) -> Iterator[str]:
    """What a layer has that the chip cannot have; one sentence each."""
    for name, wanted in fixed_fields(circuit).items():
        found = getattr(layer, name)
        if isinstance(wanted, str):
            if found != wanted:
                yield f"{name} is {found!r}, the chip's is {wanted!r}"
        elif not np.allclose(found, wanted, rtol=1e-5, atol=0):
            yield f"{name} is {float(np.ravel(found)[0]):g}, the chip's is {wanted:g}"
    if layer.synapse_model != "exact":
        yield "synapse_model is 'linear', the chip's synapses follow the exact equation"


def wanted_currents(layer: DPINeuron, neurons: int, circuit: Circuit) -> np.ndarray:
    """The currents that the biases should have, float64 `[neurons, bias]`, NaN where a bias is off."""
    columns = []
    for setting in settings_of(circuit):
        value = getattr(layer, setting.field)
        value = np.broadcast_to(np.asarray(0.0 if value is None else value, np.float64), (neurons,))
        with np.errstate(divide="ignore"):
            columns.append(np.where(value > 0, setting.current(circuit, value), np.nan))
    return np.stack(columns, axis=1)


def codes_of(currents: np.ndarray, circuit: Circuit) -> np.ndarray:
    """Coarse and fine codes nearest to currents `[group, bias]`, int16 `[group, bias, 2]`; NaN is `OFF`."""
    codes = np.full((*currents.shape, 2), OFF, np.int16)
    for column, setting in enumerate(settings_of(circuit)):
        on = np.flatnonzero(~np.isnan(currents[:, column]))
        table = table_currents(circuit, getattr(circuit.bias, setting.bias))
        codes[on, column] = np.stack(nearest_codes(table, currents[on, column]), axis=1)
    return codes


def currents_of(codes: np.ndarray, circuit: Circuit) -> np.ndarray:
    """The currents of codes `[group, bias, 2]`, float64 `[group, bias]`; NaN where a bias is off."""
    columns = []
    for column, setting in enumerate(settings_of(circuit)):
        table = table_currents(circuit, getattr(circuit.bias, setting.bias))
        coarse, fine = codes[:, column, 0], codes[:, column, 1]
        columns.append(np.where(coarse == OFF, np.nan, table[coarse, fine]))
    return np.stack(columns, axis=1)
