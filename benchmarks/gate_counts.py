"""Two models on one test set, simulated as counts, judged by the gate's own rules.

Speakers x phrases x utterances with correlated errors. What is said comes from the demo's
sentences (their words, medical terms and clinical risks); who errs where is drawn:

    rate of an utterance = WER * exp(speaker + phrase), normal on a log scale
    errors of a model = errors that both make + its own, suited to speaker and phrase by chance
    a finding of a kind = probability FINDING[kind] per unit of the critical words' error rate

Where the parameters come from: SPREAD of speakers and phrases is assumed (half of all speakers
within a third of the mean WER). The share of common errors and the findings by kind were counted on
220 transcripts of Whisper tiny.en and of the same weights in 8 bits, on the demo's sentences with
noise; the two copies shared 0.79 of their errors, and the simulation takes 0.6, which is harder.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from whisper_retrain.clinical import KINDS, SEVERITY, FindingKind, Names, at_risk
from whisper_retrain.evaluation.lexicon import default_lexicon
from whisper_retrain.evaluation.rows import Evaluation, Row
from whisper_retrain.evaluation.tiers import TIERS, Tier
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.ledger import Standing
from whisper_retrain.gate.measures import block_views
from whisper_retrain.gate.paired import Changes
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.gate.safety import Safety, SafetyChange
from whisper_retrain.gate.terms import TermChange
from whisper_retrain.local.demo import base_model
from whisper_retrain.normalizer import normalize
from whisper_retrain.records import Artifact, Counts, EvaluationReport, ModelRef, Pair

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SPREAD = 0.5
"""Standard deviation of speakers' and phrases' difficulty, on a log scale."""
SHARED = 0.6
"""Share of the errors that both models make."""
EVEN, UNEVEN = (0.25, 0.40), (0.40, 0.55)
"""How much one model suits a speaker and a phrase better than the other, on the same scale."""
FINDING: dict[FindingKind, float] = {
    "drug": 0.12, "dose": 0.6, "unit": 0.16, "frequency": 0.4, "route": 0.3, "laterality": 0.25,
    "duration": 1.1, "negation": 1.0, "opposite": 0.01, "look-alike": 0.2, "term": 0.2,
    "number": 1.4, "comparison": 1.0, "omission": 0.015, "addition": 0.01,
}  # fmt: skip
"""Findings per utterance at risk and unit of word error rate."""
NONE, FIRST_LOOK = Counts(), Standing()
NOWHERE = Artifact(uri="s3://simulated/rows.parquet", sha256="0" * 64, size_bytes=0)


@dataclass(frozen=True)
class Sentence:
    """What the gate knows of a text before anybody transcribed it."""

    text: str
    words: int
    medical: tuple[str, ...]
    tiers: tuple[tuple[str, Tier], ...]
    kinds: tuple[FindingKind, ...]


@cache
def sentences() -> tuple[Sentence, ...]:
    """The demo's sentences, lay and dictated."""
    groups = tomllib.loads(Path(base_model.__file__).with_name("sentences.toml").read_text())
    lexicon = default_lexicon()
    names, found = Names(lexicon.tiers), []
    texts = dict.fromkeys(t for prompts in groups.values() for p in prompts.values() for t in p)
    for text in filter(_is_lay, texts):
        said = normalize(text)
        tiers = [(one, tier) for tier, some in lexicon.find_tiers(said).items() for one in some]
        risk = at_risk(text, names) | {"omission", "addition"}
        kinds = tuple(kind for kind in KINDS if kind in risk and kind in FINDING)
        medical = tuple(lexicon.find(said))
        found.append(Sentence(text, len(said.split()), medical, tuple(tiers), kinds))
    return tuple(found)


def _is_lay(text: str) -> bool:
    """Whether a patient says it of himself, as in the PaulMooney recordings."""
    return bool({"i", "my", "me"} & set(normalize(text).split()))


@dataclass(frozen=True)
class Plan:
    """A test set's size and who speaks in it; the champion's rate and the challenger's gain."""

    utterances: int = 1019
    speakers: int = 124
    phrases: int = 105
    wer: float = 0.10
    lower: float = 0.015
    """True difference of WER, champion less challenger."""
    suits: tuple[float, float] = EVEN
    """By speaker and by phrase."""
    harm: float | None = None
    """Critical words: so many times as often wrong as the champion's; None: like all words."""
    runaways: float = 0.0
    """Share of the challenger's and the champion's utterances that run away, each its own."""


