"""Several models from one retraining, compared on the validation split; the best is returned."""

from __future__ import annotations

from prefect import flow

from flows.fine_tuning import fine_tuning, is_trained
from flows.placement import placed
from flows.stages import stage
from flows.transcription import scored
from tasks.candidates import (
    Challenger,
    Made,
    Validation,
    average,
    choose_candidate,
    count_validation,
    find_start,
    publish_candidates_note,
)
from tasks.gating import plan
from whisper_retrain.config import CandidatesConfig, DecodingConfig, ReleaseConfig, TrainingConfig
from whisper_retrain.gate.policy import GatePolicy
from whisper_retrain.records import (
    Checkpoint,
    DatasetRevision,
    EvaluationReport,
    ModelRef,
    TrainingRun,
)
from whisper_retrain.training.candidates import (
    BASE,
    CHAMPION,
    Candidate,
    planned_candidates,
)
from whisper_retrain.training.job import WarmStart
from whisper_retrain.training.merging import MergeJob, MergePart, merged_run


def challenger_of(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    release: ReleaseConfig,
    wanted: CandidatesConfig,
    training: TrainingConfig,
    decoding: DecodingConfig,
    policy: GatePolicy,
) -> Challenger:
    """One cold training; or, where more is wanted, the best of several candidates."""
    if wanted.is_one:
        train = placed(fine_tuning, is_trained)
        return Challenger(run=train(dataset, base_repo, base_revision, training, decoding))
    return candidates(
        dataset, base_repo, base_revision, release, wanted, training, decoding, policy
    )


@flow(name="candidates", flow_run_name="candidates-for-{release.repo}")
@stage("candidates")
def candidates(
    dataset: DatasetRevision,
    base_repo: str,
    base_revision: str,
    release: ReleaseConfig,
    wanted: CandidatesConfig,
    training: TrainingConfig,
    decoding: DecodingConfig,
    policy: GatePolicy,
) -> Challenger:
    """Make the candidates and choose the one that the gate is to judge.

    Args:
        dataset: What is trained on; its validation split is what the choice rests on.
        base_repo: Hub repo of the base model.
        base_revision: Its commit, 40 hex digits.
        release: Where the champion is published.
        wanted: Which candidates.
        training: How to fine-tune.
        decoding: How the model's users decode.
        policy: For its own terms, and the bootstrap of the comparison.
    """
    validation, start = count_validation(dataset, decoding, policy), find_start(release)
    origin = start.base_model if start else None
    planned = planned_candidates(
        wanted,
        training,
        validation_words=validation.words,
        has_champion=start is not None,
        same_base=origin is not None
        and (origin.repo, origin.revision) == (base_repo, base_revision),
    )
    runs: dict[str, TrainingRun] = {}
    for one in planned:
        if one.config:
            warm = start if one.kind == "warm" else None
            runs[one.name] = placed(fine_tuning, is_trained)(
                dataset, base_repo, base_revision, one.config, decoding, warm
            )
    if len(planned) == 1:
        return Challenger(run=runs[planned[0].name])
    trained = dict(runs)
    for one in planned:
        if one.parts:
            runs[one.name] = merging(one, _job(one, trained, start), trained[one.first], validation)
    champion = score_on(CHAMPION, start.champion, None, validation) if start else None
    made = [_made(one, runs[one.name], trained, validation) for one in planned]
    choice = choose_candidate(made, champion, policy)
    publish_candidates_note(choice)
    return Challenger(
        run=runs[choice.winner] if choice.winner else None,
        champion_revision=start.champion.revision if start else None,
        choice=choice,
    )


@flow(name="merge", flow_run_name="{candidate.name}")
@stage("merge")
def merging(
    candidate: Candidate, job: MergeJob, first: TrainingRun, validation: Validation
) -> TrainingRun:
    """Average models that were trained before, and see what that makes of the validation split.

    Args:
        candidate: What it is called.
        job: The models and their shares.
        first: The training of the first of them.
        validation: What it is compared on.
    """
    checkpoint = average(candidate.name, job)
    report = score_on(candidate.name, _model(candidate.name, checkpoint), checkpoint, validation)
    return merged_run(job, first, checkpoint, report.words.error_rate)


def _job(
    candidate: Candidate, trained: dict[str, TrainingRun], start: WarmStart | None
) -> MergeJob:
    """The models of a merge by name: trainings of this retraining, the champion, the base model."""
    before = {BASE: trained[candidate.first].base_model}
    before |= {CHAMPION: start.champion} if start else {}
    parts = []
    for name, share in candidate.parts.items():
        checkpoint = trained[name].checkpoint if name in trained else None
        model = _model(name, checkpoint) if checkpoint else before[name]
        parts.append(MergePart(model=model, share=share, checkpoint=checkpoint))
    return MergeJob(parts=tuple(parts))


def _made(
    candidate: Candidate,
    run: TrainingRun,
    trained: dict[str, TrainingRun],
    validation: Validation,
) -> Made:
    needed = [trained[name] for name in candidate.parts or [candidate.name] if name in trained]
    model = _model(candidate.name, run.checkpoint)
    return Made(
        candidate=candidate,
        report=score_on(candidate.name, model, run.checkpoint, validation),
        training_s=sum(one.duration_s for one in needed),
    )


def _model(name: str, checkpoint: Checkpoint) -> ModelRef:
    return ModelRef(name=name, model_digest=checkpoint.model_digest)


def score_on(
    role: str, model: ModelRef, checkpoint: Checkpoint | None, validation: Validation
) -> EvaluationReport:
    """What a model makes of the validation split; the same model costs nothing again."""
    policy, dataset = validation.policy, validation.dataset
    job = plan(model, validation.split_digest, validation.decoding, policy, probed=False)
    return scored(role, job, dataset, policy, checkpoint, "validation")
