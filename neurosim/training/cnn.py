"""The convolutional network of the published comparison on Fashion-MNIST: no spikes, one time step."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.training.models import cut_normal

STATISTICS = ("fixed", "batch")


class CNN(nn.Module):
    """Two convolutions and three dense layers over images `[time, batch, 1, 28, 28]`; each step is an image of its own.

    normalised input, conv 4x4 64, max pool 2, ReLU, conv 4x4 64, max pool 2, ReLU, dense 256, ReLU, dense 64, ReLU,
    normalised features, dense `classes`. The first convolution has two zeros around the image on each side; the pool
    behind it leaves the 29th row and column out. (A ReLU before the pool gives the same numbers and takes longer, as
    does memory in which the channels do not lie side by side.)
    Weights start as normal numbers cut off at two sigma, times ``sqrt(6/512)`` (convolutions) or
    ``sqrt(6 / (in + out))`` (dense); biases start at 0.

    Source: Buechel, Faber and Muir, ICLR 2022. There the first convolution has one bias for all its channels.

    Parameters
    ----------
    inputs, classes:
        784 pixels in, classes out.
    statistics:
        "batch": both normalisations take mean and variance of the batch at hand, in testing, too, as published: under
        parameter noise this calibrates the last hidden layer anew, and a result depends on who else is in the batch. No
        chip does that, so that such a network cannot be deployed. "fixed": the features have running statistics, which
        stay digital on the chip; the input is taken as it is: the task gives it standardised.
    seed:
        Of the initial weights.
    """

    def __init__(self, inputs: int = 784, classes: int = 10, *, statistics: str = "fixed", seed: int = 0) -> None:
        super().__init__()
        if inputs != 784:
            raise NeurosimError(f"inputs is {inputs}", where="model cnn", allowed="784: images of 28 x 28")
        if statistics not in STATISTICS:
            raise NeurosimError(f"statistics is {statistics!r}", where="model cnn", allowed=", ".join(STATISTICS))
        running = statistics == "fixed"
        norm = [] if running else [("norm_in", nn.BatchNorm2d(1, affine=False, track_running_stats=False))]
        self.layers = nn.Sequential(OrderedDict([
            *norm, ("conv1", nn.utils.skip_init(nn.Conv2d, 1, 64, 4, padding=2)), ("pool1", nn.MaxPool2d(2)),
            ("relu1", nn.ReLU()), ("conv2", nn.utils.skip_init(nn.Conv2d, 64, 64, 4)), ("pool2", nn.MaxPool2d(2)),
            ("relu2", nn.ReLU()), ("flat", nn.Flatten()),
            ("fc1", nn.utils.skip_init(nn.Linear, 1600, 256)), ("relu3", nn.ReLU()),
            ("fc2", nn.utils.skip_init(nn.Linear, 256, 64)), ("relu4", nn.ReLU()),
            ("norm", nn.BatchNorm1d(64, affine=False, track_running_stats=running)),
            ("fc3", nn.utils.skip_init(nn.Linear, 64, classes))]))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    fans = 512 if isinstance(layer, nn.Conv2d) else sum(layer.weight.shape)
                    layer.weight.copy_(cut_normal(tuple(layer.weight.shape), generator) * math.sqrt(6 / fans))
                    layer.bias.zero_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        images = inputs if inputs.ndim == 4 else inputs.flatten(0, 1)  # one step where somebody else keeps time
        found = self.layers(images.to(memory_format=torch.channels_last))
        return found if inputs.ndim == 4 else found.unflatten(0, inputs.shape[:2])
