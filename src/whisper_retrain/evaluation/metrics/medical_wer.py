"""WER over medical terms: medwer's list and protocol."""

import evaluate

from whisper_retrain.evaluation.metric import CorpusMetric
from whisper_retrain.evaluation.scoring import UtteranceCounts
from whisper_retrain.records import Counts


class MedicalWER(CorpusMetric, evaluate.Metric):
    """WER over medical terms: medwer's list and protocol."""

    def counts(self, utterance: UtteranceCounts) -> Counts:
        return utterance.medical
