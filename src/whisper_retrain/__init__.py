"""Keeps a Whisper model good: refresh, fine-tune, prove, publish. Knows nothing of Prefect."""
