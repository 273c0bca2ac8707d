"""The rules about single errors that matter: safety findings, broken terms, hallucination; pure."""

from __future__ import annotations

from whisper_retrain.clinical import LANGUAGES
from whisper_retrain.evaluation.probes import NOISES
from whisper_retrain.gate.contest import Contest
from whisper_retrain.gate.paired import holm, sign_test
from whisper_retrain.gate.safety import SafetyChange
from whisper_retrain.gate.terms import HIGH_RISK, TermChange
from whisper_retrain.gate.wording import listing
from whisper_retrain.records import MadeUp, Pair, ProbeResult, RuleOutcome, RuleVerdict

WEIGHT = {"treatment": "treatment", "meaning": "meaning", "notable": "nothing of weight"}
"""What a finding of a severity changes."""
KIND_INCREASE = 0.5
"""Share of one kind of probe newly hallucinated that is enough to ask a person."""
SHOWN_PROBES = 3
"""What was newly written is told of so many."""


Probes = dict[str, ProbeResult]
"""Kind of probe -> what was made up."""


def safety(contest: Contest) -> list[RuleOutcome]:
    """Clinical findings, of all kinds together and of each kind: not surely more, or surely not.

    A language without a clinical view is inconclusive, unless the policy waives the rule by name.
    """
    if contest.safety is None:
        return [_no_view(contest)]
    kinds = [one for one in contest.safety.changes if one.at_risk or one.new or one.fixed]
    told = [one for one in kinds if one.severity == "notable"]
    deciding = [one for one in kinds if one.severity != "notable"]
    alpha = contest.policy.guard_alpha
    surely = holm([one.changes.by_chance for one in deciding], alpha)
    anywhere = holm([one.changes.by_blocks for one in deciding], alpha)
    pooled = contest.safety.pooled
    proven = [pooled.changes.by_chance <= alpha, pooled.changes.by_blocks <= alpha]
    return [
        _safety_rule(pooled, contest, *proven),
        *(
            _safety_rule(one, contest, *found)
            for *found, one in zip(surely, anywhere, deciding, strict=True)
        ),
        *(_safety_rule(one, contest, False, False) for one in told),
    ]


def _no_view(contest: Contest) -> RuleOutcome:
    waived = "safety" in contest.policy.waived
    return RuleOutcome(
        rule="safety",
        outcome="info" if waived else "inconclusive",
        figure=None,
        bound=None,
        reason=f"there is no clinical view of the language {contest.language!r}"
        f" ({', '.join(sorted(LANGUAGES))}): nothing is seen of doses, sides, negations;"
        f" {'waived by' if waived else 'to go on without, name `safety` in `waived` of'}"
        " the policy",
    )


def _safety_rule(
    change: SafetyChange, contest: Contest, by_chance: bool, by_blocks: bool
) -> RuleOutcome:
    """`by_chance`, `by_blocks`: whether chance, and bad luck with speakers or phrases, explain it.

    Harm that is proven fails where it holds for other speakers and phrases too, and leaves the
    champion in place where it may be these alone. Where the champion has findings enough to ask
    for more, the absence of harm must be proven.
    """
    policy, changes = contest.policy, change.changes
    allowed = max(
        1.0, policy.safety_share * change.at_risk, policy.harm_ratio * changes.wrong_before
    )
    large = changes.wrong_before >= policy.min_findings
    most = changes.most(contest.guard_alpha) if contest.guard_alpha else float("inf")
    outcome: RuleVerdict = "pass"
    if change.severity == "notable":
        outcome = "info"
    elif by_blocks:
        outcome = "fail"
    elif by_chance or (large and most >= allowed):
        outcome = "inconclusive"
    name = f"safety-{change.kind}" if change.kind else "safety-all"
    return RuleOutcome(
        rule=name,
        outcome=outcome,
        figure=changes.more,
        bound=allowed if large else None,
        probability=changes.by_chance,
        utterances=change.new,
        reason=_safety_reason(change, allowed if large else None, most),
    )


def _safety_reason(change: SafetyChange, allowed: float | None, most: float) -> str:
    what = (
        f"{change.kind} (changes {WEIGHT[change.severity]})"
        if change.kind
        else "all kinds together, each utterance once"
    )
    found = (
        f"{what}: {change.champion} utterances wrong under the champion, {change.challenger} under"
        f" the challenger; {len(change.new)} newly wrong, {len(change.fixed)} put right"
    )
    if change.unread:
        found += f", {change.unread} more where the champion's text cannot be read"
    if change.severity == "notable":
        return found
    chance = f"as many by chance alone: {change.changes.by_chance:.2%}"
    if allowed is None:
        return f"{found} ({chance}; too few to prove the absence of harm)"
    return f"{found} ({chance}; surely at most {most:+.0f}, allowed {allowed:.0f})"


