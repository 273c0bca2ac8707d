"""Publishes a drop of the demo corpus as a dataset repo on a Hub, as its owner would.

One commit for each drop, none when nothing has changed. Knows nothing of how the drop was made.
The Hub client reads HF_HUB_DISABLE_XET at its first import; where the Hub is the loopback one,
it must have been set before.
"""

from pathlib import Path

from whisper_retrain.local.demo.corpus import FEATURES, SPLITS

CARD = """\
---
pretty_name: {title}
language:
- en
task_categories:
- automatic-speech-recognition
configs:
- config_name: default
  data_files:
{data_files}
dataset_info:
  features:
{features}
---
# {title}

Synthetic speech: sentences written for whisper-retrain, spoken by eSpeak NG and by the Piper voice
en_US-joe-medium, with noise added. No real person speaks, and no patient, dose or drug is meant.
The columns are those of `yashtiwari/PaulMooney-Medical-ASR-Data`; the names of the splits mean
nothing. **Not for clinical use.**
"""


def publish_corpus(
    endpoint: str,
    token: str,
    repo_id: str,
    directory: Path,
    *,
    title: str = "Demo of medical speech",
) -> str:
    """Upload the parquet files of a directory under data/, and return the repo's revision.

    The repo is created if it is missing; files of other drops stay. What is there already with the
    same content is not sent again, and then there is no new commit.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi(endpoint=endpoint, token=token)
    hub.create_repo(repo_id, repo_type="dataset", exist_ok=True)
    files = {f"data/{path.name}": path for path in sorted(directory.glob("*.parquet"))}
    present = {
        name.split("-")[0]
        for name in (*hub.list_repo_files(repo_id, repo_type="dataset"), *files)
        if name.endswith(".parquet")
    }
    splits = [split for split in SPLITS if f"data/{split}" in present]
    operations = [CommitOperationAdd("README.md", dataset_card(title, splits).encode())]
    operations += [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    message = f"Add {', '.join(files)}"
    commit = hub.create_commit(repo_id, operations, commit_message=message, repo_type="dataset")
    return str(commit.oid)


def dataset_card(title: str, splits: list[str]) -> str:
    """README.md whose front matter tells `datasets` the files of each split and the columns."""
    data_files = [f"  - split: {split}\n    path: data/{split}-*" for split in splits]
    features = [
        f"  - name: {name}\n    dtype: {feature.get('dtype', 'audio')}"
        for name, feature in FEATURES.items()
    ]
    return CARD.format(title=title, data_files="\n".join(data_files), features="\n".join(features))
