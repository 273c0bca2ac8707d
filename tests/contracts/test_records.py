"""Every field of every record has a line that says what it means, and in which unit."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = ("src/whisper_retrain", "flows", "tasks", "deployments")
PYDANTIC = {"BaseModel", "BaseSettings"}
SHORTEST = 4
"""Characters of a line: "H: ..." says something, "-" does not."""


@cache
def classes() -> list[tuple[str, ast.ClassDef]]:
    return list(_classes())


def _classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    yield name, node


def bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}


def is_frozen_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass(frozen=True" in ast.unparse(found) for found in node.decorator_list)


@cache
def records() -> dict[tuple[str, str], ast.ClassDef]:
    """Pydantic's models and frozen dataclasses: values, not things that do something."""
    known, found = set(PYDANTIC), dict[tuple[str, str], ast.ClassDef]()
    for _ in range(4):  # a model of a model of a model
        for file, node in classes():
            if bases(node) & known or is_frozen_dataclass(node):
                known |= {node.name} if bases(node) & known else set()
                found[file, node.name] = node
    return found


def undescribed(node: ast.ClassDef) -> list[str]:
    """Fields without a line below them, and without a title or description in a form."""
    missing = []
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.unparse(field.annotation):
            continue
        given = ast.unparse(field.value) if field.value else ""
        line = ast.literal_eval(after.value) if is_text(after) else ""
        if len(line.strip()) < SHORTEST and "title=" not in given and "description=" not in given:
            missing.append(ast.unparse(field.target))
    return missing


def is_text(node: ast.stmt | None) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@pytest.mark.parametrize(("file", "name"), sorted(records()))
def test_every_field_has_a_line(file: str, name: str) -> None:
    assert undescribed(records()[file, name]) == [], f"{file}, {name}"


def test_a_field_without_a_line_would_be_found() -> None:
    (node,) = ast.parse('class A(Record):\n    a: int\n    """Bytes."""\n    b: int = 0\n').body
    assert isinstance(node, ast.ClassDef)
    assert undescribed(node) == ["b"]
