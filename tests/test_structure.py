"""How the package is built: who may import whom, what each file must have, what no file may do.

The checks read the source; a check is a function from source text to a list of faults, and each is itself shown a
source that it must refuse.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import neurosim

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "neurosim"
LONGEST_FILE = 450

# One direction: each may import only those before it.
ORDER = ("errors", "writing", "engine", "streams", "profile", "network", "devices", "mapping", "dies", "energy",
         "training", "deployment", "tasks", "report", "cli")
# Beyond the order: what a package leaves to others. `neurosim` stands for all of ours but the package itself.
NEVER = {
    "engine": ("neurosim", "torch"),
    "training": ("neurosim.tasks",),
    "deployment": ("torch", "snntorch", "neurosim.training"),
    "tasks": ("torch", "snntorch", "neurosim.training"),
}
SEEDED = {"default_rng", "Generator", "SeedSequence", "BitGenerator", "PCG64", "Philox"}
GLOBAL_SEEDS = {"torch.manual_seed", "torch.seed", "torch.random.manual_seed", "torch.random.seed",
                "torch.cuda.manual_seed", "torch.cuda.manual_seed_all"}
HEAVY = {"torch", "numba", "xarray", "numpy", "scipy", "pydantic", "snntorch", "matplotlib", "sklearn"}


def sources() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = sources()


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, functions' bodies too, without those that only a type checker sees."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
        children: list[ast.AST] = list(tree.orelse)
    else:
        children = list(ast.iter_child_nodes(tree))
    yield tree
    for child in children:
        yield from nodes(child)


def imports(module: str, source: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of what a module imports: `from neurosim import engine` is `neurosim.engine`."""
    for node in nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[:len(base) - node.level + is_package] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from ((node.lineno, value.value) for value in node.args[:1]
                        if isinstance(value, ast.Constant) and isinstance(value.value, str))


def import_faults(module: str, source: str, is_package: bool = False) -> list[str]:
    """Imports against the one direction, or of what the package leaves to others."""
    own = module.split(".")[1]
    if own not in ORDER:
        return [f"{module}: {own} has no place in the import order of {Path(__file__).name}"]
    faults = []
    for line, name in imports(module, source, is_package):
        where, parts = f"{module}:{line}", name.split(".")
        ours = parts[0] == "neurosim"
        if ours and (len(parts) == 1 or (parts[1] not in ORDER and parts[1] != "__version__")):
            faults.append(f"{where}: imports {name} from the top; import it from its own package")
        elif ours and parts[1] in ORDER and ORDER.index(parts[1]) > ORDER.index(own):
            faults.append(f"{where}: {own} imports {parts[1]}, which stands after it")
        elif not (ours and parts[1] == own) and any(f"{name}.".startswith(f"{never}.") for never in NEVER.get(own, ())):
            faults.append(f"{where}: {own} never imports {name}")
    return faults


def known_as(tree: ast.AST) -> dict[str, str]:
    """What the imported names of a source stand for: {"np": "numpy"}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else
                          alias.name.split(".")[0] for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def full_name(node: ast.AST, names: dict[str, str]) -> str:
    """`numpy.random.seed` for the expression np.random.seed; empty for what is not an imported name."""
    if isinstance(node, ast.Attribute):
        head = full_name(node.value, names)
        return f"{head}.{node.attr}" if head else ""
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""


def random_faults(module: str, source: str) -> list[str]:
    """Uses of a random state that all share: numpy's, torch's outside fork_rng, the standard library's."""
    tree = ast.parse(source)
    names = known_as(tree)
    faults = [f"{module}: imports {name}; draw from neurosim.streams or a seeded Generator"
              for name in names.values() if name == "random" or name.startswith("random.")
              or (name.startswith("numpy.random.") and name.split(".")[2] not in SEEDED)]

    def visit(node: ast.AST, forked: bool) -> None:
        name = full_name(node, names) if isinstance(node, (ast.Attribute, ast.Name)) else ""
        if isinstance(node, ast.Attribute) and name.startswith("numpy.random.") and name.split(".")[2] not in SEEDED:
            faults.append(f"{module}:{node.lineno}: {name} is global; use numpy.random.default_rng(seed)")
        if name in GLOBAL_SEEDS and not forked:
            faults.append(f"{module}:{node.lineno}: {name} is global; use a torch.Generator, or torch.random.fork_rng")
        if isinstance(node, (ast.With, ast.AsyncWith)):
            forked = forked or any(isinstance(item.context_expr, ast.Call)
                                   and ast.unparse(item.context_expr.func).split(".")[-1] == "fork_rng"
                                   for item in node.items)
        for child in ast.iter_child_nodes(node):
            visit(child, forked)

    visit(tree, False)
    return faults


