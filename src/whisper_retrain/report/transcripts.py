"""A few transcripts of champion and challenger, the changed words marked, for the terminal.

They are transcripts: show them where the dataset may be shown, never in a notification or on the
Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whisper_retrain.evaluation.rows import Row
from whisper_retrain.report.diffs import Mark, MarkedWords, TranscriptPair, examples, pair_rows

NOTHING = "(nothing)"
LEGEND = "*another word*, +word put in, -word left out"


def telling_transcripts(
    champion: Sequence[Row], challenger: Sequence[Row], count: int = 5
) -> list[TranscriptPair]:
    """The utterances to show: the largest gains and, where there is one, the worst loss."""
    return examples(pair_rows(champion, challenger), count)


def terminal_text(
    pairs: Sequence[TranscriptPair], champion: str = "champion", challenger: str = "challenger"
) -> str:
    """Lines with rich's markup; show them with `rich.print`.

    `champion` and `challenger` are what the two are called. The marks of LEGEND stand beside the
    colours: in a log file there are none.
    """
    from rich.markup import escape

    styles: dict[Mark, Callable[[MarkedWords], str]] = {
        "equal": lambda word: escape(word.hypothesis),
        "substitute": lambda word: f"[bold yellow]*{escape(word.hypothesis)}*[/]",
        "delete": lambda word: f"[red]-{escape(word.reference)}[/]",
        "insert": lambda word: f"[red]+{escape(word.hypothesis)}[/]",
    }
    width = max(len(champion), len(challenger), len("said"))
    blocks = [
        "\n".join(
            [
                f"[dim]{'said':>{width}}[/]  {escape(pair.champion.reference)}",
                f"[dim]{champion:>{width}}[/]  {_line(pair.marked_champion, styles)}",
                f"[dim]{challenger:>{width}}[/]  {_line(pair.marked_challenger, styles)}",
            ]
        )
        for pair in pairs
    ]
    return "\n\n".join(blocks)


def _line(words: Sequence[MarkedWords], styles: dict[Mark, Callable[[MarkedWords], str]]) -> str:
    said = any(word.hypothesis for word in words)
    line = " ".join(styles[word.mark](word) for word in words)
    return line if said else f"{line} {NOTHING}".strip()