class TestSet:
    """Who says what, and what both models make of it."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan, self.rng = plan, rng
        count, pool = plan.utterances, sentences()
        self.speaker: Ints = np.resize(rng.permutation(plan.speakers), count)
        self.phrase: Ints = rng.permutation(np.resize(np.arange(plan.phrases), count))
        self.said = [
            pool[i] for i in rng.choice(len(pool), plan.phrases, replace=plan.phrases > len(pool))
        ]
        words = np.array([one.words for one in self.said])[self.phrase]
        medical = np.array([len(one.medical) for one in self.said])[self.phrase]
        raw = np.exp(self._of_blocks(SPREAD, SPREAD))
        self.rate: Floats = np.clip(plan.wer * raw / np.average(raw, weights=words), 0, 0.9)
        self.words, self.plain = words, np.maximum(words - medical, 0)
        self.shared = rng.binomial(self.plain, SHARED * self.rate)
        at = [
            (u, t, self.said[p].medical[t])
            for u, p in enumerate(self.phrase)
            for t in range(medical[u])
        ]
        self.term_at: Ints = np.array([u for u, _, _ in at], dtype=np.int64)
        self.terms = [term for _, _, term in at]
        self.term_luck = rng.random(len(at))
        risks = [(u, kind) for u, p in enumerate(self.phrase) for kind in self.said[p].kinds]
        self.risk_at: Ints = np.array([u for u, _ in risks], dtype=np.int64)
        self.risk_kind: Ints = np.array([KINDS.index(kind) for _, kind in risks], dtype=np.int64)
        self.risk_rate: Floats = np.array([FINDING[kind] for _, kind in risks])
        self.risk_luck = rng.random(len(risks))
        self.noise_db = 12 + 25 * rng.random(plan.speakers)

    def _of_blocks(self, speaker: float, phrase: float) -> Floats:
        one = self.rng.normal(0, speaker, self.plan.speakers)[self.speaker]
        return one + self.rng.normal(0, phrase, self.plan.phrases)[self.phrase]

    def model(self, lower: float = 0.0, harm: float | None = None) -> Heard:
        """What a model makes of it whose WER is `lower` less than the champion's."""
        plan, rng = self.plan, self.rng
        speaker, phrase = plan.suits
        suits = np.exp(self._of_blocks(speaker, phrase) - (speaker**2 + phrase**2) / 2)
        own = (1 - SHARED) * self.rate * suits * (1 - lower / ((1 - SHARED) * plan.wer))
        errors = self.shared + rng.binomial(self.plain, np.clip(own, 0, 1))
        if plan.runaways:
            errors = errors + rng.binomial(1, plan.runaways, len(errors)) * rng.integers(
                60, 200, len(errors)
            )
        both = SHARED * self.rate
        critical = own if harm is None else np.maximum(harm * self.rate - both, 0) * suits
        wrong = _unlucky(self.term_luck, both[self.term_at], critical[self.term_at], rng)
        findings = _unlucky(
            self.risk_luck,
            (self.risk_rate * both[self.risk_at]),
            self.risk_rate * critical[self.risk_at],
            rng,
        )
        return Heard(errors, wrong, findings)


@dataclass(frozen=True)
class Heard:
    """One model's errors."""

    errors: Ints
    """Among the words that are no medical terms, of each utterance."""
    wrong: npt.NDArray[np.bool_]
    """Which medical terms are wrong."""
    findings: npt.NDArray[np.bool_]
    """Which of the kinds at risk have a finding."""


def _unlucky(luck: Floats, both: Floats, own: Floats, rng: np.random.Generator) -> Any:
    """Wrong for all models where the place's own luck is bad, else by the model's own."""
    return (luck < both) | (rng.random(len(luck)) < np.clip(own, 0, 1))


def contest(
    world: TestSet,
    champion: Heard,
    challenger: Heard,
    policy: GatePolicy,
    standing: Standing = FIRST_LOOK,
) -> Contest:
    """Both as the gate sees them; texts, terms and findings are filled in from the counts."""
    pair = Pair.model_construct(champion=champion, challenger=challenger)
    sides = [
        _evaluation(world, one, name)
        for name, one in (("champion", champion), ("challenger", challenger))
    ]
    made = Contest(sides[0], sides[1], policy, standing)
    vars(made)["terms"] = _terms(world, champion, challenger)
    vars(made)["safety"] = _safety(world, pair.champion, pair.challenger, made.champion_rows)
    return made


