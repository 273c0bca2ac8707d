"""Changelog, licence, CI and hooks: what a newcomer and a package index look at first."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
"""In this order, https://keepachangelog.com/en/1.1.0/."""


def problems(text: str) -> list[str]:
    """Where a changelog departs from Keep a Changelog."""
    found = [] if text.startswith("# Changelog\n") else ["no title"]
    releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    heads = [release.splitlines()[0] for release in releases]
    found += [] if heads and heads[0] == "[Unreleased]" else ["[Unreleased] does not come first"]
    dates = []
    for head in heads[1:]:
        match = re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", head)
        if match is None:
            found.append(f"not [version] - date: {head}")
        else:
            dates.append(date.fromisoformat(match[2]))
    found += [] if dates == sorted(dates, reverse=True) else ["the newest release is not first"]
    for head, release in zip(heads, releases, strict=True):
        parts = re.split(r"^### ", release, flags=re.MULTILINE)
        kinds = [part.splitlines()[0] for part in parts[1:]]
        if [kind for kind in KINDS if kind in kinds] != kinds:
            found.append(f"{head}: kinds unknown, twice or out of order: {kinds}")
        for part in parts[1:]:
            lines = [line for line in part.splitlines()[1:] if line.strip()]
            if not lines or not all(line.startswith(("- ", "  ")) for line in lines):
                found.append(f"{head}: {part.splitlines()[0]} is no list")
            if any(len(line) > 110 for line in lines):
                found.append(f"{head}: a line of more than 110 characters")
    return found


def test_the_changelog_keeps_its_form() -> None:
    assert problems(CHANGELOG) == []


def test_a_changelog_out_of_form_is_found() -> None:
    good = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- a\n\n## [0.1.0] - 2026-01-01\n"
    assert problems(good) == []
    for old, new in (
        ("## [Unreleased]", "## Unreleased"),
        ("### Added", "### Things"),
        ("- a", "a"),
        ("0.1.0] - 2026-01-01", "0.1.0] - soon"),
        ("## [0.1.0] - 2026-01-01", "## [0.1.0] - 2026-01-01\n\n## [0.2.0] - 2026-02-01"),
        ("- a\n", "- a\n\n### Added\n\n- b\n"),
    ):
        assert problems(good.replace(old, new)), new


def test_the_version_is_in_the_changelog() -> None:
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", CHANGELOG, re.MULTILINE)
    version = PROJECT["version"]
    assert version in released or f"To become {version}." in CHANGELOG


def test_the_licence_is_named_and_there_in_full() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "9. Accepting Warranty or Additional Liability." in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_workflow_runs_what_anybody_can_run() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    python = next(
        s["with"]["python-version"] for s in job["steps"] if "python-version" in s.get("with", {})
    )
    assert PROJECT["requires-python"].startswith(f">={python}")


def test_the_hooks_name_files_that_are_there() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (local,) = config["repos"]
    entries = [hook["entry"] for hook in local["hooks"]]
    assert {"ruff-check", "ruff-format", "import-linter"} <= {h["id"] for h in local["hooks"]}
    for path in re.findall(r"\S+\.py", " ".join(entries)):
        assert (ROOT / path).exists(), path
