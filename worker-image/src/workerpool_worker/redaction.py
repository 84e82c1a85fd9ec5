"""Keeps secrets out of logs, dead letters and error messages.

In: the secrets in use, and texts from anywhere. Out: the same texts with secrets and URL credentials replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from workerpool_worker.errors import ConfigError

_URL_LOGIN = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@]*@")
_MASK = "***"


class Redactor:
    """Replaces every secret that it knows, and the user part of every URL."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def add(self, secret: str) -> None:
        """Learn a secret, in its plain and its percent-encoded form."""
        if secret:
            self._secrets |= {secret, quote(secret, safe="")}

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        text = _URL_LOGIN.sub(rf"\1{_MASK}@", text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        return text


def password_source(value: str | None, file: Path | None, redactor: Redactor) -> Callable[[], str | None]:
    """Return a function that gives the password of now; a file is read at every call, so it may rotate.

    Raises (by the returned function):
        ConfigError: The file cannot be read.
    """

    def current() -> str | None:
        password = value
        if file is not None:
            try:
                password = file.read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"password file {file}: {error}: mount it, or mend its path") from error
        if password is not None:
            redactor.add(password)
        return password

    return current
