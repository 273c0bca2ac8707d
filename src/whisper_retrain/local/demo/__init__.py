"""The demo's own material: base model, sentences, speakers, recordings, and their publication.

Nothing outside `whisper_retrain.local` may import this package: the rest of the library reads
the demo corpus from a Hub, by the same code path as any other dataset.
"""
