"""What is to be learnt on one batch, as functions of the devices of a chip instead of a module's parameters.

So every recipe works in device space: its noise and its attack move conductances, thresholds and time constants, in
units of what the profile says that each of them spreads. Noise of size 1 is the chip type's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch

from neurosim.training.deviations import Parameters
from neurosim.training.objective import Objective, logits_of, output_of

if TYPE_CHECKING:
    from neurosim.training.on_chip import OnChip, Placement


@dataclass(frozen=True, eq=False)
class ChipObjective(Objective):
    """One batch for one `OnChip`; see `Objective`.

    parameters are the devices on the dies of this step, `layer/parameter`, with the number of the die in front where
    there are several ("3:fc1/weight"): nominal ones, or those of sampled dies. `untouched` are patterns of arrays.

    Parameters
    ----------
    placements:
        Of this step; made unless they are given.
    """

    model: OnChip
    placements: Sequence[Placement] = field(default=())

    def __post_init__(self) -> None:
        if not self.placements:
            object.__setattr__(self, "placements", tuple(self.model.placements(self.inputs)))
        named = self._named()
        object.__setattr__(self, "parameters", {
            name: _variable(placement.devices[array]) for name, (placement, array) in named.items()})
        object.__setattr__(self, "reach", {
            name: placement.reach[array] for name, (placement, array) in named.items() if array in placement.reach
            and not any(fnmatchcase(array, pattern) for pattern in self.untouched)})

    def _named(self) -> dict[str, tuple[Placement, str]]:
        several = len(self.placements) > 1
        return {f"{number}:{array}" if several else array: (placement, array)
                for number, placement in enumerate(self.placements) for array in placement.parts}

    def logits(self, parameters: Parameters) -> torch.Tensor:
        """Logits `[batch, class]` of devices; of the running average of the module's parameters, on nominal devices."""
        if parameters is self.average:
            placement = self.model.place(None, parameters)
            return logits_of(output_of(self.model.run(placement, placement.devices, self.inputs)), self.readout)
        return super().logits(parameters)

    def result(self, parameters: Parameters, **options: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        devices: list[dict[str, torch.Tensor]] = [{} for _ in self.placements]
        others = dict(parameters)
        for name, (placement, array) in self._named().items():
            devices[self.placements.index(placement)][array] = others.pop(name)
        dies = [(placement.with_tensors(others), there)
                for placement, there in zip(self.placements, devices, strict=True)]
        return self.model.over_dies(dies, self.inputs, **options)


def _variable(devices: torch.Tensor) -> torch.Tensor:
    """Devices that a recipe may ask the gradient of, whether the module trains them or not."""
    return devices if devices.requires_grad else devices.detach().requires_grad_()
