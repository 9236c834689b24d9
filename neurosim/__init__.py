"""neurosim: train once for a neuromorphic chip type, know how every die of it will do.

The names below are loaded when first used, so that `import neurosim` stays quick and without torch.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

__version__ = "0.1.0"
logging.getLogger("neurosim").addHandler(logging.NullHandler())

_WHERE = {
    **dict.fromkeys(("GRU", "LIF", "LSTM", "RNN", "AdaptiveLIF", "AvgPool2d", "BatchNorm", "Conv2d", "CubaLIF",
                     "DPINeuron", "Flatten", "LeakyIntegrator", "Linear", "MaxPool2d", "Network", "ReLU", "Sigmoid",
                     "Sum", "Tanh"), "neurosim.network"),
    **dict.fromkeys(("Profile", "load_profile", "profile_names"), "neurosim.profile"),
    "map_network": "neurosim.mapping",
    "Dies": "neurosim.dies",
    **dict.fromkeys(("Run", "deploy", "load_run"), "neurosim.deployment"),
    "load_task": "neurosim.tasks",
    "as_neurobench_model": "neurosim.energy.neurobench",
    "write_report": "neurosim.report",
    "NeurosimError": "neurosim.errors",
}
__all__ = [
    "GRU", "LIF", "LSTM", "RNN", "AdaptiveLIF", "AvgPool2d", "BatchNorm", "Conv2d", "CubaLIF", "DPINeuron", "Dies",
    "Flatten", "LeakyIntegrator", "Linear", "MaxPool2d", "Network", "NeurosimError", "Profile", "ReLU", "Run",
    "Sigmoid", "Sum", "Tanh", "__version__", "as_neurobench_model", "deploy",
    "load_profile", "load_run", "load_task", "map_network", "profile_names", "write_report",
]

if TYPE_CHECKING:
    from neurosim.deployment import Run, deploy, load_run
    from neurosim.dies import Dies
    from neurosim.energy.neurobench import as_neurobench_model
    from neurosim.errors import NeurosimError
    from neurosim.mapping import map_network
    from neurosim.network import (
        GRU,
        LIF,
        LSTM,
        RNN,
        AdaptiveLIF,
        AvgPool2d,
        BatchNorm,
        Conv2d,
        CubaLIF,
        DPINeuron,
        Flatten,
        LeakyIntegrator,
        Linear,
        MaxPool2d,
        Network,
        ReLU,
        Sigmoid,
        Sum,
        Tanh,
    )
    from neurosim.profile import Profile, load_profile, profile_names
    from neurosim.report import write_report
    from neurosim.tasks import load_task


def __getattr__(name: str) -> object:
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'neurosim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
