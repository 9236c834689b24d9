"""One torch or snnTorch module -> one neurosim layer: parameters read out of the module, settings checked.

How modules are connected never enters here (`torch_trace`). snnTorch itself is not imported: its neurons are known by
their class, so that a plain torch net needs no snnTorch. What each neuron does was read off snnTorch 1.0 by running it:

==========  ========  ===================================  ==========================================
snnTorch    neurosim  reset "zero"                         recurrence
==========  ========  ===================================  ==========================================
Leaky       LIF       "zero": the step's input is kept     none
RLeaky      LIF       "hold": the step's input is lost     spikes of the last step through `recurrent`
Synaptic    CubaLIF   "hold"                               none
RSynaptic   CubaLIF   "hold"; always with reset delay      as RLeaky
==========  ========  ===================================  ==========================================
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.network.layers import (
    LIF,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    CubaLIF,
    Layer,
    LeakyIntegrator,
    Linear,
    MaxPool2d,
    Population,
    ReLU,
    Shape,
    Sigmoid,
    Tanh,
)

#: the states of each supported neuron, in the order of its arguments and results
STATES = {"Leaky": ("mem",), "Synaptic": ("syn", "mem"), "RLeaky": ("spk", "mem"), "RSynaptic": ("spk", "syn", "mem")}
_LAYERS = (nn.Linear, nn.Conv2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.MaxPool2d, nn.ReLU, nn.Tanh, nn.Sigmoid,
           nn.BatchNorm1d, nn.BatchNorm2d)
SEQUENCES = (nn.RNN, nn.GRU, nn.LSTM)
CELLS = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
SOFTMAX = (nn.Softmax, nn.LogSoftmax)
#: where one number comes of one number, at any step
ELEMENTWISE = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
#: dimensions, with the batch, of what a layer takes where there is no time
RANKS = {nn.Linear: 2, nn.BatchNorm1d: 2, nn.Conv2d: 4, nn.AvgPool2d: 4, nn.AdaptiveAvgPool2d: 4, nn.MaxPool2d: 4,
         nn.BatchNorm2d: 4}
_VIEWS = (nn.Flatten, nn.Unflatten)
_PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_RESETS = {"_base_sub": "subtract", "_base_zero": "zero", "_base_int": "none"}


def kind(module: nn.Module) -> str:
    """How the tracer treats a module.

    `"neuron"`, `"sequence"` (an LSTM: all steps at once), `"cell"` (an LSTMCell: one step), `"layer"`, `"view"`,
    `"softmax"`, `"same"` (gives its input on) are leaves that are understood, `"foreign"` is a leaf that is not;
    `"container"` is somebody's own module, whose forward is followed operation by operation.
    """
    if _is_neuron(module):
        return "neuron"
    for name, classes in (("layer", _LAYERS), ("view", _VIEWS), ("same", _PASSING), ("sequence", SEQUENCES),
                          ("cell", CELLS), ("softmax", SOFTMAX)):
        if any(isinstance(module, cls) and type(module).forward is cls.forward for cls in classes):
            return "foreign" if name == "same" and module.training else name
    if type(module).__module__.split(".")[0] == "torch" and type(module) not in _CONTAINERS:
        return "foreign"
    return "container"


def _is_neuron(module: nn.Module) -> bool:
    return any(cls.__module__.split(".")[0] == "snntorch" for cls in type(module).__mro__)


def neuron_type(module: nn.Module) -> str:
    """`"Leaky"`, ...: the snnTorch class whose dynamics the module has; refused where that is none of `STATES`."""
    for cls in type(module).__mro__:
        if cls.__module__.split(".")[0] == "snntorch":
            break
        changed = [name for name in vars(cls) if not name.startswith("__") and hasattr(cls.__base__, name)]
        if changed:
            raise NeurosimError(f"{cls.__name__} changes {', '.join(changed)} of its snnTorch base class",
                                allowed="neurons of snnTorch itself: " + ", ".join(STATES))
    if cls.__name__ not in STATES:
        raise NeurosimError(f"the neuron {cls.__name__} is not supported", allowed=", ".join(STATES))
    return cls.__name__


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """As a numpy array: float32 where that loses nothing, else float64."""
    array = tensor.detach().cpu().numpy().astype(np.float64)
    narrow = array.astype(np.float32)
    return narrow if (narrow == array).all() else array


def _per_neuron(tensor: torch.Tensor, shape: Shape, what: str) -> np.ndarray:
    """A neuron parameter as torch broadcasts it over `[batch, *shape]`: a scalar, or of the population's shape."""
    array = numbers(tensor)
    if array.size == 1:
        return array.reshape(())
    if array.ndim > len(shape) and set(array.shape[: array.ndim - len(shape)]) == {1}:
        array = array.reshape(array.shape[array.ndim - len(shape):])
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise NeurosimError(f"{what} has shape {list(array.shape)}", allowed=f"one value, or {list(shape)}") from None