def file_faults(module: str, source: str) -> list[str]:
    """A module without a docstring, or too long to fit in the head."""
    lines = len(source.splitlines())
    faults = [] if ast.get_docstring(ast.parse(source)) else [f"{module}: no docstring that says what it is for"]
    return faults + ([f"{module}: {lines} lines, at most {LONGEST_FILE}"] if lines > LONGEST_FILE else [])


def holds_code(source: str) -> bool:
    """Is there more than a docstring?"""
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
               for node in ast.parse(source).body)


def has_docstring(thing: object) -> bool:
    """A docstring of its own: not inherited, not the signature that a dataclass makes up."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)
    return bool(text and text.strip()) and not text.startswith(f"{getattr(thing, '__name__', '')}(")


def import_cost(statement: str) -> tuple[float, set[str]]:
    """Seconds that a statement takes in a fresh process, and the top-level modules that it loads."""
    code = ("import json, sys, time\nbefore, begin = set(sys.modules), time.perf_counter()\n"
            f"{statement}\nseconds = time.perf_counter() - begin\n"
            "print(json.dumps([seconds, sorted(set(sys.modules) - before)]))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=True)
    seconds, modules = json.loads(done.stdout.splitlines()[-1])
    return seconds, {name.split(".")[0] for name in modules}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "neurosim"])
def test_imports_go_one_way(module: str) -> None:
    path = MODULES[module]
    assert import_faults(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize("module", MODULES)
def test_no_shared_random_state(module: str) -> None:
    assert random_faults(module, MODULES[module].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("module", MODULES)
def test_every_file_says_what_it_is_for_and_is_short(module: str) -> None:
    assert file_faults(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_no_package_is_empty() -> None:
    folders = [path.parent for path in MODULES.values() if path.name == "__init__.py"]
    empty = [folder.name for folder in folders
             if not any(holds_code(path.read_text(encoding="utf-8")) for path in folder.rglob("*.py"))]
    assert empty == []
    assert not [folder.name for folder in PACKAGE.iterdir()
                if folder.is_dir() and any(folder.glob("*.py")) and folder not in folders]


@pytest.mark.parametrize("name", [name for name in neurosim.__all__ if name != "__version__"])
def test_public_names_are_there_and_described(name: str) -> None:
    assert has_docstring(getattr(neurosim, name))


def test_import_is_quick_and_light() -> None:
    # The least of five: other work on the machine can only add to it.
    costs = [import_cost("import neurosim") for _ in range(5)]
    assert min(seconds for seconds, _ in costs) < 0.5
    assert "neurosim" in costs[0][1]
    assert costs[0][1] & HEAVY == set()


@pytest.mark.parametrize("package", ["deployment", "tasks", "report", "cli"])
def test_torch_stays_out(package: str) -> None:
    _, modules = import_cost(f"import neurosim.{package}")
    assert "neurosim" in modules
    assert "torch" not in modules


# The checks themselves, each shown what it must refuse.

@pytest.mark.parametrize(("module", "source", "fault"), [
    ("neurosim.network.x", "from neurosim.mapping import map_network", "stands after it"),
    ("neurosim.network.x", "def f():\n    import neurosim.report.page", "stands after it"),
    ("neurosim.network.x", "if True:\n    from ..dies import Dies", "stands after it"),
    ("neurosim.network.x", "from neurosim import dies", "stands after it"),
    ("neurosim.network.x", "import importlib\nimportlib.import_module('neurosim.cli')", "stands after it"),
    ("neurosim.network.x", "if TYPE_CHECKING:\n    pass\nelse:\n    import neurosim.cli", "stands after it"),
    ("neurosim.network.x", "from neurosim import deploy", "from the top"),
    ("neurosim.network.x", "import neurosim", "from the top"),
    ("neurosim.engine.x", "from neurosim.errors import NeurosimError", "engine never imports"),
    ("neurosim.engine.x", "import torch.nn", "engine never imports"),
    ("neurosim.tasks.x", "def f():\n    from torch import Tensor", "tasks never imports"),
    ("neurosim.tasks.x", "from neurosim.training import train", "tasks never imports"),
    ("neurosim.deployment.x", "import torch as t", "deployment never imports"),
    ("neurosim.helpers.x", "", "no place in the import order"),
])
def test_import_check_refuses(module: str, source: str, fault: str) -> None:
    [found] = import_faults(module, source)
    assert fault in found


@pytest.mark.parametrize(("module", "source"), [
    ("neurosim.mapping.x", "from neurosim.network import Network\nfrom neurosim import __version__\nimport numpy"),
    ("neurosim.network.x", "if TYPE_CHECKING:\n    from neurosim.report import write_report"),
    ("neurosim.engine.x", "from neurosim.engine.events import gather\nfrom .events import scatter\nimport torchless"),
])
def test_import_check_accepts(module: str, source: str) -> None:
    assert import_faults(module, source) == []


@pytest.mark.parametrize("source", [
    "import numpy as np\nnp.random.seed(0)",
    "import numpy\nx = numpy.random.normal(size=3)",
    "import numpy.random as r\nr.shuffle(x)",
    "from numpy import random\nrandom.rand()",
    "from numpy.random import randint",
    "import random",
    "def f():\n    from random import choice",
    "import torch\ntorch.manual_seed(0)",
    "from torch import manual_seed\nmanual_seed(0)",
    "import torch\nwith torch.no_grad():\n    torch.cuda.manual_seed_all(0)",
    "import torch\nwith torch.random.fork_rng():\n    pass\ntorch.manual_seed(0)",
])
def test_random_check_refuses(source: str) -> None:
    assert len(random_faults("x", source)) == 1


@pytest.mark.parametrize("source", [
    "import numpy as np\nrng = np.random.default_rng(np.random.SeedSequence(3))\nx: np.random.Generator = rng",
    "import torch\nwith torch.no_grad(), torch.random.fork_rng(devices=[]):\n    torch.manual_seed(0)",
    "import torch\ng = torch.Generator().manual_seed(3)",
    "def f(random):\n    return random.normal()",
])
def test_random_check_accepts(source: str) -> None:
    assert random_faults("x", source) == []


def test_file_check_refuses() -> None:
    assert file_faults("x", "import os\n") == ["x: no docstring that says what it is for"]
    assert file_faults("x", '"""Long."""\n' + "pass\n" * LONGEST_FILE) == ["x: 451 lines, at most 450"]
    assert not holds_code('"""Only words."""\n')
    assert holds_code('"""Words."""\nfrom x import y\n')


def test_docstring_check_refuses() -> None:
    dataclasses = importlib.import_module("dataclasses")
    described = type("Described", (), {"__doc__": "Words."})
    assert has_docstring(described)
    assert not has_docstring(type("Heir", (described,), {}))
    assert not has_docstring(dataclasses.make_dataclass("Bare", ["x"]))
    assert not has_docstring(lambda: None)


def test_cost_check_measures() -> None:
    seconds, modules = import_cost("import wave; time.sleep(0.05)")
    assert seconds >= 0.05
    assert "wave" in modules
