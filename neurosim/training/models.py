"""Networks to train, as torch modules: a small snnTorch network, and the LSNN of the published comparison.

Their contract with `trainer` is that of any module it takes: `forward(inputs)` with inputs `[time, batch, channel]`
returns output `[time, batch, class]`, which the readout turns into one number per class, or these numbers, `[batch,
class]`; or either with spikes `[time, batch, neuron]` of the hidden neurons, whose rate may be penalised. With a mask
`[batch, units]` each hidden neuron sends `spikes * mask`; its own reset, adaptation and refractory period follow its
spikes. Nothing here draws from torch's global generator.
"""

from __future__ import annotations

import math

import torch
from snntorch import Leaky, surrogate
from torch import nn

from neurosim.engine.learning_forward import SURROGATES, Neurons, Rule, State
from neurosim.engine.neurons import RESET_CODES
from neurosim.errors import NeurosimError, whole
from neurosim.network import AdaptiveLIF, Linear, Network
from neurosim.training.layers import with_mask
from neurosim.training.recurrence import recurrence


class SpikingMLP(nn.Module):
    """Linear, Leaky, Linear, Leaky: a plain snnTorch network; the class is the output neuron that fires most.

    Resets subtract the threshold 1; the surrogate derivative is snnTorch's arctangent. See `spiking_mlp`.
    """

    def __init__(self, inputs: int, hidden: int, classes: int, beta: float) -> None:
        super().__init__()
        self.units = hidden
        self.fc1 = nn.utils.skip_init(nn.Linear, inputs, hidden)
        self.lif1 = Leaky(beta=beta, spike_grad=surrogate.atan(), reset_mechanism="subtract")
        self.fc2 = nn.utils.skip_init(nn.Linear, hidden, classes)
        self.lif2 = Leaky(beta=beta, spike_grad=surrogate.atan(), reset_mechanism="subtract")

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        hidden, output = [], []
        for step in range(inputs.shape[0]):
            spikes, mem1 = self.lif1(self.fc1(inputs[step]), mem1)
            spikes = spikes if mask is None else spikes * mask
            hidden.append(spikes)
            spikes, mem2 = self.lif2(self.fc2(spikes), mem2)
            output.append(spikes)
        return torch.stack(output), torch.stack(hidden)


def spiking_mlp(inputs: int, classes: int, *, hidden: int = 64, beta: float = 0.9, seed: int = 0) -> SpikingMLP:
    """A small snnTorch network with weights drawn from `seed`.

    With 64 inputs and 64 hidden neurons no neuron has more than 64 synapses: it fits a DYNAP-SE2.

    Parameters
    ----------
    inputs, classes:
        Channels in, neurons out.
    hidden:
        Hidden neurons.
    beta:
        Decay of all membranes per step, 0 to 1.
    seed:
        Of the initial weights and biases: uniform within +-1/sqrt(fan-in), as `torch.nn.Linear` has them.
    """
    for name, count in {"inputs": inputs, "classes": classes, "hidden": hidden}.items():
        whole(name, count, "model")
    if not 0 <= beta <= 1:
        raise NeurosimError(f"beta is {beta!r}", where="spiking_mlp", allowed="0 to 1, per step")
    model = SpikingMLP(inputs, hidden, classes, beta)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (model.fc1, model.fc2):
            bound = 1 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
    return model


_LSNN = Rule(RESET_CODES["subtract"], attached=True, refractory=2, surrogate=SURROGATES["triangle"], slope=1.0,
             height=0.3, relative=True)


