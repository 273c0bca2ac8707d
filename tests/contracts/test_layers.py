"""Dependencies point one way, names shadow nothing, and importing a flow stays quick."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOWS = sorted(p.stem for p in (ROOT / "flows").glob("*.py") if p.stem != "__init__")
SHELL = ("flows", "tasks", "deployments")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_import_contracts() -> None:
    """The contracts of pyproject.toml, [tool.importlinter]."""
    done = python("from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_library_never_imports_prefect() -> None:
    """Also not inside functions: it is used where no Prefect is installed."""
    for path in (ROOT / "src").rglob("*.py"):
        lines = path.read_text().splitlines()
        found = [
            line for line in lines if line.strip().startswith(("import prefect", "from prefect"))
        ]
        assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_the_loopback_hub_does_not_even_name_the_library() -> None:
    """It could be a distribution of its own."""
    for path in (ROOT / "src" / "loopback_hub").rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            assert "whisper_retrain" not in path.read_text("utf-8"), path.relative_to(ROOT)


def test_the_normalizer_builds_its_table_when_it_is_first_used() -> None:
    """Everything imports it; a form or a deployment normalises nothing."""
    done = python(
        "import sys; from whisper_retrain.normalizer import normalize; "
        "assert 'whisper_normalizer' not in sys.modules; "
        "assert normalize('Colour?') == 'color'; "
        "assert 'whisper_normalizer' in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_importing_a_flow_imports_no_torch() -> None:
    """Registering deployments on a CPU box stays quick; one process, one flow after the other."""
    done = python(
        "import importlib, sys\n"
        f"for name in {FLOWS}:\n"
        "    importlib.import_module(f'flows.{name}')\n"
        "    heavy = {'torch', 'transformers', 'datasets', 'wandb'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
        "print(len([name for name in sys.modules if name.startswith('flows.')]))"
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(FLOWS) >= 10


def test_no_file_of_the_shell_shadows_a_dependency() -> None:
    """A file called evaluate.py once stood in for the evaluate package."""
    taken = set(packages_distributions()) | set(sys.stdlib_module_names)
    names = {p.stem for folder in SHELL for p in (ROOT / folder).glob("*.py")} - {"__init__"}
    assert not names & taken


def test_no_test_folder_stands_in_for_the_shell() -> None:
    folders = {p.name for p in (ROOT / "tests").iterdir() if p.is_dir()}
    assert not folders & set(SHELL)


def test_names_that_library_and_shell_must_share() -> None:
    """The library cannot import the shell: what stack and doctor look for is said twice."""
    from deployments.setup import WORK_POOL
    from tasks.policies import GPU_TAG
    from whisper_retrain.doctor import services
    from whisper_retrain.local.stack.environment import WORK_POOL as POOL_OF_STACK

    assert POOL_OF_STACK == WORK_POOL == services.WORK_POOL
    assert services.GPU_TAG == GPU_TAG
