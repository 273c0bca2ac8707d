"""`python -m deployments.own_recordings WISH`: recordings of one's own through the whole chain.

WISH is an `OwnRecordings` as JSON, from `whisper-retrain retrain`. What can be said before any
training is said first: the columns, the splits, and what their test set can never decide.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import get_args

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deployments.demo.prepare import deploy, publish_start
from deployments.terminal.session import Session, session
from tasks.services import cache_dir, store
from whisper_retrain.config import DatasetConfig, DatasetSource
from whisper_retrain.data.latest import latest_revision
from whisper_retrain.data.listed import (
    ColumnRole,
    ListedText,
    guess_columns,
    listed_texts,
    read_listing,
)
from whisper_retrain.data.manifest import Utterance, load_manifest
from whisper_retrain.data.proposal import propose_splits
from whisper_retrain.data.report import dataset_table
from whisper_retrain.data.splits import digest_of_test_policy
from whisper_retrain.errors import IntegrityError, WhisperRetrainError
from whisper_retrain.gate.foresight import Limit, finds, foresee
from whisper_retrain.gate.policy import GatePolicy, preset
from whisper_retrain.local.own_recordings import OwnRecordings
from whisper_retrain.records import DatasetRevision

REFRESH, RETRAIN = "refresh/hourly", "retrain/demo"
WHAT = {"speaker-and-phrase": "speakers and phrases", "speaker": "speakers", "phrase": "phrases"}
LENGTH = {"epochs": 6, "max_steps": 240}
"""The demo's own length is for its corpus. A folder is mostly smaller, and needs more passes."""
NOT_DECIDABLE = 3
"""Exit code: nothing was trained, since nothing could have been decided."""


def main() -> int:
    """Find out, say, refresh, and retrain where something can be decided; the exit code."""
    wish = OwnRecordings.model_validate_json(sys.argv[1])
    with session() as one:
        try:
            return retrain(wish, one)
        except WhisperRetrainError as error:
            one.console.print(f"error: {error}", style="red", markup=False)
            return 1


def retrain(wish: OwnRecordings, one: Session) -> int:
    """The way from a listing to a decision."""
    source, texts = _listed(wish, one.console)
    deploy(one.local_dir, one.console)
    defaults = one.parameters(RETRAIN)
    # Not the demo's, which plans for fewer looks than a year with recordings of one's own has.
    policy = preset("shadow" if wish.shadow else "default")
    dataset = _dataset(source, texts, policy, one.console)
    parameters = {"dataset": dataset.model_dump(mode="json")}
    if one.run(REFRESH, parameters) is None:
        return 1
    revision = latest_revision(store(), dataset)
    if revision is None:
        raise IntegrityError("the refresh left no dataset revision", where=source.location)
    limits = _look(revision, policy, one.console)
    if any(limit.decisive for limit in limits) and not wish.shadow:
        one.console.print(
            "\n[bold]Nothing was trained[/bold]: every decision would be inconclusive. Add what"
            " helps and run this again; with --shadow it trains and reports all the same."
        )
        return NOT_DECIDABLE
    publish_start(one.local_dir, one.console)
    parameters["training"] = {**defaults["training"], **LENGTH}
    parameters["release"] = {**defaults["release"], "repo": wish.release}
    parameters["policy"] = policy.model_dump(mode="json")
    return one.retrain(RETRAIN, parameters)


def _listed(wish: OwnRecordings, console: Console) -> tuple[DatasetSource, list[ListedText]]:
    listing = read_listing(wish.source)
    columns = guess_columns(listing, wish.columns)
    console.print(f"{listing.where}: {len(listing.rows)} rows", highlight=False, soft_wrap=True)
    for role in get_args(ColumnRole):
        name = getattr(columns, role)
        how = "as you said" if wish.columns.get(role) else "guessed" if name else "no such column"
        console.print(f"  {role:<10} {escape(name or '-')} ({how})", highlight=False)
    source = wish.source.model_copy(update={"columns": columns})
    return source, listed_texts(listing, columns)


def _dataset(
    source: DatasetSource, texts: Sequence[ListedText], policy: GatePolicy, console: Console
) -> DatasetConfig:
    """Splits for the size of the data; a test set that can decide is kept, a smaller one grows."""
    dataset = DatasetConfig(sources=(source,))
    before = latest_revision(store(), dataset)
    test_policy = before.split_state.test_policy if before else None
    settled = before is not None and not _undecidable(_test_set(before), policy)
    splits = propose_splits(texts, policy.min_words, test_policy if settled else None)
    same = digest_of_test_policy(splits) == test_policy
    if same and not settled:
        splits = splits.model_copy(update={"test_set": "grow"})
    how = "as before" if same else f"chosen for {len(texts)} recordings"
    console.print(
        f"  splits     test: {splits.share_tested:.0%} of the {WHAT[splits.disjoint]}, not in train"
        f" ({how}); validation: {splits.validation_share:.0%} of the other phrases",
        highlight=False,
        soft_wrap=True,
    )
    return dataset.model_copy(update={"splits": splits})


def _test_set(revision: DatasetRevision) -> list[Utterance]:
    manifest = load_manifest(store(), revision, cache_dir())
    return [utterance for utterance in manifest if utterance.split == "test"]


def _undecidable(test_set: Sequence[Utterance], policy: GatePolicy) -> bool:
    return any(limit.decisive for limit in foresee(test_set, policy))


def _look(revision: DatasetRevision, policy: GatePolicy, console: Console) -> tuple[Limit, ...]:
    """Show what was taken, and say what its test set can never decide."""
    table = Table(title="What was taken", title_justify="left")
    for column in ("part", "utterances", "speakers", "hours", "note"):
        table.add_column(column, justify="left" if column in ("part", "note") else "right")
    for row in dataset_table(revision):
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    console.print(table)
    test_set = _test_set(revision)
    console.print(finds(test_set, policy), highlight=False, soft_wrap=True)
    limits = foresee(test_set, policy)
    if limits:
        console.print("[bold]What this test set can never decide[/bold]")
    for limit in limits:
        style = "red" if limit.decisive else ""
        text = f"  • {limit.rule}: {limit.reason}; what helps: {limit.remedy}"
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    return limits


if __name__ == "__main__":
    sys.exit(main())
