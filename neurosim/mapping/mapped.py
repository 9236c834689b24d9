"""Place a network on a profile: one device array for every parameter that the chip makes with devices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.mapping.arrays import DeviceArray, SpreadArray, on_crossbar, quantised, relative_error
from neurosim.mapping.circuit import WordArray, map_circuit
from neurosim.mapping.configuration import Configuration
from neurosim.mapping.limits import refuse_what_does_not_fit
from neurosim.mapping.weight_bound import core_errors
from neurosim.mapping.wiring import fan_out
from neurosim.network import DPINeuron, Network, Population
from neurosim.profile import Profile, refuse_name

#: what the profile's mismatch acts on, by the name of the parameter
ROLES = {
    "weight": "weight", "recurrent": "weight", "bias": "bias", "leak": "bias", "beta": "tau_mem", "alpha": "tau_syn",
    "beta_adaptation": "tau_adaptation", "threshold": "threshold",
}
_VERSION = 1  # of the rules here and in `dies`: a change makes other dies, so it enters the hash
AnyArray = SpreadArray | DeviceArray | WordArray
LEVELS = ("neuron", "circuit")


@dataclass(frozen=True, eq=False)
class MappedNetwork:
    """A network on a chip type: made by `map_network`, immutable, printable.

    arrays: every device array, in the order of the network. What the network has beside them (decays without a
    spread, pooling, biases of a crossbar) is exact on every die. configuration: what is written into a chip of
    circuits; None at the level of neurons.
    """

    network: Network
    profile: Profile
    arrays: tuple[AnyArray, ...]
    configuration: Configuration | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 of network, profile and mapping rules: equal hashes make equal dies."""
        return hashlib.sha256(f"{_VERSION} {self.network.hash} {self.profile.hash}".encode()).hexdigest()

    @property
    def weights(self) -> tuple[AnyArray, ...]:
        """The arrays that hold synapses."""
        return tuple(array for array in self.arrays if array.role == "weight")

    @property
    def devices(self) -> int:
        """How many devices a die has."""
        return sum(array.devices for array in self.arrays)

    @cached_property
    def wiring(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For every weight array: synapses and tile rows that an event of each input reaches, int64 `[inputs]`."""
        shapes = self.network.shapes
        found = {}
        for node in self.network.nodes:
            for array in self.weights:
                if array.layer == node.name and isinstance(array, WordArray):
                    found[array.name] = array.fan_out
                elif array.layer == node.name:
                    # a weight that the chip's levels make 0 takes no synapse; on tiles, a pair of devices all the same
                    weight = array.nominal if isinstance(array, SpreadArray) else getattr(node.layer, array.parameter)
                    found[array.name] = fan_out(node.layer, weight, shapes[node.inputs[0]],
                                                getattr(array, "tiles_out", 1))
        return found

    def table(self) -> list[dict[str, object]]:
        """One row per device array: what lies where, on which scale, with which error."""
        rows = []
        for array in self.arrays:
            row: dict[str, object] = {"array": array.name, "shape": list(array.nominal.shape), "kind": array.kind,
                                      "devices": array.devices, "tiles": array.tiles or None}
            if isinstance(array, DeviceArray):
                row["weight_per_siemens"] = [float(array.scale.min()), float(array.scale.max())]
            row["spread"] = str(array.spread) if array.spread else None
            row["quantisation_error"] = array.error
            rows.append(row)
        return rows

    @cached_property
    def core_errors(self) -> dict[int, tuple[float, float]]:
        """For each core whose words add up base currents: the error of its weights (root mean square, relative), and
        what no choice of currents gets below."""
        circuit = self.profile.circuit
        if self.configuration is None or circuit.size.coding != "mask":
            return {}
        return core_errors(self.network, self.configuration, self.arrays, int(circuit.size.base_currents.value))

    def __str__(self) -> str:
        lines = [f"{len(self.arrays)} device arrays, {self.devices} devices on {self.profile.name}",
                 f"  {'array':24} {'shape':>16} {'as':>9} {'devices':>9} {'tiles':>5}  {'weight / siemens':>19}  "
                 f"{'error':>8}  spread"]
        for row in self.table():
            scale = row.get("weight_per_siemens")
            lines.append(
                f"  {row['array']:24} {'x'.join(map(str, row['shape'])) or '1':>16} {row['kind']:>9} "
                f"{row['devices']:>9} {row['tiles'] or '':>5}  "
                f"{'{:.3g} .. {:.3g}'.format(*scale) if scale else '':>19}  {row['quantisation_error']:>8.2%}  "
                f"{row['spread'] or 'none'}")
        if self.profile.crossbar is not None:
            crossbar = self.profile.crossbar
            ageing = [name for name in ("drift", "relaxation", "retention") if getattr(crossbar, name)]
            lines.append("  noise: mismatch once per die; "
                         f"write noise {'once per programming' if crossbar.programming else 'none'}; "
                         f"ageing: {', '.join(ageing) or 'none'}{', one trajectory per device' if ageing else ''}; "
                         f"read noise {'with every read' if crossbar.read_noise else 'none'}")
        if self.configuration is not None:
            lines += self.configuration.summary(self.profile)
            lines += [f"  core {core}: weights off by {off:.2%} (rms); no base currents get below {least:.2%}"
                      for core, (off, least) in self.core_errors.items()]
        return "\n".join(lines)

    __repr__ = __str__


def map_network(network: Network, profile: Profile, level: str | None = None) -> MappedNetwork:
    """Place a network on a chip type.

    Parameters
    ----------
    level:
        "neuron": layers with weights and decays, that spread as `[mismatch]` says. "circuit": layers `DPINeuron` on the
        `[circuit]` of the profile, with codes, base currents and synapse words. Default: what the layers are of.

    Raises
    ------
    NeurosimError
        The chip cannot hold the network: too many neurons, a neuron with too many synapses, a time constant that it
        cannot make, a layer that it does not have. All reasons are named at once. Or profile is none.

    >>> import numpy as np, neurosim as ns
    >>> net = ns.Network.sequential([ns.Linear(np.eye(2)), ns.LIF(beta=0.9)], (2,), dt=1e-3)
    >>> [(array.name, array.devices) for array in map_network(net, ns.load_profile("pcm_hermes")).arrays]
    [('linear/weight', 8)]
    """
    refuse_name(profile, "map_network")
    circuits = [node.name for node in network.nodes if isinstance(node.layer, DPINeuron)]
    level = level or ("circuit" if circuits else "neuron")
    if level not in LEVELS:
        raise NeurosimError(f"level is {level!r}", where="map_network", allowed=", ".join(LEVELS))
    if level == "circuit":
        configuration, words = map_circuit(network, profile)
        return MappedNetwork(network, profile, words, configuration)
    if circuits:
        raise NeurosimError(f"layer {circuits[0]} is a circuit (DPINeuron)", where="map_network, level neuron",
                            hint='map it with level="circuit"')
    arrays = tuple(_arrays(network, profile))
    refuse_what_does_not_fit(network, profile, {a.name: a.nominal for a in arrays if a.role == "weight"})
    return MappedNetwork(network, profile, arrays)


def _arrays(network: Network, profile: Profile) -> Iterator[AnyArray]:
    index = 0
    for node in network.nodes:
        shape = network.shapes[node.name]
        for name, value in node.layer.arrays().items():
            role = ROLES.get(name)
            spread = getattr(profile.mismatch, role) if role else None
            if spread is not None and not spread.spread and spread.value == 1:
                spread = None
            if role is None or (role != "weight" and spread is None):
                continue
            if isinstance(node.layer, Population) and name != "recurrent":
                value = np.broadcast_to(value, shape)
            if not np.isfinite(np.asarray(value, np.float32)).all():
                raise NeurosimError(f"{name} does not fit into float32", where=f"layer {node.name}")
            if role == "weight" and profile.crossbar is not None:
                yield on_crossbar(index, node.name, name, value, profile.crossbar, spread)
            else:
                levels = profile.synapse.levels if role == "weight" else None
                made = quantised(value, np.abs(value).max(), int(levels.value)) if levels else value
                nominal = np.array(made, np.float32)
                nominal.flags.writeable = False
                yield SpreadArray(index, node.name, name, role, nominal, spread, relative_error(made, value))
            index += 1
