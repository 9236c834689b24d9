"""Many dies: chunks on threads, results, resume. Never imports torch.

`deploy` runs a mapped network on dies; a `Run` is what comes out, an xarray Dataset underneath.
"""

from neurosim.deployment.dispatch import deploy
from neurosim.deployment.examination import Examination, examine, load_examination
from neurosim.deployment.guided import guided
from neurosim.deployment.run import Run, load_run
from neurosim.deployment.search import Pareto, load_pareto, pareto
from neurosim.deployment.summary import Statistic, summarise
from neurosim.deployment.sweep import Range, parse_range, settings
from neurosim.dies import find_ranges

__all__ = [
    "Examination", "Pareto", "Range", "Run", "Statistic", "deploy", "examine", "find_ranges", "guided",
    "load_examination", "load_pareto", "load_run", "pareto", "parse_range", "settings", "summarise",
]
