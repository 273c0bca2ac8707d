"""The part of the page that records, uploads and queues: Gradio, and nothing but that.

What comes out is a token; the page's own script fetches the transcripts by it. So nothing that a
model wrote passes through Gradio, and all of it is escaped by one template engine. Gradio reads
its settings at its first import: prepare the environment before this module is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from whisper_retrain.app.hearing import hear
from whisper_retrain.app.services import Services
from whisper_retrain.app.uploads import MOST_BYTES, UploadError, decode_upload
from whisper_retrain.errors import WhisperRetrainError

WAITING_AT_MOST = 64
DECODED_AT_ONCE = 2
HINT = f"Up to 10 minutes and {MOST_BYTES >> 20} MiB: wav, flac, mp3, ogg or opus."
WAITING = "Waiting for the model …"

Said = tuple[Any, str]
"""What the next step gets, and what is said to the person."""


class Recorder:
    """The handlers of the page: take a recording in, and let the models hear it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def take(self, path: str | None, request: gr.Request) -> Said:
        """Decode what was sent; returns the token of the recording.

        The file stays for the ten minutes of `delete_cache`: the button may be pressed again, and
        Gradio keeps equal files of two people as one.
        """
        if not path:
            return "", "Record something or choose a file first."
        try:
            decoded = decode_upload(Path(path))
        except UploadError as error:
            return "", str(error)
        return self._services.desk.put(str(request.username), decoded), WAITING

    def take_example(self, example: str | None, request: gr.Request) -> Said:
        """Lay an example on the desk; returns its token."""
        decoded = self._services.examples.load(example) if example else None
        if decoded is None:
            return "", "Choose an example first."
        return self._services.desk.put(str(request.username), decoded), WAITING

    def transcribe(self, token: str, request: gr.Request) -> Iterator[Said]:
        """Say the token after each model, with how many have heard it."""
        desk = self._services.desk
        entry = desk.get(token, str(request.username)) if token else None
        if entry is None:
            yield "", gr.skip()  # what was wrong has been said
            return
        try:
            speech, samples = entry.decoded.speech, desk.samples(entry)
            for transcription in hear(
                samples, speech, self._services.release, self._services.models
            ):
                desk.keep(token, transcription)
                yield f"{token}:{len(transcription.hearings)}", "The others are listening …"
            yield f"{token}:done", ""
        except WhisperRetrainError as error:
            yield "", f"{error.what}. {error.remedy}".strip()

    def examples(self) -> tuple[Any, Any]:
        """What can be chosen, when the page is opened."""
        found = [(one.label, one.id) for one in self._services.examples.choices()]
        choices = gr.Dropdown(choices=found, value=None, visible=bool(found))
        return choices, gr.Button(visible=bool(found))


def build_shell(services: Services) -> gr.Blocks:
    """Recorder, examples, button; the queue in front of the models."""
    recorder = Recorder(services)
    with gr.Blocks(
        analytics_enabled=False, delete_cache=(60, 600), title="Try the champion"
    ) as blocks:
        token = gr.State("")
        recording = gr.Audio(
            sources=["microphone", "upload"],
            type="filepath",
            label="Your recording",
            editable=False,
            elem_id="recording",
            buttons=[],
        )
        gr.Markdown(HINT, elem_id="hint")
        send = gr.Button("Transcribe", variant="primary", elem_id="transcribe")
        with gr.Row():
            example = gr.Dropdown(
                label="Or an example", choices=[], visible=False, elem_id="example", scale=3
            )
            try_it = gr.Button("Try the example", visible=False, elem_id="try-example", scale=1)
        said = gr.Markdown("", elem_id="said")
        heard = gr.Markdown("", elem_id="heard")  # read by the page's script, never shown
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress_on": said}
        one_model: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
        sources = ((send, recorder.take, recording), (try_it, recorder.take_example, example))
        for button, take, source in sources:
            taken = button.click(
                take, source, [token, said], concurrency_limit=DECODED_AT_ONCE, **quiet
            )
            taken.then(recorder.transcribe, token, [heard, said], **one_model, **quiet)
        blocks.load(recorder.examples, None, [example, try_it], **quiet)
    blocks.queue(max_size=WAITING_AT_MOST)
    return blocks
