"""Neurons at the level of the circuit: subthreshold currents, capacitors and pulses instead of decays and weights.

The layer holds what the chip holds, in SI units; the equations are solved by `neurosim.engine.dpi`. Where a layer lies
on a chip, what spreads from die to die, and codes of bias generators stay out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from neurosim.errors import NeurosimError, whole
from neurosim.network.layer import Population, Shape, checked_array

#: the four synapse circuits of a neuron, in the order of the kernels
SYNAPSES = ("ampa", "nmda", "gaba", "shunt")
FEEDBACKS = ("power", "sigmoid", "product", "none")
SYNAPSE_MODELS = ("exact", "linear")
_WEIGHTS = ("weight_", "recurrent_")
_MAY_BE_ZERO = ("i_dc", "noise_dc", "i_nmda_threshold", "i_weight_ahp", "i_feedback_gain", "i_feedback_threshold")
BOLTZMANN_PER_CHARGE = 8.617333262e-5  # V/K, exact to all digits given (CODATA 2018)


@dataclass(frozen=True, repr=False, eq=False)
class DPINeuron(Population):
    """Adaptive-exponential integrate-and-fire neuron with its synapses, all of them differential-pair integrators.

    Input are spikes `[time, batch, inputs]`. For every synapse type s of ampa, nmda, gaba and shunt there is a weight
    `[neurons, inputs]` and a recurrent weight `[neurons, from neurons]`: the current of the pulse that a spike
    causes, in amperes, never negative. A type without any weight is not there. Without any input weight the layer
    takes currents `[time, batch, neurons]` in amperes, added to i_dc.

    A synapse (and the adaptation, AHP) of capacitor C, leak Itau and gain current Ig, with UT = k T / q:

        ``C UT/kappa d(ln I)/dt = Iw / (1 + I/Ig) - Itau``,  I >= i_0

    where Iw is the sum of the weights of the spikes, for t_pulse after them. The membrane:

        ``c_mem UT/kappa d(ln I)/dt = Iin / (1 + I/i_gain_mem) + Ia(I) - i_tau_mem - Iahp - Ishunt``,  I >= i_0

        ``Iin = max(Iampa + Inmda / (1 + i_nmda_threshold / I) - Igaba + i_dc + noise, i_0)``

    A spike is where I crosses i_threshold; then I is held at i_reset for t_refractory, and the AHP gets a pulse of
    i_weight_ahp for t_pulse_ahp. Positive feedback Ia, with p = kappa / (kappa + 1):

    ========  =============================================================================
    power     ``i_0^(1-p) I^p``
    sigmoid   ``i_feedback_gain / (1 + exp(-(I - i_feedback_threshold) / i_feedback_norm))``
    product   power times ``1 / (1 + exp(...))``
    none      0
    ========  =============================================================================

    Start: all currents at i_0. Spikes take effect at the beginning of a step: those of the input in their own step,
    recurrent ones in the step after. A neuron may fire more than once in a step; its event then stands there as often.

    Parameters
    ----------
    weight_ampa, weight_nmda, weight_gaba, weight_shunt:
        `[neurons, inputs]`, A, or None.
    recurrent_ampa, recurrent_nmda, recurrent_gaba, recurrent_shunt:
        `[neurons, neurons]`, A, or None.
    i_tau_ampa, i_gain_ampa, c_ampa, ... (nmda, gaba, shunt, ahp):
        Leak and gain current (A) and capacitor (F) of each block. ``tau = C UT / (kappa Itau)``.
    t_pulse:
        Length of all synaptic pulses (the pulse extender), s.
    i_nmda_threshold:
        Of the NMDA voltage gate, A; 0 leaves the gate open.
    i_tau_mem, i_gain_mem, c_mem:
        Leak and gain current (A) and capacitor (F) of the membrane.
    i_threshold, i_reset, t_refractory:
        Spike threshold and reset (A), refractory period (s).
    i_dc, noise_dc:
        Constant bias current (A), and the one-sided spectral density of its white noise (A / sqrt(Hz)); within a
        step of dt the noise is constant, of standard deviation ``noise_dc / sqrt(2 dt)``.
    i_feedback_gain, i_feedback_threshold, i_feedback_norm:
        Of the sigmoid feedback, A.
    i_weight_ahp, t_pulse_ahp:
        Weight (A) and length (s) of the adaptation's pulse; without a weight there is no adaptation.
    i_0:
        Leakage current: the least that any node carries, A.
    feedback:
        "power", "sigmoid", "product" or "none".
    synapse_model:
        "exact"; or "linear": a pulse adds ``Ig Iw/Itau (1 - exp(-t_pulse/tau))`` at once. That is the familiar jump,
        true only for I much above Ig and Iw much above Itau.
    kappa, temperature:
        Subthreshold slope factor; temperature of the die in K.
    noise_seed:
        Of the noise, 0 to 2^64 - 1.

    All but the weights are scalars or `[neurons]`. Sources: Bartolozzi and Indiveri, Neural Comput. 19, 2581 (2007);
    Livi and Indiveri, ISCAS 2009; Chicca et al., Proc. IEEE 102, 1367 (2014). The defaults are effective values as
    simulators of the DYNAP-SE family use them (tau 20 ms membrane, 10 ms synapses, 50 ms AHP), not measured ones.
    """

    weight_ampa: np.ndarray | None = None
    weight_nmda: np.ndarray | None = None
    weight_gaba: np.ndarray | None = None
    weight_shunt: np.ndarray | None = None
    recurrent_ampa: np.ndarray | None = None
    recurrent_nmda: np.ndarray | None = None
    recurrent_gaba: np.ndarray | None = None
    recurrent_shunt: np.ndarray | None = None
    i_tau_ampa: np.ndarray = 90e-12
    i_tau_nmda: np.ndarray = 90e-12
    i_tau_gaba: np.ndarray = 90e-12
    i_tau_shunt: np.ndarray = 90e-12
    i_tau_ahp: np.ndarray = 29e-12
    i_gain_ampa: np.ndarray = 9e-9
    i_gain_nmda: np.ndarray = 9e-9
    i_gain_gaba: np.ndarray = 9e-9
    i_gain_shunt: np.ndarray = 9e-9
    i_gain_ahp: np.ndarray = 29e-12
    c_ampa: np.ndarray = 24.5e-12
    c_nmda: np.ndarray = 25e-12
    c_gaba: np.ndarray = 25e-12
    c_shunt: np.ndarray = 24.5e-12
    c_ahp: np.ndarray = 40e-12
    t_pulse: np.ndarray = 10e-6
    i_nmda_threshold: np.ndarray = 0.0
    i_tau_mem: np.ndarray = 5.5e-12
    i_gain_mem: np.ndarray = 22e-12
    c_mem: np.ndarray = 3e-12
    i_threshold: np.ndarray = 100e-9
    i_reset: np.ndarray = 0.5e-12
    t_refractory: np.ndarray = 1e-3
    i_dc: np.ndarray = 0.5e-12
    noise_dc: np.ndarray | None = None
    i_feedback_gain: np.ndarray = 100e-12
    i_feedback_threshold: np.ndarray = 1e-9
    i_feedback_norm: np.ndarray = 20e-12
    i_weight_ahp: np.ndarray | None = None
    t_pulse_ahp: np.ndarray = 1e-6
    i_0: np.ndarray = 0.5e-12
    feedback: str = "power"
    synapse_model: str = "exact"
    kappa: float = 0.705
    temperature: float = 300.0
    noise_seed: int = 0
    parameters: ClassVar = (
        *(f"{kind}_{s}" for kind in ("weight", "recurrent") for s in ("ampa", "nmda", "gaba", "shunt")),
        *(f"{kind}_{s}" for kind in ("i_tau", "i_gain", "c") for s in ("ampa", "nmda", "gaba", "shunt", "ahp")),
        "t_pulse", "i_nmda_threshold", "i_tau_mem", "i_gain_mem", "c_mem", "i_threshold", "i_reset", "t_refractory",
        "i_dc", "noise_dc", "i_feedback_gain", "i_feedback_threshold", "i_feedback_norm", "i_weight_ahp", "t_pulse_ahp",
        "i_0")
    source: ClassVar = ("Chicca et al., Neuromorphic electronic circuits for building autonomous cognitive systems, "
                        "Proc. IEEE 102, 1367 (2014)")

    def __post_init__(self) -> None:
        for name, value in self.arrays().items():
            weight = name.startswith(_WEIGHTS)
            checked = checked_array(value, name, 2 if weight else None)
            zero = weight or name in _MAY_BE_ZERO
            if not (checked >= 0 if zero else checked > 0).all():
                raise NeurosimError(f"{name} reaches down to {checked.min():g}",
                                    allowed="0 or more" if zero else "more than 0",
                                    hint="inhibition has synapses of its own: gaba, shunt" if weight else "")
            object.__setattr__(self, name, checked)
        if not (self.i_reset < self.i_threshold).all():
            raise NeurosimError("i_reset is not below i_threshold everywhere")
        for name, allowed in (("feedback", FEEDBACKS), ("synapse_model", SYNAPSE_MODELS)):
            if getattr(self, name) not in allowed:
                raise NeurosimError(f"{name} is {getattr(self, name)!r}", allowed=", ".join(allowed))
            object.__setattr__(self, name, str(getattr(self, name)))  # plain values: part of the network's hash
        for name, low, high in (("kappa", 0.1, 1.0), ("temperature", 200.0, 450.0)):
            if not low <= getattr(self, name) <= high:
                raise NeurosimError(f"{name} is {getattr(self, name)!r}", allowed=f"{low:g} to {high:g}")
            object.__setattr__(self, name, float(getattr(self, name)))
        object.__setattr__(self, "noise_seed", whole("noise_seed", self.noise_seed, "", 0, 64))
        self._fits()

    def _fits(self) -> None:
        """The weights agree on the number of neurons and inputs, the other arrays with them."""
        weights = {name: value.shape for name, value in self.weights().items()}
        neurons = {shape[0] for shape in weights.values()} | {
            shape[1] for name, shape in weights.items() if name.startswith("recurrent")}
        inputs = {shape[1] for name, shape in weights.items() if name.startswith("weight")}
        if len(neurons) > 1 or len(inputs) > 1:
            raise NeurosimError(f"weights of shapes {', '.join(f'{k} {list(v)}' for k, v in weights.items())}",
                                allowed="[neurons, inputs] and, recurrent, [neurons, neurons]")
        if neurons:
            self._check_width((neurons.pop(),))

    def _check_width(self, shape: Shape) -> None:
        for name, value in self.arrays().items():
            if not name.startswith(_WEIGHTS) and value.size > 1 and value.shape != shape:
                raise NeurosimError(f"{name} has shape {list(value.shape)}, its population {list(shape)}")

    @property
    def thermal_voltage(self) -> float:
        """``UT = k T / q``, V."""
        return BOLTZMANN_PER_CHARGE * self.temperature

    def weights(self) -> dict[str, np.ndarray]:
        """The weights that it has, by name."""
        return {name: value for name, value in self.arrays().items() if name.startswith(_WEIGHTS)}

    @property
    def inputs(self) -> int | None:
        """How many input spikes it takes at a step; None where it takes currents."""
        return next((value.shape[1] for name, value in self.weights().items() if name.startswith("weight")), None)

    def synapses(self) -> tuple[str, ...]:
        """The synapse types that have a weight."""
        return tuple(s for s in SYNAPSES if {f"weight_{s}", f"recurrent_{s}"} & self.weights().keys())

    def output_shape(self, shape: Shape) -> Shape:
        neurons = next((value.shape[:1] for value in self.weights().values()), shape)
        if self.inputs is None and shape != neurons:
            raise NeurosimError(f"{neurons[0]} neurons without input weights get shape {list(shape)}",
                                allowed=f"[{neurons[0]}], currents in amperes")
        if self.inputs is not None and shape != (self.inputs,):
            raise NeurosimError(f"DPINeuron takes {self.inputs} inputs, gets shape {list(shape)}",
                                hint="put a Flatten before it" if len(shape) > 1 else "")
        self._check_width(neurons)
        return neurons