def population(module: nn.Module, shape: Shape, feedback: nn.Linear | None = None) -> Population:
    """The population that an snnTorch neuron stands for.

    shape: of the neurons, without batch. feedback: a Linear of the user's own through which the neuron's last spikes
    come back to it.
    """
    base = neuron_type(module)
    _refuse_settings(module)
    reset = _reset(module)
    if reset == "zero" and base != "Leaky":
        reset = "hold"
    values = {"beta": _per_neuron(module.beta.clamp(0, 1), shape, "beta"),
              "threshold": _per_neuron(module.threshold, shape, "threshold"),
              "reset": reset, "reset_delay": base == "RSynaptic" or bool(getattr(module, "reset_delay", True))}
    if base.startswith("R"):
        if feedback is not None:
            raise NeurosimError(f"a {base} gets its own spikes back through one more Linear", allowed="one recurrence")
        values |= _recurrence(module.recurrent, shape)
    elif feedback is not None:
        values |= _recurrence(feedback, shape)
    if base in ("Synaptic", "RSynaptic"):
        return CubaLIF(alpha=_per_neuron(module.alpha.clamp(0, 1), shape, "alpha"), **values)
    return LIF(**values)


def integrator(module: nn.Module, shape: Shape) -> LeakyIntegrator:
    """The membrane of a Leaky without reset, as a readout."""
    base = neuron_type(module)
    _refuse_settings(module)
    if base != "Leaky" or _reset(module) != "none":
        raise NeurosimError(f"the membrane of a {base} with reset {_reset(module)!r} is the readout",
                            allowed="the membrane of a Leaky with reset_mechanism='none', or spikes",
                            hint="let the module return spikes, or train the readout with reset_mechanism='none'")
    return LeakyIntegrator(beta=_per_neuron(module.beta.clamp(0, 1), shape, "beta"))


def _reset(module: nn.Module) -> str:
    """The reset that the neuron performs: fixed when it was built, whatever was assigned later."""
    does = _RESETS[module.state_function.__func__.__name__]
    says = ("subtract", "zero", "none")[int(module.reset_mechanism_val)]
    if does != says:
        raise NeurosimError(f"it was built with reset {does!r} and says {says!r} now", allowed="one reset",
                            hint="snnTorch goes on with the first; build the neuron with the reset it shall have")
    return does


def _refuse_settings(module: nn.Module) -> None:
    if module.inhibition:
        raise NeurosimError("inhibition=True: only the strongest neuron of the layer may fire", allowed="False")
    if module.state_quant:
        raise NeurosimError("state_quant is set: the state is rounded in each step", allowed="False",
                            hint="a chip's own precision comes with its profile")
    if not bool((module.graded_spikes_factor == 1).all()):
        raise NeurosimError("graded_spikes_factor is not 1", allowed="1",
                            hint="multiply the weights that the spikes meet by the factor instead")
    probe = torch.cat([torch.linspace(-3, 3, 601, dtype=torch.float64),
                       torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64)])
    with torch.no_grad():
        spikes = module.spike_grad(probe)
    if not torch.equal(spikes.to(torch.float64), (probe > 0).to(torch.float64)):
        raise NeurosimError("its spike_grad does not give 1 above the threshold and 0 elsewhere",
                            allowed="a surrogate whose forward is a step")


def _recurrence(through: nn.Module, shape: Shape) -> dict[str, np.ndarray]:
    if len(shape) != 1:
        raise NeurosimError(f"recurrence over neurons of shape {list(shape)}", allowed="over one axis of neurons",
                            hint="recurrence by convolution is not supported")
    if isinstance(through, nn.Linear) and type(through).forward is nn.Linear.forward:
        if through.weight.shape != (shape[0], shape[0]):
            raise NeurosimError(f"the recurrent weight has shape {list(through.weight.shape)}",
                                allowed=f"[{shape[0]}, {shape[0]}]")
        bias = {} if through.bias is None else {"bias": numbers(through.bias)}
        return {"recurrent": numbers(through.weight), **bias}
    if type(through).__name__ == "RecurrentOneToOne":
        return {"recurrent": np.diag(np.broadcast_to(_per_neuron(through.V, shape, "V"), shape))}
    raise NeurosimError(f"the recurrence is a {type(through).__name__}", allowed="Linear, or one-to-one V")


