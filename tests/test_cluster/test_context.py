"""What a build can see is what Docker's rules for `.dockerignore` say, and nothing else changes its digest."""

from pathlib import Path

import pytest

from tests.cluster.context import context_digest, ignore_file, ignored, parse


@pytest.mark.parametrize(
    ("rules", "path", "out"),
    [
        ("", "a/b.py", False),
        ("a", "a/b.py", True),
        ("/a", "a/b.py", True),
        ("b.py", "a/b.py", False),
        ("**/b.py", "a/b.py", True),
        ("**/b.py", "b.py", True),
        ("*.py", "b.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "a/c/b.py", True),
        ("a/**", "a/c/b.py", True),
        ("?.py", "b.py", True),
        ("[a-c].py", "b.py", True),
        ("*\n!a", "a/b.py", False),
        ("*\n!a/c", "a/b.py", True),
        ("*\n!a/c", "a/c/b.py", False),
        ("*\n!a\n**/b.py", "a/b.py", True),
        ("# a", "a", False),
        ("a/", "a/b.py", True),
    ],
)
def test_the_last_matching_rule_decides(rules: str, path: str, out: bool) -> None:
    assert ignored(path, parse(rules)) is out


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".dockerignore").write_text("*\n!src\n")
    return tmp_path


def test_the_digest_changes_with_what_is_seen(context: Path) -> None:
    seen = {context_digest(context / "Dockerfile", context)}
    (context / "src" / "a.py").write_text("b")
    seen.add(context_digest(context / "Dockerfile", context))
    (context / "src" / "a.py").chmod(0o755)
    seen.add(context_digest(context / "Dockerfile", context))
    (context / "src" / "link").symlink_to("a.py")
    seen.add(context_digest(context / "Dockerfile", context))
    (context / "Dockerfile").write_text("FROM debian\n")
    seen.add(context_digest(context / "Dockerfile", context))

    assert len(seen) == 5


def test_the_digest_does_not_change_with_what_is_ignored(context: Path) -> None:
    before = context_digest(context / "Dockerfile", context)
    (context / "notes.txt").write_text("")
    (context / ".git").mkdir()
    (context / ".git" / "HEAD").write_text("")

    assert context_digest(context / "Dockerfile", context) == before


def test_a_dockerfile_may_have_an_ignore_file_of_its_own(context: Path) -> None:
    own = context / "Dockerfile.dockerignore"
    assert ignore_file(context / "Dockerfile", context) == context / ".dockerignore"
    own.write_text("")
    assert ignore_file(context / "Dockerfile", context) == own