def _evaluation(world: TestSet, heard: Heard, name: str) -> Evaluation:
    """Rows of counts without texts, and the report that sums them up."""
    medical = np.bincount(world.term_at[heard.wrong], minlength=len(world.words))
    tiers: list[dict[Tier, list[int]]] = [defaultdict(lambda: [0, 0]) for _ in world.words]
    known = {t: tier for one in world.said for t, tier in one.tiers}
    for at, term, wrong in zip(world.term_at, world.terms, heard.wrong, strict=True):
        if tier := known.get(term):
            tiers[at][tier][int(wrong)] += 1
    rows = []
    for u, p in enumerate(world.phrase.tolist()):
        said = world.said[p]
        size, errors = len(said.medical), int(heard.errors[u])
        bad = int(medical[u])
        plain = min(errors, int(world.plain[u]))
        rows.append(
            Row(
                id=f"u{u:05d}", reference=said.text, hypothesis="", duration_s=0.4 * said.words,
                speaker=f"s{world.speaker[u]}", prompt=f"p{p % 12}", phrase=str(p),
                sampling_rate_hz=(16_000, 44_100)[world.speaker[u] % 2],
                snr_db=float(world.noise_db[world.speaker[u]]), tokens=1, runaway=False, raw=NONE,
                words=_counts(said.words, plain + bad, errors - plain),
                characters=NONE, medical=_counts(size, bad),
                tiers={tier: _counts(sum(n), n[1]) for tier, n in tiers[u].items()},
            )
        )  # fmt: skip
    words, terms = (_sum([getattr(row, what) for row in rows]) for what in ("words", "medical"))
    report = EvaluationReport.model_construct(
        model=ModelRef(name=name, model_digest="0" * 64), test_set_digest="0" * 64, words=words,
        medical=terms, probes={}, latency_p50_s=0.0, utterances=len(rows), rows=NOWHERE,
        runaways=0, repetitions=0,
    )  # fmt: skip
    return Evaluation(report, tuple(rows))


@lru_cache(maxsize=4096)
def _counts(words: int, wrong: int, inserted: int = 0) -> Counts:
    wrong = min(wrong, words)
    return Counts.model_construct(
        hits=words - wrong, substitutions=wrong, deletions=0, insertions=inserted
    )


def _sum(found: list[Counts]) -> Counts:
    return Counts.model_construct(
        **{part: sum(getattr(one, part) for one in found) for part in Counts.model_fields}
    )


def _terms(world: TestSet, champion: Heard, challenger: Heard) -> list[TermChange]:
    tiers = {t: tier for one in world.said for t, tier in one.tiers}
    places: dict[str, list[int]] = defaultdict(list)
    for number, term in enumerate(world.terms):
        places[term].append(number)
    return [
        TermChange(
            term=term, tier=tiers.get(term), occurrences=len(at),
            champion=int((~champion.wrong[at]).sum()),
            challenger=int((~challenger.wrong[at]).sum()),
            new=tuple(str(i) for i in at if challenger.wrong[i] and not champion.wrong[i]),
            fixed=tuple(str(i) for i in at if champion.wrong[i] and not challenger.wrong[i]),
        )
        for term, at in places.items()
    ]  # fmt: skip


def _safety(world: TestSet, champion: Heard, challenger: Heard, rows: list[Row]) -> Safety:
    changes = []
    for number, kind in enumerate(KINDS):
        of_kind = world.risk_kind == number
        at = world.risk_at[of_kind]
        before, after = champion.findings[of_kind], challenger.findings[of_kind]
        changes.append(_change(kind, at, before, after, rows))
    size = len(rows)
    before = np.bincount(world.risk_at[champion.findings], minlength=size)
    after = np.bincount(world.risk_at[challenger.findings], minlength=size)
    net = np.sign(after - before)
    pooled = _change(None, np.arange(size), before > 0, after > 0, rows)
    views = {name: list(labels) for name, labels in block_views(rows).items()}
    changed = Changes(net.astype(np.float64), views, int((before > 0).sum()))
    pooled = replace(pooled, changes=changed)
    return Safety(tuple(changes), pooled, (), Pair(champion=0, challenger=0))


def _change(
    kind: FindingKind | None, at: Ints, before: Any, after: Any, rows: list[Row]
) -> SafetyChange:
    net = after.astype(np.float64) - before.astype(np.float64)
    views = block_views([rows[i] for i in at.tolist()])
    new, fixed = (tuple(str(i) for i in at[net == sign].tolist()) for sign in (1, -1))
    return SafetyChange(
        kind=kind, severity=SEVERITY[kind] if kind else "treatment", at_risk=len(at), new=new,
        fixed=fixed, champion=int(before.sum()), challenger=int(after.sum()), unread=0,
        changes=Changes(net, views, int(before.sum())),
    )  # fmt: skip


assert TIERS
