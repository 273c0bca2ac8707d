"""What a source lists, known without decoding any audio: its columns, guessed, and its texts.

For a person's first try with recordings of their own; the refresh stage is told what was found.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from whisper_retrain.config import Columns, DatasetSource
from whisper_retrain.data import hub_source, listing_source
from whisper_retrain.data.recordings import text_or_none
from whisper_retrain.data.text import fold_phrase, repair_reference
from whisper_retrain.data.trees import OutsideError, inside, open_tree
from whisper_retrain.errors import InputError

ColumnRole = Literal["audio", "reference", "id", "speaker", "prompt"]
USUAL_NAMES: dict[ColumnRole, tuple[str, ...]] = {
    "audio": (
        "audio",
        "file_name",
        "path",
        "audio_path",
        "audio_filepath",
        "file",
        "filename",
        "wav",
        "recording",
    ),
    "reference": ("sentence", "reference", "transcript", "transcription", "text"),
    "id": ("id", "utterance_id", "utt_id"),
    "speaker": ("speaker_id", "speaker", "client_id", "spk_id", "spk"),
    "prompt": ("prompt", "topic", "category"),
}
"""What columns are called in published datasets, the likeliest first."""
MIN_WORDS = 2.0
"""Words a row, on average: a column with as many that has no usual name may be the reference."""


@dataclass(frozen=True)
class Listing:
    """The rows of a source as it gives them, embedded audio left out."""

    where: str
    """The source, for messages."""
    names: tuple[str, ...]
    """All columns."""
    rows: Sequence[Mapping[str, Any]]
    """Column -> value."""
    audio: tuple[str, ...]
    """Columns that hold recordings, or paths of files that are there; the fullest first."""
    files: Container[str] | None = None
    """Paths of the files that are there; None: audio is embedded."""


@dataclass(frozen=True, slots=True)
class ListedText:
    """What is said in one listed recording, and by whom; `speaker` None: unknown."""

    reference: str
    """As it is written."""
    phrase: str
    """Without case and punctuation."""
    speaker: str | None
    """None: unknown."""


def read_listing(source: DatasetSource) -> Listing:
    """All rows of a source. Raises InputError where there is no listing, or an empty one."""
    listing = _hub_listing(source) if source.kind == "hub" else _tree_listing(source)
    if not listing.rows:
        raise InputError(
            "the listing is empty", where=listing.where, remedy="add rows to the listing"
        )
    return listing


def _tree_listing(source: DatasetSource) -> Listing:
    tree = open_tree(source.location)
    files = tree.stamps()
    name = listing_source.listing_of(source.location, files)
    where = f"{source.location}/{name}"
    rows, names = listing_source.parse_listing(tree.read(name), name, where)
    there = {column: sum(_is_there(row.get(column), files) for row in rows) for column in names}
    audio = sorted((c for c in names if there[c]), key=lambda c: -there[c])
    return Listing(where, tuple(names), rows, tuple(audio), files)


def _is_there(value: object, files: Container[str]) -> bool:
    text = text_or_none(value)
    try:
        return text is not None and inside(text) in files
    except OutsideError:
        return False


def _hub_listing(source: DatasetSource) -> Listing:
    revision = hub_source.resolve(source).revision
    where = f"{source.location}@{revision[:12]}"
    names: dict[str, None] = {}
    audio: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    for file in hub_source.origins(source, revision):
        parquet = hub_source.open_file(source, revision, file)
        schema = parquet.schema_arrow
        texts = [field.name for field in schema if _is_plain(field.type)]
        names |= dict.fromkeys(schema.names)
        audio |= {field.name: None for field in schema if hub_source.holds_audio(field.type)}
        rows += parquet.read(columns=texts).to_pylist()
    return Listing(where, tuple(names), rows, tuple(audio))


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return hub_source.holds_text(kind) or bool(pa.types.is_integer(kind))


def guess_columns(listing: Listing, given: Mapping[ColumnRole, str | None]) -> Columns:
    """Which column holds what: as `given`, else by what it is usually called, else by content.

    Raises InputError, naming the columns that there are, when audio or reference can't be told.
    """
    for role, name in given.items():
        if name is not None and name not in listing.names:
            raise _unknown(listing, role, f"no column {name!r}")
    audio = given.get("audio") or _audio(listing)
    left = [name for name in listing.names if name != audio]
    reference = given.get("reference") or _reference(listing, left)
    left = [name for name in left if name != reference]
    usual = {role: given.get(role) or _usual(left, role) for role in _OPTIONAL}
    if usual["id"] and not given.get("id") and not _differs_everywhere(listing, usual["id"]):
        usual["id"] = None
    return Columns(audio=audio, reference=reference, **usual)


_OPTIONAL: tuple[ColumnRole, ...] = ("id", "speaker", "prompt")


def _audio(listing: Listing) -> str:
    by_name = _usual(listing.audio, "audio")
    if by_name or listing.audio:
        return by_name or listing.audio[0]
    if listing.files is not None and (by_name := _usual(listing.names, "audio")):
        raise InputError(
            "none of the listed recordings is there",
            where=f"{listing.where}, column {by_name!r}",
            expected="paths of audio files, seen from the folder of the listing",
            got=repr(listing.rows[0].get(by_name)),
            remedy="put the recordings beside the listing, or mend the paths",
        )
    raise _unknown(listing, "audio", "no column holds recordings")


def _reference(listing: Listing, names: Sequence[str]) -> str:
    wordy = [name for name in names if _mean_words(listing, name) >= MIN_WORDS]
    found = _usual(names, "reference") or (wordy[0] if len(wordy) == 1 else None)
    if found is None:
        several = f"{', '.join(wordy)} may hold it" if wordy else "no column holds sentences"
        raise _unknown(listing, "reference", several)
    return found


def _usual(names: Sequence[str], role: ColumnRole) -> str | None:
    by_key = {name.strip().lower().replace("-", "_").replace(" ", "_"): name for name in names}
    return next((by_key[usual] for usual in USUAL_NAMES[role] if usual in by_key), None)


def _mean_words(listing: Listing, name: str) -> float:
    values = [row.get(name) for row in listing.rows]
    return sum(len(v.split()) for v in values if isinstance(v, str)) / len(values)


def _differs_everywhere(listing: Listing, name: str) -> bool:
    return len({text_or_none(row.get(name)) for row in listing.rows}) == len(listing.rows)


def _unknown(listing: Listing, role: ColumnRole, what: str) -> InputError:
    return InputError(
        f"which column holds the {role} is not clear: {what}",
        where=listing.where,
        expected=f"one of {', '.join(USUAL_NAMES[role])}",
        got=", ".join(listing.names),
        remedy=f"name it with --{role}-column",
    )


def listed_texts(listing: Listing, columns: Columns) -> list[ListedText]:
    """The texts of all rows that have one, and whose recording is there."""
    found = []
    for row in listing.rows:
        reference = row.get(columns.reference)
        if not isinstance(reference, str) or not reference.strip():
            continue
        if listing.files is not None and not _is_there(row.get(columns.audio), listing.files):
            continue
        text = repair_reference(reference).text
        speaker = text_or_none(row.get(columns.speaker)) if columns.speaker else None
        found.append(ListedText(text, fold_phrase(text), speaker))
    return found
