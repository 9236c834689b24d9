"""The residual network of the PCM experiment, and its images: CIFAR-10 if its files are given, else Fashion-MNIST."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from neurosim.errors import NeurosimError
from neurosim.tasks import Split, Task, load_task

_CIFAR = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
_RECORD = 3073  # a label, and 3 x 32 x 32 pixels


class Block(nn.Module):
    """Two normalised 3x3 convolutions, and the way around them: a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.utils.skip_init(nn.Conv2d, channels, out, 3, stride, 1, bias=False)
        self.norm1, self.relu1 = nn.BatchNorm2d(out), nn.ReLU()
        self.conv2 = nn.utils.skip_init(nn.Conv2d, out, out, 3, 1, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(out), nn.ReLU()
        self.around = nn.Sequential() if stride == 1 and channels == out else nn.Sequential(OrderedDict(
            conv=nn.utils.skip_init(nn.Conv2d, channels, out, 1, stride, bias=False), norm=nn.BatchNorm2d(out)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(y + self.around(x))


class ResNet(nn.Module):
    """Three stages of `blocks` blocks with 16, 32 and 64 channels, as He et al. (CVPR 2016) built for CIFAR-10.

    5 blocks are ResNet-32. Images `[time, batch, channel, height, width]`, one time step each. Weights start as He et
    al. (ICCV 2015) have them, drawn from `seed`.
    """

    def __init__(self, channels: int, classes: int, *, blocks: int = 5, width: int = 16, seed: int = 0) -> None:
        super().__init__()
        stages = [("conv", nn.utils.skip_init(nn.Conv2d, channels, width, 3, 1, 1, bias=False)),
                  ("norm", nn.BatchNorm2d(width)), ("relu", nn.ReLU())]
        before = width
        for stage in range(3):
            for number in range(blocks):
                out = width << stage
                stages.append((f"block{stage}_{number}", Block(before, out, 2 if stage and not number else 1)))
                before = out
        self.layers = nn.Sequential(OrderedDict([*stages, ("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()),
                                                 ("fc", nn.utils.skip_init(nn.Linear, before, classes))]))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, (nn.Conv2d, nn.Linear)):
                    fan = module.weight[0].numel()
                    module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * math.sqrt(2 / fan))
                    if module.bias is not None:
                        module.bias.zero_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.ndim == 4:
            return self.layers(inputs)
        return self.layers(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])


def images(cifar: Path | None) -> Task:
    """CIFAR-10 from its binary files, standardised per channel, a tenth of the training images for validation; or
    Fashion-MNIST."""
    if cifar is None:
        return load_task("fmnist")
    parts = []
    for name in _CIFAR:
        try:
            raw = np.frombuffer((cifar / name).read_bytes(), np.uint8)
        except OSError:
            raise NeurosimError("there is no such file", where=str(cifar / name),
                                hint="unpack cifar-10-binary.tar.gz and give its folder with --cifar") from None
        if raw.size % _RECORD:
            raise NeurosimError(f"{raw.size} bytes", where=str(cifar / name), allowed=f"records of {_RECORD} bytes")
        parts.append(raw.reshape(-1, _RECORD))
    train, test = np.concatenate(parts[:-1]), parts[-1]
    pixels = train[:, 1:].reshape(len(train), 3, -1) / 255
    mean, sd = pixels.mean((0, 2)), pixels.std((0, 2))

    def split(records: np.ndarray) -> Split:
        scaled = (records[:, 1:].reshape(-1, 3, 32, 32) / 255 - mean[:, None, None]) / sd[:, None, None]
        return Split(scaled[None].astype(np.float32), records[:, 0].astype(np.int64))

    order = np.random.default_rng(0).permutation(len(train))
    held = len(train) // 10
    return Task("cifar10", split(train[order[held:]]), split(train[order[:held]]), split(test),
                ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), 1e-3,
                "A. Krizhevsky, Learning multiple layers of features from tiny images, 2009",
                {"files": hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()})
