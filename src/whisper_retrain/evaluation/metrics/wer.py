"""WER after Whisper's English normalizer."""

import evaluate

from whisper_retrain.evaluation.metric import CorpusMetric
from whisper_retrain.evaluation.scoring import UtteranceCounts
from whisper_retrain.records import Counts


class WER(CorpusMetric, evaluate.Metric):
    """WER after Whisper's English normalizer."""

    def counts(self, utterance: UtteranceCounts) -> Counts:
        return utterance.words
