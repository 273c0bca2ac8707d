"""A few transcripts before and after, the changed words marked, for terminal and Markdown.

They are transcripts: show them where the dataset may be shown, never in a notification or on the
Hub.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whisper_retrain.evaluation.rows import Row
from whisper_retrain.report.diffs import Change, Mark, Word, examples, pair_rows

NOTHING = "(nothing)"
LEGEND = "*another word*, +word put in, -word left out"


def before_after(before: Sequence[Row], after: Sequence[Row], count: int = 5) -> list[Change]:
    """The utterances to show: the largest gains and, where there is one, the worst loss."""
    return examples(pair_rows(before, after), count)


def terminal_text(changes: Sequence[Change], before: str = "before", after: str = "after") -> str:
    """Lines with rich's markup; show them with `rich.print`.

    The marks of LEGEND stand beside the colours: in a log file there are none.
    """
    from rich.markup import escape

    styles: dict[Mark, Callable[[Word], str]] = {
        "equal": lambda word: escape(word.hypothesis),
        "substitute": lambda word: f"[bold yellow]*{escape(word.hypothesis)}*[/]",
        "delete": lambda word: f"[red]-{escape(word.reference)}[/]",
        "insert": lambda word: f"[red]+{escape(word.hypothesis)}[/]",
    }
    width = max(len(before), len(after), len("said"))
    blocks = [
        "\n".join(
            [
                f"[dim]{'said':>{width}}[/]  {escape(change.before.reference)}",
                f"[dim]{before:>{width}}[/]  {_line(change.marked_before, styles)}",
                f"[dim]{after:>{width}}[/]  {_line(change.marked_after, styles)}",
            ]
        )
        for change in changes
    ]
    return "\n\n".join(blocks)


def markdown_text(changes: Sequence[Change], before: str = "Before", after: str = "After") -> str:
    """A list; another word is bold, a word put in bold with a plus, a word left out struck."""
    styles: dict[Mark, Callable[[Word], str]] = {
        "equal": lambda word: _plain(word.hypothesis),
        "substitute": lambda word: f"**{_plain(word.hypothesis)}**",
        "delete": lambda word: f"~~{_plain(word.reference)}~~",
        "insert": lambda word: f"**+{_plain(word.hypothesis)}**",
    }
    blocks = [
        "\n".join(
            [
                f"- Said: {_plain(change.before.reference)}",
                f"  - {before}: {_line(change.marked_before, styles)}",
                f"  - {after}: {_line(change.marked_after, styles)}",
            ]
        )
        for change in changes
    ]
    return "\n".join(blocks)


def _line(words: Sequence[Word], styles: dict[Mark, Callable[[Word], str]]) -> str:
    said = any(word.hypothesis for word in words)
    line = " ".join(styles[word.mark](word) for word in words)
    return line if said else f"{line} {NOTHING}".strip()


def _plain(text: str) -> str:
    """Text without the characters that Markdown would take for its own."""
    marked = "".join(f"\\{c}" if c in "\\`*_[]<>~|#" else c for c in text)
    return " ".join(marked.split())
