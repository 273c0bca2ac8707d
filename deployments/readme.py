"""`python -m deployments.readme`: what the last demo printed, into README.md."""

from __future__ import annotations

import re
from pathlib import Path

from deployments.terminal.session import LAST_RUN_TEXT
from tasks.services import settings
from whisper_retrain.errors import InputError

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(
    r"(?<=<!-- demo-output -->\n```text\n).*?(?=```\n<!-- /demo-output -->)", re.DOTALL
)


def with_output(page: str, output: str, local_dir: Path) -> str:
    """The page with this output in its marked block; the stack's folder is shortened to `…`."""
    lines = output.strip().replace(str(local_dir), f"…/{local_dir.name}").splitlines()
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    found, count = BLOCK.subn(lambda _: text, page)
    if count != 1:
        raise InputError(
            "the page has no place for the demo's output",
            where=str(README),
            expected="one block ```text between the marks demo-output and /demo-output",
            got=f"{count} of them",
            remedy="put the marks back",
        )
    return found


def main() -> None:
    """Rewrite README.md."""
    local_dir = settings().local_dir.absolute()
    try:
        output = (local_dir / LAST_RUN_TEXT).read_text()
    except FileNotFoundError as error:
        raise InputError(
            "no demo has run here yet",
            where=str(local_dir),
            expected=LAST_RUN_TEXT,
            remedy="run `make clean demo`, with the output to a file, so that lines have one width",
        ) from error
    README.write_text(with_output(README.read_text(), output, local_dir))


if __name__ == "__main__":
    main()
