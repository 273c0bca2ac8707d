"""What is counted, on hand-worked cases, and against jiwer's and medwer's own figures."""

from __future__ import annotations

import random
import subprocess
import sys

import jiwer
import medwer
import pytest

from whisper_retrain.errors import InputError
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.scoring import repeated_ngrams, score_pairs
from whisper_retrain.evaluation.tiers import TIERS
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Counts, total

SPEECH = "no pain in my left knee the patient takes metformin 500 mg for type 2 diabetes"
WORDS = SPEECH.split()


def counts(hits: int, substitutions: int, deletions: int, insertions: int) -> Counts:
    return Counts(
        hits=hits, substitutions=substitutions, deletions=deletions, insertions=insertions
    )


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        # knee -> nee, "my" is missing, "now" is too much; no other alignment has 3 errors only
        ("pain in my left knee today", "pain in left nee today now", counts(4, 1, 1, 1)),
        ("I have a cough.", "i have a cough", counts(4, 0, 0, 0)),
        ("no pain", "pain", counts(1, 0, 1, 0)),
        ("pain", "no pain", counts(1, 0, 0, 1)),
        ("", "thank you", counts(0, 0, 0, 2)),  # an empty reference: all is inserted
        ("no pain", "", counts(0, 0, 2, 0)),  # an empty hypothesis: all is deleted
        ("", "", counts(0, 0, 0, 0)),
        ("hmm", "", counts(0, 0, 0, 0)),  # the normalizer takes hesitations away
        ("pain", "you you you", counts(0, 1, 0, 2)),  # WER 3: more errors than words
    ],
)
def test_hand_worked_counts(reference: str, hypothesis: str, expected: Counts) -> None:
    (score,) = score_pairs([reference], [hypothesis])
    assert score.words == expected


def test_wer_over_one_and_without_words() -> None:
    assert counts(0, 1, 0, 2).error_rate == 3.0
    assert counts(0, 0, 0, 2).error_rate == float("inf")
    assert counts(0, 0, 0, 0).error_rate == 0.0


def test_raw_counts_see_case_and_punctuation() -> None:
    (score,) = score_pairs(["I have a cough."], ["i have a cough"])
    assert score.raw == counts(2, 2, 0, 0)
    assert score.words.errors == 0


def some_pairs(number: int) -> tuple[list[str], list[str]]:
    rng = random.Random(1)
    references = [" ".join(rng.choices(WORDS, k=rng.randint(1, 12))) for _ in range(number)]
    hypotheses = [
        " ".join(rng.choice(WORDS) if rng.random() < 0.3 else word for word in text.split())
        for text in references
    ]
    return references, hypotheses


def test_corpus_figures_are_jiwers() -> None:
    references, hypotheses = some_pairs(200)
    scores = score_pairs(references, hypotheses)
    left, right = [normalize(text) for text in references], [normalize(text) for text in hypotheses]
    words = total(score.words for score in scores)
    theirs = jiwer.process_words(left, right)
    assert words == counts(theirs.hits, theirs.substitutions, theirs.deletions, theirs.insertions)
    assert words.error_rate == pytest.approx(jiwer.wer(left, right))
    assert total(s.characters for s in scores).error_rate == pytest.approx(jiwer.cer(left, right))
    assert total(s.raw for s in scores).error_rate == pytest.approx(
        jiwer.wer(references, hypotheses)
    )


def test_medical_figures_are_medwers() -> None:
    references, hypotheses = some_pairs(200)
    theirs = medwer.Scorer().corpus(references, hypotheses)
    scores = score_pairs(references, hypotheses)
    medical = total(score.medical for score in scores)
    assert medical.error_rate == pytest.approx(theirs["medical_wer"])
    assert medical.reference_length == theirs["med_ref_words"]
    assert total(score.words for score in scores).error_rate == pytest.approx(theirs["wer"])


def test_our_window_finds_what_medwer_finds() -> None:
    entries, longest = medwer.load_terms(medwer.default_terms_path())
    rng = random.Random(2)
    vocabulary = [word for term in sorted(entries)[::97] for word in term.split()]
    for _ in range(300):
        text = " ".join(rng.choices(vocabulary, k=12))
        assert default_lexicon().find(text) == medwer.keep_medical(text, entries, longest).split()


def test_each_tier_is_counted_by_itself() -> None:
    (score,) = score_pairs(
        ["metformin for diabetes and chest pain after appendectomy"],
        ["metformin for diabetes and chest rain after appendectomy"],
    )
    assert set(score.tiers) == set(TIERS)
    assert score.tiers["symptom"].deletions == 1
    assert score.tiers["drug"] == counts(1, 0, 0, 0)
    assert score.tiers["diagnosis"] == counts(1, 0, 0, 0)
    assert score.tiers["procedure"] == counts(1, 0, 0, 0)


@pytest.mark.parametrize(
    ("term", "tier"),
    [
        ("metformin", "drug"),
        ("apo doxepin", "drug"),
        ("doxepin", "drug"),  # known from "apo doxepin"
        ("lisinopril", "drug"),  # by its ending
        ("hypothyroidism", "diagnosis"),
        ("chronic systolic heart failure", "diagnosis"),
        ("bronchitis", "diagnosis"),
        ("headache", "symptom"),
        ("low back pain", "symptom"),
        ("knee", "anatomy"),
        ("appendectomy", "procedure"),
        ("skin graft failure", "procedure"),
    ],
)
def test_terms_have_the_tier_that_a_reader_would_give_them(term: str, tier: str) -> None:
    found = default_lexicon().find_tiers(term)
    assert found[tier], found


def test_most_of_medwers_terms_have_a_tier() -> None:
    lexicon = default_lexicon()
    sorted_ = sum(term in lexicon.tiers for term in lexicon.terms)
    assert len(lexicon.terms) == 19_373
    assert sorted_ / len(lexicon.terms) > 0.55


def test_own_terms_join_the_list_and_change_its_version() -> None:
    own = default_lexicon(("Zorbax", "drug: Femtoxin XR"))
    assert own.find("patient on zorbax and femtoxin xr") == ["zorbax", "femtoxin_xr"]
    assert own.tiers["femtoxin xr"] == "drug"
    assert own.version != default_lexicon().version
    with pytest.raises(InputError, match="no words"):
        default_lexicon(("drug:",))


def test_looping_is_counted() -> None:
    assert repeated_ngrams("a b c d e f g") == 0
    assert repeated_ngrams("i am very sore now " * 3) == 6


def test_normalizer_keeps_known_traps() -> None:
    """Whisper's own rules, kept as they are: figures stay comparable with others'."""
    assert normalize("Oh no!") == "0 no"
    assert normalize("fifteen milligrams") == "15 milligrams"
    assert normalize("I've no diarrhoea.") == "i have no diarrhea"
    assert normalize(" [noise] ") == ""


def test_scoring_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, whisper_retrain.cli.gate, whisper_retrain.gate.decision;"
        "heavy = {'torch', 'transformers', 'boto3', 'wandb', 'huggingface_hub', 'prefect'};"
        "sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
