"""What sessions, models and addresses may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from grurt.errors import GrurtError
from grurt.serving.access import Access, Permit, read_tokens
from grurt.serving.errors import ForbiddenError, ServingError, SessionNameError, UnauthorizedError
from grurt.serving.names import check_model_name, key_of_name, key_of_number
from grurt.serving.opening import Opening, read_opening

TOKEN = "a-token-of-sixteen-characters"


@pytest.mark.parametrize("name", ["a", "5", "tenant/device-7", "A.b_c:d@e", "x" * 128])
def test_names(name: str) -> None:
    assert key_of_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "#5", "~1", "../etc/passwd", "/etc", "a b", "a\n", "<script>", "\x1b[2J", "é", "x" * 129, "a%00", "a\\b"],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(SessionNameError, match="expected 1 to 128 of"):
        key_of_name(name)


def test_a_number_is_never_a_name() -> None:
    assert key_of_number(5) != key_of_name("5")
    for number in (0, -1, 2**64):
        with pytest.raises(SessionNameError, match="sequence_id: expected an integer from 1 to"):
            key_of_number(number)


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "x" * 129])
def test_names_of_models_that_are_none(name: str) -> None:
    with pytest.raises(GrurtError, match="expected a model's file to be named by 1 to 128 of"):
        check_model_name(name)


def test_openings() -> None:
    assert read_opening("") == Opening()
    assert read_opening("session=ann&model=m&takeover=1&replay=1") == Opening(
        session="ann", model="m", takeover=True, replay=True
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sesion=ann", "expected some of session, model"),
        ("session=a&session=b", "one twice"),
        ("takeover=yes", "takeover: expected 0 or 1, got 'yes'"),
        ("replay=1", "expected a session with a name"),
        ("session=%3Cscript%3E", "expected 1 to 128"),
        ("&".join(f"a{i}=1" for i in range(100)), "query: expected name=value, joined by &, at most"),
        ("session", "expected name=value"),
    ],
)
def test_openings_that_are_none(query: str, message: str) -> None:
    with pytest.raises(ServingError, match=message):
        read_opening(query)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_hosts(host: str) -> None:
    Access(permits=None).expect_host([host], [])


@pytest.mark.parametrize("host", ["", "evil.example", "localhost.evil.example:8000", "[::1", "127.0.0.1.nip.io"])
def test_a_foreign_name_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(ForbiddenError, match="see --allow-host"):
        Access(permits=None).expect_host([host], [])


@pytest.mark.parametrize("hosts", [[], ["localhost", "evil.example"], ["localhost", "localhost"]])
def test_there_is_one_host(hosts: list[str]) -> None:
    with pytest.raises(ForbiddenError, match="see --allow-host"):
        Access(permits=None).expect_host(hosts, [])


def test_origins() -> None:
    access = Access(permits=None, origins=["https://example.org/"], hosts=["service.example"])
    access.expect_host(["localhost:8000"], ["http://localhost:8000"])
    access.expect_host(["service.example"], ["https://example.org"])
    for origin in ("null", "http://localhost:9000", "https://evil.example", "http://example.org", ""):
        with pytest.raises(ForbiddenError, match="see --allow-origin"):
            access.expect_host(["localhost:8000"], [origin])


def test_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"# of the service\n{TOKEN}\n\n{TOKEN}-of-ann ann/\n")
    access = Access(permits=read_tokens(path))
    access.permit(f"Bearer {TOKEN}").expect_all()
    access.permit(None, TOKEN).expect("anything")
    bound = access.permit(f"bearer {TOKEN}-of-ann")
    bound.expect("ann/1")
    for key in ("bob/1", "#5", "ann"):
        with pytest.raises(ForbiddenError, match="'ann/' only"):
            bound.expect(key)
    with pytest.raises(ForbiddenError):
        bound.expect_all()
    for header in (None, "", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer é"):
        with pytest.raises(UnauthorizedError):
            access.permit(header)
    assert Access(permits=None).permit(None) == Permit()


NO_TOKEN = "line 1: expected a token of at least 16 printable ASCII characters, and behind it nothing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a token, one a line, got none"),
        ("short", NO_TOKEN),
        (f"{TOKEN} a b", NO_TOKEN),
        (f"{TOKEN}\x00", NO_TOKEN),
    ],
)
def test_files_of_tokens_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(GrurtError, match=message):
        read_tokens(path)