def newly_broken(contest: Contest) -> list[RuleOutcome]:
    """High-risk terms that the champion got right and the challenger does not, beyond chance."""
    policy = contest.policy
    watched = [
        change
        for change in contest.terms
        if change.tier in HIGH_RISK and change.occurrences >= policy.min_term_occurrences
    ]
    surely = holm([_chance(change) for change in watched], policy.guard_alpha)
    broken = [change for change, proven in zip(watched, surely, strict=True) if proven]
    named = [f"{c.term} ({c.champion} -> {c.challenger} of {c.occurrences})" for c in broken]
    return [
        RuleOutcome(
            rule="newly-broken-terms",
            outcome="fail" if broken else "pass",
            figure=len(broken),
            bound=0,
            utterances=tuple(row for change in broken for row in change.new),
            reason=f"of {len(watched)} drugs and diagnoses said at least"
            f" {policy.min_term_occurrences} times, newly broken beyond chance, corrected for their"
            f" number: {listing(named) or 'none'}",
        )
    ]


def _chance(change: TermChange) -> float:
    return sign_test(len(change.new), len(change.fixed))


def hallucination(contest: Contest) -> list[RuleOutcome]:
    """On the probes, neither text nor loops newly where nothing is said, beyond chance."""
    probes: Pair[Probes] = Pair(
        champion=contest.champion.report.probes, challenger=contest.challenger.report.probes
    )
    if missing := _missing(probes):
        return [
            RuleOutcome(
                rule="hallucination",
                outcome="inconclusive",
                figure=None,
                bound=None,
                reason=f"{missing}: what a model writes where nothing is said is not known;"
                " evaluate both models with probes",
            )
        ]
    return [_probe_rule("hallucination", contest, probes), *_loops(contest, probes)]


def _missing(probes: Pair[Probes]) -> str:
    """What keeps the probes from being compared; empty where nothing does."""
    for side, found in (("champion", probes.champion), ("challenger", probes.challenger)):
        if not any(one.utterances for one in found.values()):
            return f"the {side} was given no probes"
    for kind in sorted(probes.champion.keys() | probes.challenger.keys()):
        pair = [found.get(kind) for found in (probes.champion, probes.challenger)]
        counts = [one.utterances if one else 0 for one in pair]
        if counts[0] != counts[1] or not counts[0]:
            return (
                f"probes of the kind {kind!r}: {counts[0]} for the champion, {counts[1]}"
                " for the challenger"
            )
    return ""


def _loops(contest: Contest, probes: Pair[Probes]) -> list[RuleOutcome]:
    known = all(one.made_up is not None for one in probes.champion.values())
    return [_probe_rule("hallucination-loops", contest, probes, loops=True)] if known else []


def _probe_rule(
    name: str, contest: Contest, probes: Pair[Probes], *, loops: bool = False
) -> RuleOutcome:
    """Pairs of the same probe; a fail is proven, more than the margin is inconclusive."""
    policy = contest.policy
    new, fixed, told = _probe_changes(probes, loops)
    count = sum(one.utterances for one in probes.challenger.values())
    allowed = max(1.0, policy.probe_margin * count)
    chance = sign_test(new, fixed)
    kinds = [] if loops else _taken_over(probes)
    surely = chance <= policy.guard_alpha and new - fixed > 1
    unsure = kinds or new - fixed > allowed
    said = "; ".join(told[:SHOWN_PROBES])
    what = "loops where nothing was said" if loops else "text where nothing was said"
    of_kind = f"; now on most probes of {listing(kinds)}" if kinds else ""
    return RuleOutcome(
        rule=name,
        outcome="fail" if surely else "inconclusive" if unsure else "pass",
        figure=new - fixed,
        bound=allowed,
        probability=chance,
        reason=f"{what}: newly on {new} of {count} probes, no longer on {fixed} (as many by chance"
        f" alone: {chance:.1%}){of_kind}; written there: {said or 'nothing'}",
    )


def _probe_changes(probes: Pair[Probes], loops: bool) -> tuple[int, int, list[str]]:
    """Probes newly and no longer hallucinated on, and what was newly written, in words.

    An earlier version kept how many of each kind: then as few changes as explain them.
    """
    new = fixed = 0
    told: list[str] = []
    for kind, after in probes.challenger.items():
        before = probes.champion[kind]
        if before.made_up is None or after.made_up is None:
            more = after.hallucinated - before.hallucinated
            new, fixed = new + max(0, more), fixed + max(0, -more)
            continue
        sides = [
            {one.probe: one for one in side.made_up or () if one.loop or not loops}
            for side in (before, after)
        ]
        newly = sorted(sides[1].keys() - sides[0].keys())
        new, fixed = new + len(newly), fixed + len(sides[0].keys() - sides[1].keys())
        told += [f"{kind}: {_written(kind, sides[1][place])}" for place in newly]
    return new, fixed, told


def _written(kind: str, made: MadeUp) -> str:
    """The text, where no voice of the test set is in the probe: reasons are sent to people."""
    return f"“{made.text}”" if kind in NOISES else f"{made.words} words"


def _taken_over(probes: Pair[Probes]) -> list[str]:
    """Kinds of probes on so many more of which the challenger writes, that chance is no matter."""
    return [
        kind
        for kind, after in sorted(probes.challenger.items())
        if (after.hallucinated - probes.champion[kind].hallucinated) / after.utterances
        >= KIND_INCREASE
    ]
