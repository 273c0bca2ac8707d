"""WER of texts as they were written: case and punctuation count."""

import evaluate

from whisper_retrain.evaluation.metric import CorpusMetric
from whisper_retrain.evaluation.scoring import UtteranceCounts
from whisper_retrain.records import Counts


class RawWER(CorpusMetric, evaluate.Metric):
    """WER of texts as they were written: case and punctuation count."""

    def counts(self, utterance: UtteranceCounts) -> Counts:
        return utterance.raw
