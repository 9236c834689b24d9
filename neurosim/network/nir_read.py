"""The parts of a NIR graph as layers of a network.

Knows what each NIR node computes; what a time constant becomes is `nir_steps`, what a loop is `nir_graph`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from neurosim.errors import NeurosimError
from neurosim.network.layers import (
    LIF,
    AvgPool2d,
    Conv2d,
    CubaLIF,
    Flatten,
    Layer,
    LeakyIntegrator,
    Linear,
    Shape,
    Sum,
)
from neurosim.network.network import Network, Node
from neurosim.network.nir_graph import Part
from neurosim.network.nir_steps import Steps


def network_of(parts: Mapping[str, Part], steps: Steps, readout: str, provenance: Mapping[str, object],
               input_shape: Shape | None = None) -> Network:
    """The network that the ordered parts of a graph stand for; every refusal names its node."""
    names: dict[str, str] = {}
    shapes: dict[str, Shape] = {}
    nodes: list[Node] = []

    def add(name: str, layer: Layer, inputs: list[str]) -> str:
        name = name.replace("/", ".")
        while name in shapes or name == "input":
            name += "_"
        shapes[name] = layer.output_shape(shapes[inputs[0]])
        if any(shapes[other] != shapes[inputs[0]] for other in inputs):
            raise NeurosimError(f"it sums shapes {[shapes[other] for other in inputs]}", allowed="one shape")
        nodes.append(Node(name, layer, tuple(inputs)))
        return name

    for name, part in parts.items():
        try:
            if part.kind == "Input":
                names[name] = "input"
                shapes["input"] = input_shape or _input_shape(part)
                continue
            inputs = [names[source] for source in part.sources]
            if len(inputs) > 1:
                inputs = [add(f"{name}_sum", Sum(), inputs)]
            if part.kind == "Output":
                continue
            if part.kind not in _READERS:
                raise NeurosimError("neurosim has no layer for it", allowed=", ".join(KNOWN))
            for number, layer in enumerate(layers := _READERS[part.kind](part, steps, shapes[inputs[0]])):
                last = number == len(layers) - 1
                inputs = [add(name if last else f"{name}.current", layer, inputs)]
            names[name] = inputs[0]
        except NeurosimError as error:
            where = f"node {name} ({part.kind})"
            raise NeurosimError(error.message, where=f"{where}, {error.where}" if error.where else where,
                                allowed=error.allowed, hint=error.hint) from None
    return Network(tuple(nodes), shapes["input"], steps.dt, readout, provenance)


def _input_shape(part: Part) -> Shape:
    if part.shape is None:
        raise NeurosimError("it has no shape", hint="pass input_shape")
    return part.shape


def _fitted(part: Part, name: str, shape: Shape) -> np.ndarray:
    """A parameter as a scalar or in the shape of its population."""
    value = part.array(name)
    if value.size == 1:
        return value.reshape(())
    if value.ndim == len(shape) and all(n in (1, size) for n, size in zip(value.shape, shape, strict=True)):
        return np.broadcast_to(value, shape)
    raise NeurosimError(f"{name} has shape {value.shape}", allowed=f"{shape}, or one value")


def _time_constant(part: Part, name: str, shape: Shape, steps: Steps) -> np.ndarray:
    tau = _fitted(part, name, shape)
    try:
        steps.check(tau)
    except NeurosimError as error:
        raise NeurosimError(error.message, where=name, allowed=error.allowed, hint=error.hint) from None
    return tau


def _loop(part: Part, shape: Shape) -> dict[str, np.ndarray]:
    """`recurrent` weights and the `bias` that comes with them."""
    if not part.loops:
        return {}
    if len(shape) != 1:
        raise NeurosimError(f"weights lead from a population of shape {shape} back to itself", allowed="one axis")
    weights, biases = [], []
    for loop in part.loops:
        if loop.kind == "Scale":
            weights.append(np.diag(np.broadcast_to(_fitted(loop, "scale", shape), shape)))
            continue
        weights.append(_matrix(loop))
        if weights[-1].shape != 2 * shape:
            raise NeurosimError(f"weights back to itself have shape {weights[-1].shape}", allowed=f"{2 * shape}")
        if loop.kind == "Affine":
            biases.append(_fitted(loop, "bias", shape))
    found = {"recurrent": sum(weights[1:], start=weights[0])}
    if biases and ("bias" in part.notes or any(bias.any() for bias in biases)):
        found["bias"] = sum(biases[1:], start=biases[0])
    return found


def _bias(part: Part, steps: Steps, shape: Shape, tau: np.ndarray, gain: np.ndarray) -> dict[str, np.ndarray]:
    """v_leak as the constant input that drives as it does: ``gain bias = share v_leak``."""
    leak = _fitted(part, "v_leak", shape)
    if not leak.any() and "bias" not in part.notes:
        return {}
    drive, gain = np.broadcast_arrays(steps.share(tau) * leak, gain)
    if (drive[gain == 0] != 0).any():
        raise NeurosimError("v_leak is not 0 where r is", allowed="r other than 0, or v_leak 0")
    bias = np.divide(drive, gain.astype(np.float64), out=np.zeros(drive.shape), where=gain != 0)
    return {"bias": bias.astype(np.result_type(leak, gain))}


def _noted(part: Part, found: dict[str, object], shape: Shape) -> dict[str, object]:
    """In the dtype that neurosim noted, and as one number where it had one: how it is kept, not what it is."""
    for name, note in part.notes.items():
        value = found.get(name)
        if isinstance(value, (np.ndarray, np.generic)) and name != "recurrent" and isinstance(note, str):
            value = value.astype(np.float32 if note.startswith("float32") else np.float64)
            first = value.reshape(-1)[0]
            if not note.endswith("scalar"):
                value = np.broadcast_to(value, shape)
            elif np.allclose(value, first, rtol=8 * np.finfo(value.dtype).eps, atol=0):
                value = first
            found[name] = value
    return found


def _firing(part: Part, shape: Shape) -> dict[str, object]:
    """Threshold and reset. NIR resets at the spike, hence without delay."""
    found = {"threshold": _fitted(part, "v_threshold", shape), "reset": part.values.get("reset", "zero"),
             "reset_delay": False}
    if part.values.get("v_reset") is not None:
        found["v_reset"] = _fitted(part, "v_reset", shape)
    return found


def _plus(found: dict[str, np.ndarray], more: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both, their biases added."""
    bias = {"bias": found["bias"] + more["bias"]} if "bias" in found and "bias" in more else {}
    return {**found, **more, **bias}


