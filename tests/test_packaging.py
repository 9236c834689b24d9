"""What gets installed: the packages, the shipped profiles, the console script; from a wheel, away from the checkout."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from neurosim import __version__

ROOT = Path(__file__).resolve().parents[1]
PROFILES = {path.stem for path in (ROOT / "hardware_profiles").glob("*.toml")}
# What a distribution is imported as, where that is not its own name.
IMPORTED_AS = {"scikit-learn": {"sklearn"}, "pydantic": {"pydantic", "pydantic_core"}}
NOT_SOURCES = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "neurosim-demo")


def packages_on_disk(root: Path) -> set[str]:
    """Folders that hold Python files, as package names."""
    found = {".".join(path.parent.relative_to(root).parts) for path in (root / "neurosim").rglob("*.py")}
    return found | {"neurosim.hardware_profiles"}


def declared() -> configparser.ConfigParser:
    """setup.cfg."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def distributions(requirements: str) -> set[str]:
    """Names in a list of requirements, one a line."""
    return {re.match(r"[\w-]+", line)[0] for line in requirements.splitlines() if line and not line.startswith("#")}


def outside_imports(source: str) -> set[str]:
    """Top-level modules that a source imports, that are neither ours nor Python's."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"neurosim", "tomllib"}


def run(*command: object, cwd: Path) -> str:
    """Standard output of a command; what it said, where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist of a copy of the checkout, and the wheel that was made from that sdist."""
    folder = tmp_path_factory.mktemp("packaging")
    shutil.copytree(ROOT, folder / "copy", ignore=NOT_SOURCES)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "copy", cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The scripts' folder of an environment that holds the wheel, and sees the dependencies of this one."""
    home = built.parent / "environment"
    venv.create(home, with_pip=False)
    scripts = home / Path(sysconfig.get_path("scripts")).name
    [wheel] = built.glob("*.whl")
    run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", "--no-index", wheel,
        cwd=built)
    # After the installation: pip would else find, and take away, the neurosim of this environment. Lines of a .pth
    # file are folders only; an editable install that lies in one of them is not followed.
    site = run(scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=built).strip()
    theirs = dict.fromkeys(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))
    (Path(site) / "dependencies.pth").write_text("\n".join(theirs) + "\n", encoding="utf-8")
    return scripts


def test_every_package_is_listed(tmp_path: Path) -> None:
    assert set(declared()["options"]["packages"].split()) == packages_on_disk(ROOT)
    # A package that is new is seen.
    (tmp_path / "neurosim" / "energy").mkdir(parents=True)
    (tmp_path / "neurosim" / "energy" / "__init__.py").touch()
    assert packages_on_disk(tmp_path) == {"neurosim.energy", "neurosim.hardware_profiles"}


def test_every_import_is_declared() -> None:
    config = declared()
    extras = config["options.extras_require"]
    known = set().union(*map(distributions, (
        config["options"]["install_requires"], extras["optuna"], extras["neurobench"])))
    allowed = set().union(*(IMPORTED_AS.get(name, {name}) for name in known))
    found = {path.relative_to(ROOT).as_posix(): outside_imports(path.read_text(encoding="utf-8")) - allowed
             for path in (ROOT / "neurosim").rglob("*.py")}
    assert {name: missing for name, missing in found.items() if missing} == {}
    assert outside_imports("import os\ndef f():\n    from click.core import Context\n    import numpy.linalg") == {
        "click", "numpy"}


def test_constraints_pin_what_is_declared() -> None:
    config = declared()
    extras = config["options.extras_require"]
    lists = [config["options"]["install_requires"],
             *(extras[name] for name in ("test", "optuna", "neurobench"))]
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert set().union(*map(distributions, lists)) - distributions(pinned) == set()
    assert all("==" in line for line in pinned.splitlines() if line and not line.startswith("#"))


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0] for name in names} == {"neurosim", f"neurosim_dies-{__version__}.dist-info"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "neurosim").rglob("*.py")}
    tables = {path.name for pattern in ("*.toml", "*.h5", "README.md", "__init__.py")
              for path in (ROOT / "hardware_profiles").glob(pattern)}
    expected = modules | {f"neurosim/hardware_profiles/{name}" for name in tables} | {"neurosim/py.typed"}
    assert {name for name in names if name.startswith("neurosim/")} == expected
    assert f"neurosim_dies-{__version__}.dist-info/licenses/LICENSE" in names


@pytest.mark.slow
def test_sdist_holds_the_profiles(built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"hardware_profiles/{name}.toml" for name in PROFILES} | {"LICENSE", "README.md", "setup.cfg"} <= names
    assert not any(name.startswith(("benchmarks", "docs", ".")) for name in names)


@pytest.mark.slow
def test_installed_profiles_are_found(installed: Path, tmp_path: Path) -> None:
    code = ("import json, neurosim\nfrom neurosim.profile import load_profile, profile_names, profile_path\n"
            "print(json.dumps({'package': neurosim.__file__, 'version': neurosim.__version__, 'profiles': "
            "{name: [load_profile(name).name, str(profile_path(name))] for name in profile_names()}}))")
    found = json.loads(run(installed / "python", "-c", code, cwd=tmp_path))
    home = installed.parent
    assert Path(found["package"]).is_relative_to(home)
    assert found["version"] == __version__
    assert set(found["profiles"]) == PROFILES
    for name, (said, path) in found["profiles"].items():
        assert said == name
        assert Path(path).is_relative_to(home)


@pytest.mark.slow
def test_console_script(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "neurosim", "--version", cwd=tmp_path) == f"neurosim {__version__}\n"
    assert "pcm_hermes" in run(installed / "neurosim", "profiles", "list", cwd=tmp_path)
