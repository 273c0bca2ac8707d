"""`python -m whisper_retrain`: the command line, also where no console script is installed."""

from whisper_retrain.cli import app

app()