def _leaky(part: Part, steps: Steps, shape: Shape) -> dict[str, object]:
    tau, r = _time_constant(part, "tau", shape, steps), _fitted(part, "r", shape)
    gain = steps.gain(r, tau)
    return {"beta": steps.beta(tau), "gain": gain, **_bias(part, steps, shape, tau, gain)}


def _lif(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    found = _plus(_leaky(part, steps, shape), _loop(part, shape))
    return [LIF(**_noted(part, {**found, **_firing(part, shape)}, shape))]


def _li(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    return [LeakyIntegrator(**_noted(part, _leaky(part, steps, shape), shape))]


def _if(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    found = {"beta": np.ones(()), "gain": steps.gain(_fitted(part, "r", shape), None), **_loop(part, shape)}
    return [LIF(**_noted(part, {**found, **_firing(part, shape)}, shape))]


def _i(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    found = {"beta": np.ones(()), "gain": steps.gain(_fitted(part, "r", shape), None)}
    return [LeakyIntegrator(**_noted(part, found, shape))]


def _cuba(part: Part, steps: Steps, shape: Shape) -> dict[str, object]:
    tau_syn = _time_constant(part, "tau_syn", shape, steps)
    return {"alpha": steps.beta(tau_syn), "gain_syn": steps.synaptic_gain(_fitted(part, "w_in", shape), tau_syn)}


def _cuba_lif(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    tau, leak = _time_constant(part, "tau_mem", shape, steps), _fitted(part, "v_leak", shape)
    found = {**_cuba(part, steps, shape), "beta": steps.beta(tau), "gain": steps.gain(_fitted(part, "r", shape), tau),
             **_loop(part, shape), **_firing(part, shape)}
    if leak.any() or "leak" in part.notes:
        found["leak"] = np.asarray(steps.share(tau) * leak, np.result_type(tau, leak))
    return [CubaLIF(**_noted(part, found, shape))]


def _cuba_li(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    synapse = _cuba(part, steps, shape)
    membrane = Part("LI", {**part.values, "tau": part.values["tau_mem"]})
    return [LeakyIntegrator(beta=synapse["alpha"], gain=synapse["gain_syn"]), *_li(membrane, steps, shape)]


def _threshold(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    return [LIF(beta=0.0, threshold=_fitted(part, "threshold", shape), reset="none", reset_delay=False)]


def _matrix(part: Part) -> np.ndarray:
    weight = part.array("weight")
    if weight.ndim != 2:
        raise NeurosimError(f"weight has shape {weight.shape}", allowed="[out, in]")
    return weight


def _linear(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    weight = _matrix(part)
    return [Linear(weight, part.array("bias").reshape(-1) if part.kind == "Affine" else None)]


def _pair(part: Part, name: str) -> tuple[int, int]:
    value = part.array(name)
    if value.size not in (1, 2) or (value != np.round(value)).any():
        raise NeurosimError(f"{name} is {value.tolist()}", allowed="an integer or a pair")
    return tuple(int(n) for n in np.broadcast_to(value.reshape(-1), 2))


def _conv(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    weight, stride, dilation = part.array("weight"), _pair(part, "stride"), _pair(part, "dilation")
    if int(part.array("groups")) != 1:
        raise NeurosimError(f"groups is {int(part.array('groups'))}", allowed="1")
    if weight.ndim != 4:
        raise NeurosimError(f"weight has shape {weight.shape}", allowed="[out, in, height, width]")
    padding = part.values["padding"]
    if isinstance(padding, (str, bytes)):
        word = padding.decode() if isinstance(padding, bytes) else padding
        if word == "same" and stride == (1, 1):
            total = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
            padding = tuple((n // 2, n - n // 2) for n in total)
        elif word == "valid":
            padding = 0
        else:
            raise NeurosimError(f"padding is {word!r} with stride {stride}", allowed="numbers, valid; same at stride 1")
    else:
        padding = _pair(part, "padding")
    bias = part.array("bias").reshape(-1) if part.values["bias"] is not None else np.zeros(1)
    has = bias.any() or "bias" in part.notes
    return [Conv2d(weight, bias if has else None, stride, padding, dilation)]


def _pool(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    return [AvgPool2d(_pair(part, "kernel_size"), _pair(part, "stride"), _pair(part, "padding"))]


def _flatten(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    start, end = (int(part.array(name)) for name in ("start_dim", "end_dim"))
    first = start if start >= 0 else start + len(shape)
    last = end if end >= 0 else end + len(shape)
    if len(shape) > 1 and (first, last) != (0, len(shape) - 1):
        hint = "its writer may have counted the batch: NIR has no batch axis, start_dim=0 is all of it"
        raise NeurosimError(f"flattens axes {start} to {end} of {shape}", allowed="all axes",
                            hint=hint if first == 1 else "")
    return [Flatten()]


def _scale(part: Part, steps: Steps, shape: Shape) -> list[Layer]:
    """A scale that nothing beside it could take: weights of its own, one for each value or channel."""
    scale = np.broadcast_to(_fitted(part, "scale", shape), shape)
    if len(shape) == 1:
        return [Linear(np.diag(scale))]
    channels = scale.reshape(shape[0], -1)
    if len(shape) != 3 or not (channels == channels[:, :1]).all():
        raise NeurosimError(f"scales single values of shape {shape}, and no layer beside it can do that",
                            allowed="one factor for each channel")
    return [Conv2d(np.diag(channels[:, 0])[:, :, None, None])]


_READERS: dict[str, Callable[[Part, Steps, Shape], list[Layer]]] = {
    "Affine": _linear, "Linear": _linear, "Scale": _scale, "Conv2d": _conv, "AvgPool2d": _pool, "Flatten": _flatten,
    "LIF": _lif, "LI": _li, "IF": _if, "I": _i, "CubaLIF": _cuba_lif, "CubaLI": _cuba_li, "Threshold": _threshold,
}
#: all kinds of nodes that are understood, here and in `nir_graph`
KNOWN = tuple(sorted({*_READERS, "Input", "NIRGraph", "Output", "SumPool2d"}))
