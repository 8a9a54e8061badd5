"""The project's own promises: what is imported is declared, what is shipped is small and there."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "longwang_ray"


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported():
    """Top-level names that the package imports anywhere, also inside functions."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"longwang_ray"}


def test_what_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(x for name in ("s3", "train") for x in extras[name])]
    declared = {_normal(re.match(r"[\w.-]+", line)[0]) for line in lines}
    distributions = packages_distributions()
    for name in _imported():
        owners = {_normal(owner) for owner in distributions.get(name, [name])}
        assert owners & declared, (
            f"{name} is imported, but pyproject.toml declares none of {owners}"
        )


def test_no_module_is_longer_than_the_house_allows():
    long = {
        str(path.relative_to(ROOT)): count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 350
    }
    assert not long


def test_the_shipped_data_are_small():
    data = [p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert (PACKAGE / "data" / "land_0p25.npz") in data
    assert (PACKAGE / "data" / "land_0p25.npz").stat().st_size < 60_000
    assert sum(path.stat().st_size for path in data) < 10_500_000


def test_the_readme_has_the_two_commands_that_ci_runs():
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Two commands\n")[1]
    section = section.split("\n## ")[0]
    first, second = re.findall(r"```sh\n(.*?)\n```", section, flags=re.DOTALL)
    assert "longwang run configs/quickstart.yaml" in first
    assert "pytest" in second
    assert "\n" not in first + second  # one line each: .ci/run reads them so


def test_the_ci_script_is_valid_shell():
    script = ROOT / ".ci" / "run"
    if sys.platform == "win32" or not script.exists():
        pytest.skip("no bash here, or not a checkout")
    subprocess.run(["bash", "-n", str(script)], check=True)
