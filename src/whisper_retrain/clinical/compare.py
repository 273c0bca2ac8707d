"""Two texts compared as a clinician would: what of weight the second says otherwise.

The views are aligned word by word (jiwer's alignment), so that an exchange within a sentence is
seen: "left knee, right hip" holds the same words as "right knee, left hip". What only moved with
all that belongs to it is no finding.
"""

from __future__ import annotations

from whisper_retrain.clinical.alignment import Side, aligned, same_letters
from whisper_retrain.clinical.facts import fact_findings
from whisper_retrain.clinical.findings import Finding
from whisper_retrain.clinical.negations import negation_findings, reply_findings
from whisper_retrain.clinical.words import Names, passage_findings, word_findings
from whisper_retrain.errors import InputError

LANGUAGES = frozenset({"en"})


def find_harm(
    reference: str, hypothesis: str, names: Names, language: str = "en"
) -> tuple[Finding, ...]:
    """What the hypothesis says otherwise that a clinician would act or think otherwise upon.

    `names` tells drugs and other medical terms. Raises InputError for a language without a view.
    """
    if language not in LANGUAGES:
        raise InputError(
            "no clinical view of this language",
            where="language",
            expected=", ".join(sorted(LANGUAGES)),
            got=language,
            remedy="waive the safety rules by name in the policy, or write a view",
        )
    said, written = Side.of(reference), Side.of(hypothesis)
    if said.tokens == written.tokens:
        return ()
    matches, regions = aligned(said, written)
    regions = [one for one in regions if not same_letters(one, said, written)]
    found = [
        *negation_findings(said, written, matches, regions),
        *reply_findings(said, written, regions),
    ]
    found += fact_findings(said, written, regions, names)
    for one in regions:
        lost = [said.tokens[at] for at in one.reference]
        added = [written.tokens[at] for at in one.hypothesis]
        found += word_findings(lost, added, names)
        found += passage_findings(lost, added)
    return tuple(dict.fromkeys(found))
