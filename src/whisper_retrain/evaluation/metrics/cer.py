"""CER after Whisper's English normalizer."""

import evaluate

from whisper_retrain.evaluation.metric import CorpusMetric
from whisper_retrain.evaluation.scoring import UtteranceCounts
from whisper_retrain.records import Counts


class CER(CorpusMetric, evaluate.Metric):
    """CER after Whisper's English normalizer."""

    def counts(self, utterance: UtteranceCounts) -> Counts:
        return utterance.characters