def layer(module: nn.Module, shape: Shape) -> Layer:
    """The layer without state that a torch module stands for; `shape` of its input, without batch."""
    if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
        return _norm(module)
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        bias = None if module.bias is None else numbers(module.bias)
        if isinstance(module, nn.Linear):
            return Linear(numbers(module.weight), bias)
        return Conv2d(numbers(_dense_kernel(module)), bias, module.stride, _conv_padding(module), module.dilation)
    for kind_of, made in ((nn.ReLU, ReLU), (nn.Tanh, Tanh), (nn.Sigmoid, Sigmoid)):
        if isinstance(module, kind_of):
            return made()
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return _adaptive_pool(module, shape)
    if module.ceil_mode:
        raise NeurosimError("ceil_mode=True", allowed="False")
    if isinstance(module, nn.AvgPool2d):
        if module.divisor_override is not None:
            raise NeurosimError(f"divisor_override is {module.divisor_override}", allowed="None")
        if not module.count_include_pad and np.any(module.padding):
            raise NeurosimError("count_include_pad=False with padding", allowed="True")
        return AvgPool2d(module.kernel_size, module.stride, module.padding)
    if module.return_indices or np.any(np.asarray(module.dilation) != 1):
        raise NeurosimError(f"return_indices is {module.return_indices}, dilation {module.dilation}",
                            allowed="False and 1")
    return MaxPool2d(module.kernel_size, module.stride, module.padding)


def _dense_kernel(module: nn.Conv2d) -> torch.Tensor:
    """The kernel over all input channels; with groups, zeros where an output channel does not look."""
    if module.groups == 1:
        return module.weight
    out, per_group = module.weight.shape[:2]
    dense = torch.zeros(out, module.in_channels, *module.weight.shape[2:], dtype=module.weight.dtype)
    for channel in range(out):
        start = channel // (out // module.groups) * per_group
        dense[channel, start: start + per_group] = module.weight.detach()[channel]
    return dense


def _conv_padding(module: nn.Conv2d) -> tuple[tuple[int, int], tuple[int, int]]:
    if module.padding == "valid":
        pairs = ((0, 0), (0, 0))
    elif module.padding == "same":  # the odd row or column is added below and to the right
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        pairs = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pairs = tuple((p, p) for p in module.padding)
    if np.any(pairs) and module.padding_mode != "zeros":
        raise NeurosimError(f"padding_mode is {module.padding_mode!r}", allowed="'zeros'")
    return pairs


def _norm(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> BatchNorm:
    if norm.running_mean is None:
        raise NeurosimError("track_running_stats=False: it takes the statistics of each batch", allowed="True")
    size = norm.running_mean.shape
    scale = torch.ones(size) if norm.weight is None else norm.weight
    shift = torch.zeros(size) if norm.bias is None else norm.bias
    return BatchNorm(numbers(norm.running_mean), numbers(norm.running_var), numbers(scale), numbers(shift), norm.eps)


def _adaptive_pool(module: nn.AdaptiveAvgPool2d, shape: Shape) -> AvgPool2d:
    """Windows of one size, where the output size divides the input's."""
    if len(shape) != 3:
        raise NeurosimError(f"AdaptiveAvgPool2d takes [channel, height, width], gets shape {shape}")
    size = module.output_size if isinstance(module.output_size, tuple) else (module.output_size,) * 2
    size = tuple(n if want is None else want for n, want in zip(shape[1:], size, strict=True))
    if any(n % want for n, want in zip(shape[1:], size, strict=True)):
        raise NeurosimError(f"it makes {list(size)} of {list(shape[1:])}: windows of different sizes",
                            allowed="an output size that divides the input's")
    return AvgPool2d(tuple(n // want for n, want in zip(shape[1:], size, strict=True)))


def module_for(name: str, args: tuple, kwargs: dict) -> nn.Module:
    """The module that does what a call of relu, tanh, max_pool2d, linear ... does; `args` without the input."""
    if name.rstrip("_") in ELEMENTWISE:
        return ELEMENTWISE[name.rstrip("_")]()
    kwargs = {key: value for key, value in kwargs.items() if key != "input"}
    if name == "max_pool2d":
        return nn.MaxPool2d(*args, **kwargs)
    if name == "avg_pool2d":
        return nn.AvgPool2d(*args, **kwargs)
    if name == "adaptive_avg_pool2d":
        return nn.AdaptiveAvgPool2d(*args, **kwargs)
    weight, bias = [*args, *[kwargs.get(key) for key in ("weight", "bias")[len(args):]]]
    made = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0], bias is not None, dtype=weight.dtype)
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return made


def equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules from `module_for` do the same."""
    if type(a) is not type(b) or repr(a) != repr(b):
        return False
    return all(torch.equal(v, w) for v, w in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
