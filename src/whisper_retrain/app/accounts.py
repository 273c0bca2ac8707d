"""Who may do what: accounts in a file, passwords as Argon2id hashes (RFC 9106).

    [ada]
    role = "reviewer"
    password = "$argon2id$..."

A listener may try the champion, an author may also correct, a reviewer also accepts, and sees the
reports, which hold references of the test set. Bound to loopback the app needs no accounts:
whoever sits there is a reviewer.
"""

from __future__ import annotations

import os
import re
import threading
import time
import tomllib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from whisper_retrain.app.corrections import Role
from whisper_retrain.errors import InputError
from whisper_retrain.whole import write_whole

ROLES: tuple[Role, ...] = get_args(Role)
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
SHORTEST_PASSWORD = 12
FAILURES = 5
PAUSE_S = 60.0
"""So long a name is locked after so many wrong passwords."""


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in."""

    name: str
    """Of the account."""
    role: Role
    """What the person may do."""

    def may(self, role: Role) -> bool:
        """Whether the person has this role or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


LOCAL = Person("local", "reviewer")
"""Whoever sits at a machine that the app is bound to by loopback alone."""


class Accounts:
    """The accounts of a file; a change of the file counts at once."""

    def __init__(self, path: Path) -> None:
        from argon2 import PasswordHasher

        self._path = path
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(os.urandom(16).hex())
        self._failures: defaultdict[str, list[float]] = defaultdict(list)
        self._lock = threading.Lock()
        read_accounts(path)

    def person(self, name: str) -> Person | None:
        """An account as it is now."""
        account = read_accounts(self._path).get(name)
        # read_accounts lets no other word pass for a role.
        return Person(name, cast(Role, account["role"])) if account else None

    def sign_in(self, name: str, password: str) -> Person | None:
        """The person, if the password is right; an unknown name takes as long as a wrong one.

        Raises InputError while a name is locked.
        """
        from argon2.exceptions import Argon2Error, InvalidHashError

        self._refuse_if_locked(name)
        account = read_accounts(self._path).get(name)
        try:
            self._hasher.verify(account["password"] if account else self._nobody, password)
        except (Argon2Error, InvalidHashError):
            with self._lock:
                self._failures[name].append(time.monotonic())
            return None
        with self._lock:
            self._failures.pop(name, None)
        return self.person(name)

    def _refuse_if_locked(self, name: str) -> None:
        with self._lock:
            since = time.monotonic() - PAUSE_S
            recent = [at for at in self._failures.pop(name, ()) if at > since]
            if recent:
                self._failures[name] = recent
        if len(recent) >= FAILURES:
            raise InputError(
                "too many wrong passwords", remedy=f"wait {PAUSE_S:.0f} s and try again"
            )


def read_accounts(path: Path) -> dict[str, dict[str, str]]:
    """Name -> role and password hash; raises InputError for a file that makes no sense."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            "no such file of accounts",
            where=str(path),
            remedy="make one with `whisper-retrain app account NAME --role reviewer`",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError("the accounts are no TOML", where=str(path), got=str(error)) from error
    for name, account in found.items():
        if (
            not NAME.fullmatch(name)
            or not isinstance(account, dict)
            or account.get("role") not in ROLES
            or not str(account.get("password", "")).startswith("$argon2id$")
        ):
            raise InputError(
                "an account makes no sense",
                where=f"{path}, {name}",
                expected=f"a role ({', '.join(ROLES)}) and an Argon2id hash",
                remedy="make it with `whisper-retrain app account`",
            )
    return found


def save_account(path: Path, name: str, role: Role, password: str) -> None:
    """Add an account or change it; the file is readable by its owner only."""
    from argon2 import PasswordHasher

    if not NAME.fullmatch(name) or name == LOCAL.name:
        raise InputError(
            "no good name for an account",
            expected="up to 32 lower-case letters, digits, - and _, other than 'local'",
            got=repr(name),
        )
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(
            "the password is too short", expected=f"{SHORTEST_PASSWORD} characters or more"
        )
    accounts = read_accounts(path) if path.exists() else {}
    accounts[name] = {"role": role, "password": PasswordHasher().hash(password)}
    text = "\n".join(
        f'[{one}]\nrole = "{account["role"]}"\npassword = "{account["password"]}"\n'
        for one, account in sorted(accounts.items())
    )
    write_whole(path, text, private=True)
