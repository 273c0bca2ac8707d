"""docs/architecture.md says where every S3 key lies and who may import whom; held against code."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tests.fixtures.keys import PAGE, fits, key_table, rows_of
from whisper_retrain.records import Job

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "src" / "whisper_retrain"
STORED = ROOT / "tests" / "fixtures" / "stored"
BEGINS_LIKE_A_KEY = re.compile(r"[a-z]+(/[a-z]+)*/(v\d+|latest|cases|looks)(/|$)")
WRITES = {"write", "upload", "create", "swap", "write_record"}
"""Calls by which an object comes into the store."""
TOLD_WHERE_TO_WRITE = {"edges/store.py", "model_files.py", "tasks/notes.py"}
"""They write to keys that others make."""


def file_of(name: str) -> Path:
    return ROOT / name if (ROOT / name).exists() else LIBRARY / name


def sources() -> Iterator[tuple[str, ast.Module]]:
    """The code that may write to the store, by the name that the table has for it."""
    for path in LIBRARY.rglob("*.py"):
        yield path.relative_to(LIBRARY).as_posix(), ast.parse(path.read_text())
    for path in (ROOT / "tasks").glob("*.py"):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def writes(call: ast.Call) -> bool:
    """Whether a call stores an object: `store.write(...)`, `write_record(...)` and the like."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id == "write_record"
    if not isinstance(function, ast.Attribute) or function.attr not in WRITES:
        return False
    return "store" in ast.unparse(function.value).lower()


def test_each_row_names_where_its_key_is_made() -> None:
    assert len(key_table()) > 30
    for key, (file, name) in key_table().items():
        defined = {
            node.name
            for node in ast.walk(ast.parse(file_of(file).read_text()))
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert name in defined, f"{key}: no {name} in {file}"


def test_no_file_writes_to_the_store_that_the_table_does_not_name() -> None:
    writing = {
        name
        for name, tree in sources()
        if any(isinstance(node, ast.Call) and writes(node) for node in ast.walk(tree))
    }
    named = {file for file, _ in key_table().values()}
    assert len(writing) > 15
    assert writing - TOLD_WHERE_TO_WRITE <= named


def test_every_key_that_the_code_spells_out_is_in_the_key_table() -> None:
    starts = [row.split("<")[0] for row in key_table()]
    spelt = [
        (node.value, name)
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and BEGINS_LIKE_A_KEY.match(node.value.partition("\n")[0])
    ]
    assert len(spelt) > 10
    for text, name in spelt:
        assert any(s.startswith(text) or text.startswith(s) for s in starts), f"{name}: {text}"


def test_every_job_has_a_row_or_is_said_to_store_nothing() -> None:
    for name, tree in sources():
        if any(
            isinstance(n, ast.ClassDef) and "Job" in map(ast.unparse, n.bases) for n in tree.body
        ):
            import_module("whisper_retrain." + name.removesuffix(".py").replace("/", "."))
    (sentence,) = re.findall(r"The stages (.+?) store nothing of their own", PAGE)
    nothing = set(re.findall(r"`(\w+)`", sentence))
    jobs = {job.stage: job for job in Job.__subclasses__() if not job.__module__.startswith("test")}
    assert nothing <= jobs.keys()
    for stage in jobs.keys() - nothing:
        prefix = f"{stage}/{jobs[stage].version}/digest"
        folders = [re.match(r"([^/]+/[^/]+/<digest>)/", row) for row in key_table()]
        assert any(found and fits(found[1], prefix) for found in folders), f"{prefix} has no row"


def test_every_key_of_a_kept_store_is_in_one_row() -> None:
    keys = [path.relative_to(STORED).as_posix() for path in STORED.rglob("*.*") if path.is_file()]
    assert len(keys) > 10
    for key in keys:
        assert len(rows_of(key)) == 1, key


def test_the_drawing_shows_the_rooms_in_the_order_of_the_contract() -> None:
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rooms = next(c for c in linter["contracts"] if c.get("containers") == ["whisper_retrain"])
    drawing = PAGE.split("```mermaid")[2].split("```")[0]
    labels = re.findall(r'\w\["([^"]+)"\]', drawing)
    places = []
    for layer in rooms["layers"][1:]:  # after __main__
        names = [name.strip("() ") for name in layer.split("|")]
        if layer.startswith("(") and not (LIBRARY / names[0]).exists():
            continue
        found = [
            place
            for place, label in enumerate(labels)
            if all(re.search(rf"(^|\| ){name}\b", label) for name in names)
        ]
        assert len(found) == 1, layer
        places += found
    assert places == sorted(places)
    assert len(places) == len(labels) - drawing.count("subgraph") - drawing.count("hub[")
