"""Real mails over a socket: what arrives, what is refused for good, what is tried again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.smtp import SMTPServer
from tests.worker.jobs.running import Performer
from workerpool_worker.errors import PermanentError, TemporaryError
from workerpool_worker.jobs.email import message_id, parse_address
from workerpool_worker.jobs.mail_server import MailServer

pytestmark = pytest.mark.servers


@pytest.fixture
def perform(storage: Path, smtp_server: SMTPServer) -> Performer:
    server = MailServer(
        url=smtp_server.url, password=lambda: None, tls="auto", timeout_seconds=5, sender="noreply@example.test"
    )
    return Performer(
        storage,
        mail_server=server,
        fields={"kind": "email.send", "to": ["to@example.test"], "subject": "s", "text": "t"},
    )


def with_server(perform: Performer, **changes: object) -> Performer:
    assert perform.mail_server is not None
    return dataclasses.replace(perform, mail_server=dataclasses.replace(perform.mail_server, **changes))  # type: ignore[arg-type]


async def test_a_full_mail_arrives(perform: Performer, smtp_server: SMTPServer, storage: Path) -> None:
    (storage / "a.pdf").write_bytes(b"%PDF \xff")
    await perform(
        to=["Ann Ä <ann@example.test>", "bob@example.test"],
        cc=["cc@example.test"],
        bcc=["bcc@example.test"],
        from_="Shop <shop@example.test>",
        replyTo="help@example.test",
        subject="Grüße",
        text="plain ü",
        html="<p>rich</p>",
        attachments=["a.pdf"],
        id="order-7",
    )
    [mail] = smtp_server.mails
    assert mail.sender == "shop@example.test"
    assert mail.recipients == ("ann@example.test", "bob@example.test", "cc@example.test", "bcc@example.test")
    message = mail.message
    assert message["Subject"] == "Grüße"
    assert message["From"] == "Shop <shop@example.test>"
    assert message["To"] == "Ann Ä <ann@example.test>, bob@example.test"
    assert message["Cc"] == "cc@example.test"
    assert message["Reply-To"] == "help@example.test"
    assert b"bcc@example.test" not in mail.raw
    assert message["Message-ID"] == message_id("order-7", "example.test")
    assert message["Date"] is not None
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert plain.get_content().strip() == "plain ü"
    assert rich is not None
    assert rich.get_content().strip() == "<p>rich</p>"
    [attachment] = message.iter_attachments()
    assert attachment.get_filename() == "a.pdf"
    assert attachment.get_content_type() == "application/pdf"
    assert attachment.get_payload(decode=True) == b"%PDF \xff"


async def test_html_alone_and_a_default_sender(perform: Performer, smtp_server: SMTPServer) -> None:
    await perform(text=None, html="<p>x</p>")
    assert smtp_server.mails[0].message.get_content_type() == "text/html"
    assert smtp_server.mails[0].sender == "noreply@example.test"


async def test_the_same_job_has_the_same_message_id(perform: Performer, smtp_server: SMTPServer) -> None:
    await perform(id="a")
    await perform(id="a")
    await perform(id="b")
    first, second, other = (mail.message["Message-ID"] for mail in smtp_server.mails)
    assert first == second != other


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("451 later", TemporaryError),
        ("421 closing", TemporaryError),
        ("550 no", PermanentError),
        ("554 spam", PermanentError),
    ],
)
async def test_a_refused_mail_is_temporary_or_permanent_by_its_code(
    perform: Performer, smtp_server: SMTPServer, answer: str, kind: type[Exception]
) -> None:
    smtp_server.answer_always(answer)
    with pytest.raises(kind, match=answer[:3]):
        await perform()
    assert smtp_server.mails == []


@pytest.mark.parametrize(("answer", "kind"), [("550 unknown", PermanentError), ("450 busy", TemporaryError)])
async def test_one_refused_recipient_stops_the_mail_for_all(
    perform: Performer, smtp_server: SMTPServer, answer: str, kind: type[Exception]
) -> None:
    smtp_server.refuse_recipient("bad@example.test", answer)
    with pytest.raises(kind, match=r"bad@example.test \(nothing was sent"):
        await perform(to=["good@example.test", "bad@example.test"])
    assert smtp_server.mails == []


async def test_a_server_that_is_away_or_silent_is_temporary(perform: Performer, smtp_server: SMTPServer) -> None:
    smtp_server.hold()
    with pytest.raises(TemporaryError):
        await with_server(perform, timeout_seconds=0.3)()
    smtp_server.stop()
    with pytest.raises(TemporaryError):
        await perform()


async def test_login(perform: Performer, smtp_server: SMTPServer) -> None:
    smtp_server.require_login("user", "pass word")
    url = smtp_server.url.replace("://", "://user@")
    await with_server(perform, url=url, password=lambda: "pass word", tls="off")()
    assert len(smtp_server.mails) == 1
    with pytest.raises(TemporaryError):
        await with_server(perform, url=url, password=lambda: "wrong", tls="off")()


async def test_a_password_is_not_sent_without_tls(perform: Performer, smtp_server: SMTPServer) -> None:
    url = smtp_server.url.replace("://", "://user@")
    with pytest.raises(TemporaryError, match="WORKER_SMTP_TLS=off"):
        await with_server(perform, url=url, password=lambda: "pass")()
    with pytest.raises(TemporaryError):
        await with_server(perform, tls="required")()


async def test_missing_configuration_is_named(perform: Performer) -> None:
    with pytest.raises(PermanentError, match="WORKER_SMTP_URL"):
        await dataclasses.replace(perform, mail_server=None)()
    with pytest.raises(PermanentError, match="WORKER_SMTP_FROM"):
        await with_server(perform, sender=None)()


async def test_attachments_are_confined_and_bounded(perform: Performer, storage: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (storage / "link").symlink_to(tmp_path / "secret")
    (storage / "big").write_bytes(b"x" * 600_000)
    for names in (["../secret"], ["link"], ["missing"], ["big", "big"]):
        with pytest.raises(PermanentError):
            await perform(attachments=names)


async def test_an_address_beyond_ascii_needs_the_servers_consent(perform: Performer, smtp_server: SMTPServer) -> None:
    await perform(to=["grüße@example.test"])
    assert smtp_server.mails[0].recipients == ("grüße@example.test",)


@given(st.text(max_size=60))
def test_any_text_is_one_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert address.addr_spec.count("@") == 1
    assert not set(address.addr_spec) & set("\r\n ,;<>")
