"""README and docs say what is there: links, commands and code."""

from __future__ import annotations

import ast
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.console import Console

from deployments.readme import BLOCK as BLOCK_OF_THE_DEMO
from deployments.readme import with_output
from deployments.terminal.session import LOG_WIDTH
from deployments.terminal.summary import print_summary
from tests.fixtures.evaluations import a_comparison
from whisper_retrain.cli import commands
from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.metric import metric_path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("benchmarks/*.md"),
        *ROOT.glob("src/*/README.md"),
    ]
)
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPOKEN_ELSEWHERE = ("pip ", "cp ", "prefect ", "set ", "export ", "sudo ", "docker ")
"""Commands of other programs, which a test on this machine must not run."""


def commands_of(block: str) -> list[str]:
    """The lines of a shell block, without comments."""
    lines = (line.split("  #")[0].strip().removeprefix("$ ") for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def shell_lines(page: Path) -> list[str]:
    found = []
    for language, block in BLOCK.findall(page.read_text()):
        if language in ("", "sh", "bash", "shell"):
            found += [
                line
                for line in commands_of(block)
                if line.startswith(("make", "whisper-retrain", "python "))
            ]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        path = target.split("#")[0]
        if path and "://" not in path and not path.startswith("mailto:"):
            assert (page.parent / path).exists(), f"{page.name}: {target}"


def test_the_readme_has_commands_and_code_to_test() -> None:
    assert any(line.startswith("make demo") for line in shell_lines(ROOT / "README.md"))
    assert [language for language, _ in BLOCK.findall(README)].count("python") >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"`make ([a-z-]+)", page.read_text())
    named += [
        word
        for line in shell_lines(page)
        if (words := line.split())[0] == "make"
        for word in words[1:2]
    ]
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_ours_that_a_page_names_exists(page: Path) -> None:
    root = typer.main.get_command(commands)
    lines = shell_lines(page) + re.findall(r"`(whisper-retrain [^`]+)`", page.read_text())
    for line in lines:
        if not line.startswith("whisper-retrain"):
            continue
        command = root
        for word in shlex.split(line)[1:]:
            if not hasattr(command, "commands") or word.startswith("-"):
                break
            choices = word.split("|")  # as in `stack up|status|down`
            assert set(choices) <= set(command.commands), f"{page.name}: {line}"
            command = command.commands[choices[0]]
        known = {name for one in command.params for name in one.opts}
        options = {word.split("=")[0] for word in line.split() if word.startswith("--")}
        assert options <= known | {"--help"}, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_script_that_a_page_names_exists(page: Path) -> None:
    for path in re.findall(r"python ((?:benchmarks|deployments)/[\w/]+\.py)", page.read_text()):
        assert (ROOT / path).exists(), f"{page.name}: {path}"
    for module in re.findall(r"python -m ((?:deployments|benchmarks)[\w.]*)", page.read_text()):
        place = ROOT / module.replace(".", "/")
        assert place.is_dir() or place.with_suffix(".py").exists(), f"{page.name}: {module}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_a_page_is_python(page: Path) -> None:
    for language, block in BLOCK.findall(page.read_text()):
        if language == "python":
            ast.parse(block)


def test_the_demos_output_is_what_the_demo_prints() -> None:
    block = BLOCK_OF_THE_DEMO.search(README)
    assert block, "README has no place for the demo's output"
    console = Console(width=LOG_WIDTH, record=True, file=io.StringIO())
    evidence, evaluations, _ = a_comparison()
    print_summary(console, evidence, evaluations)
    printed = console.export_text().splitlines()
    fixed = [
        line for line in printed if line.startswith(("Frozen", "┃ model", "Before", "Not for"))
    ]
    assert len(fixed) == 4
    lines = iter(block[0].splitlines())
    for line in [*fixed, "Notification, as it was received", "Where to look"]:
        assert any(one.split() == line.split() for one in lines), line


def test_a_new_output_takes_the_old_ones_place(tmp_path: Path) -> None:
    local_dir = tmp_path / ".local"
    page = with_output(README, f"the result\n  report  {local_dir}/report.html\n", local_dir)
    block = BLOCK_OF_THE_DEMO.search(page)
    assert block
    assert block[0] == "the result\n  report  …/.local/report.html\n"
    before, after = (
        README.split("<!-- demo-output -->")[0],
        README.split("<!-- /demo-output -->")[1],
    )
    assert page.startswith(before)
    assert page.endswith(after)
    with pytest.raises(InputError, match="no place"):
        with_output("# Another page", "x", local_dir)


def test_the_shell_lines_that_need_no_service_run(tmp_path: Path) -> None:
    (tmp_path / "refs.jsonl").write_text('{"id": "a", "text": "no pain"}\n')
    (tmp_path / "hyps.jsonl").write_text('{"id": "a", "text": "pain"}\n')
    shutil.copy(metric_path("wer"), tmp_path / "my_metric.py")
    lines = [one for one in shell_lines(ROOT / "README.md") if "whisper-retrain score" in one]
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", "whisper_retrain", *shlex.split(line, comments=True)[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def tree() -> str:
    return README.split("## The tree")[1].split("```")[1]


def packages_in(folder: Path) -> set[str]:
    """Folders with code in them; `.local` and what other programs leave is not ours."""
    return {path.parent.name for path in folder.glob("[a-z]*/*.py")}


def test_the_tree_is_complete() -> None:
    """Every folder of the repository, every room of the library and every module beside them."""
    library = ROOT / "src" / "whisper_retrain"
    named = {line.split()[0].rstrip("/") for line in tree().splitlines() if line.strip()}
    top = packages_in(ROOT) | {f"src/{name}" for name in packages_in(ROOT / "src")} | {"docs"}
    assert top <= named
    rooms = set(re.findall(r"^    (\w+)/", tree(), re.MULTILINE))
    assert rooms == packages_in(library)
    (modules,) = re.findall(r"^    (\w+, .*)$", tree(), re.MULTILINE)
    expected = {path.stem for path in library.glob("*.py") if not path.stem.startswith("__")}
    assert set(modules.split(", ")) == expected
