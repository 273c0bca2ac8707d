"""A small loopback Hub server: the part of the Hub's HTTP protocol that this project uses.

It speaks to `huggingface_hub`, `datasets` and `transformers` as huggingface.co does, over bare git
repositories (dulwich) with large files stored by sha256 beside them. It exists so that the whole
chain, promotion included, can run on one machine; with `HF_ENDPOINT` unset the same code talks to
huggingface.co. It knows nothing of Whisper, Prefect or the rest of the library.

    python -m loopback_hub --data DIR --port PORT --tokens FILE

What is stored, all below DIR:

    secret                                signs upload URLs, so that they outlive a restart
    lock                                  held while a server runs: one server per folder
    tmp/                                  everything unfinished; emptied at start
    models|datasets/NS/NAME.git/          a bare git repository
        hub.json                          visibility, gating, date of creation
        lfs/AB/CD/SHA256                  large files, put there by one rename after the digest held

Deliberately unsupported (the client is told so, or never asks when it isn't offered):

- Xet storage: clients set `HF_HUB_DISABLE_XET=1` before importing `huggingface_hub`;
- multipart LFS uploads: only the `basic` transfer is offered, and a file is one PUT of any size;
- git over HTTP (clone, push) and LFS downloads by git-lfs: use the client, or the folder itself;
- pull requests, discussions, Spaces, collections, webhooks, likes, download counts, search;
- renaming, duplicating and squashing a repository; copying LFS files between repositories;
- granting access to a gated repository: only members of its namespace read it;
- rate limits, quotas, malware scans, and any account that isn't in the tokens file, which is read
  once, at start;
- checks of a card's metadata beyond the form of the fields that `cards.py` names;
- names that differ only in case: here they are different repositories.
"""

__version__ = "0.1.0"