class LSNN(nn.Module):
    """Recurrent spiking network with adaptive thresholds, one layer, and a linear readout.

    ``b_t = rho_b b_{t-1} + (1 - rho_b) z_{t-1}``;  ``B_t = 0.01 + 2 b_t``;
    ``v_t = rho_v v_{t-1} + (1 - rho_v) (x_t W_in + z_{t-1} W_rec) - z_{t-1} B_t``;
    ``z_t = [r_{t-1} <= 0.1] [v_t > B_t]``;  ``r_t = clip(r_{t-1} + 2 z_t - 1, 0, 2)``;
    ``y_t = z_t W_out + b_out``

    with rho_v = exp(-1/20), rho_b = exp(-1/98); the class is the largest mean of y over time. Backwards the spike
    has ``dz/du = 0.3 max(0, 1 - |u|)``, ``u = (v - B) / B``. W_rec has no diagonal, and training keeps it so.
    Weights `[from, to]` start as normal numbers cut off at two sigma, times ``sqrt(2 / (inputs + units)) / 0.8796``
    (W_in), ``sqrt(1 / units) / 0.8796`` (W_rec), 0.01 (W_out); b_out starts at 0.

    Source: Bellec et al., NeurIPS 2018, with the numbers of Buechel, Faber and Muir, ICLR 2022.

    Parameters
    ----------
    inputs, classes, units:
        Channels in, classes out, recurrent neurons.
    seed:
        Of the initial weights.
    """

    rho_v, rho_b = math.exp(-1 / 20), math.exp(-1 / 98)
    limit, adaptation, refractory = 0.01, 2.0, 2

    def __init__(self, inputs: int, classes: int, *, units: int = 256, seed: int = 0) -> None:
        super().__init__()
        for name, count in {"inputs": inputs, "classes": classes, "units": units}.items():
            whole(name, count, "model")
        self.units = units
        generator = torch.Generator().manual_seed(seed)
        others = 1 - torch.eye(units)
        self.w_in = nn.Parameter(cut_normal((inputs, units), generator) * (math.sqrt(2 / (inputs + units)) / 0.8796))
        self.w_rec = nn.Parameter(cut_normal((units, units), generator) * (math.sqrt(1 / units) / 0.8796) * others)
        self.w_out = nn.Parameter(cut_normal((units, classes), generator) * 0.01)
        self.b_out = nn.Parameter(torch.zeros(classes))
        self.register_buffer("others", others)
        for name, value in (("beta", self.rho_v), ("beta_adaptation", self.rho_b), ("threshold", self.limit)):
            # a tensor of its own, because a chip gives each neuron another one
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64), persistent=False)

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Output `[time, batch, class]` and spikes `[time, batch, unit]` for inputs `[time, batch, channel]`.

        mask: `[unit]` or `[batch, unit]`, for dropout: 0, a neuron that is not heard (and so need not fire), or another
        number, the same for all, by which the spikes are multiplied that a neuron sends.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.w_in.shape[0]:
            raise NeurosimError(f"inputs have shape {list(inputs.shape)}", where="LSNN",
                                allowed=f"[time, batch, {self.w_in.shape[0]}]")
        units, batch = self.w_rec.shape[0], inputs.shape[1]
        w_rec, w_out = self.w_rec * self.others, self.w_out
        v, adapted, spent, resting = (self.w_in.new_zeros(batch, units) for _ in range(4))
        state = State(v, None, adapted, spent, resting)
        if mask is not None:
            resting, scale = with_mask(state, mask)
            state, w_rec, w_out = state._replace(resting=resting), w_rec * scale, w_out * scale
        beta, threshold, beta_adaptation = (value.to(self.w_in).expand(units).contiguous() for value in (
            self.beta, self.threshold, self.beta_adaptation))
        gain, adaptation = (self.w_in.new_full((units,), value) for value in (1 - self.rho_v, self.adaptation))
        neurons = Neurons(w_rec, None, None, None, beta, gain, None, threshold, beta_adaptation, adaptation, None)
        spikes, output, _ = recurrence(inputs, self.w_in, neurons, state, _LSNN, w_out)
        return output + self.b_out, spikes if mask is None else spikes * scale

    def to_network(self, dt: float) -> Network:
        """This network for deployment, with the weights it has now; scores are the sum over time, not the mean.

        dt is the time step of the inputs in seconds. The decays are per step, whatever dt is.
        """
        w_in, w_rec, w_out, b_out, beta, beta_adaptation, threshold = (p.detach().cpu().numpy() for p in (
            self.w_in, self.w_rec * self.others, self.w_out, self.b_out, self.beta, self.beta_adaptation,
            self.threshold))
        return Network.sequential(
            {"input_weights": Linear(w_in.T),
             "neurons": AdaptiveLIF(beta=beta, beta_adaptation=beta_adaptation, threshold=threshold,
                                    adaptation=self.adaptation, gain=1 - self.rho_v, recurrent=w_rec.T,
                                    refractory=self.refractory),
             "readout": Linear(w_out.T, b_out)},
            input_shape=(w_in.shape[0],), dt=dt, readout="sum")


def cut_normal(shape: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Standard normal numbers within +-2, by the inverse of the distribution function."""
    edge = math.erf(2 / math.sqrt(2))
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (math.sqrt(2) * torch.erfinv((2 * uniform - 1) * edge)).float()
