"""No form of a secret survives."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool_worker.errors import ConfigError
from workerpool_worker.redaction import Redactor, password_source


@given(st.text(min_size=4), st.text(), st.text())
def test_a_secret_is_gone_from_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.add(secret)
    assert secret not in redactor(before + secret + after) or secret in "******"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at redis://u:p@host:6379/0 now", "at redis://***@host:6379/0 now"),
        ("amqps://u:p%2F@h/v", "amqps://***@h/v"),
        ("mail a@b.example of redis://host", "mail a@b.example of redis://host"),
        ("p%20w and p w", "*** and ***"),
    ],
)
def test_logins_of_urls_and_encoded_secrets_are_replaced(text: str, expected: str) -> None:
    redactor = Redactor()
    redactor.add("p w")
    assert redactor(text) == expected


def test_a_password_file_is_read_each_time_and_learnt(tmp_path: Path) -> None:
    redactor, file = Redactor(), tmp_path / "password"
    current = password_source(None, file, redactor)
    for password in ("first-one", "second-one"):
        file.write_text(f"{password}\n")
        assert current() == password
    assert redactor("first-one second-one") == "*** ***"
    file.unlink()
    with pytest.raises(ConfigError, match="password file"):
        current()
