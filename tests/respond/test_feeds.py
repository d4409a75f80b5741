"""Block lists come over HTTP, are asked for only when changed, and are believed when plausible."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fortress.errors import InputError
from fortress.respond.feeds import FeedSource, fetch, fetched_s, parse_list, read_list
from tests.respond.list_site import NETSET, Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    """A web server on loopback."""
    with serving() as made:
        yield made


def test_a_list_is_fetched_once_and_then_only_when_changed(site: Site, tmp_path: Path) -> None:
    source = FeedSource("l", site.url)
    first = fetch(source, tmp_path)
    assert first.state == "new"
    assert first.targets == ("1.10.16.0/20", "2.56.192.0/22", "203.0.113.9", "2001:db8:bad::/48")
    second = fetch(source, tmp_path)
    assert (second.state, second.targets) == ("unchanged", first.targets)
    assert site.asked[1]["If-None-Match"] == '"1"'
    assert site.asked[1]["If-Modified-Since"].startswith("Mon, 01 Jan 2024")
    site.etag, site.body = '"2"', site.body + b"9.9.9.9\n"
    assert fetch(source, tmp_path).targets == (*first.targets, "9.9.9.9")


def test_it_is_known_when_a_list_was_last_there_or_unchanged(site: Site, tmp_path: Path) -> None:
    source = FeedSource("l", site.url)
    assert fetched_s(source, tmp_path) is None
    fetch(source, tmp_path)
    first_s = fetched_s(source, tmp_path)
    fetch(source, tmp_path)
    second_s = fetched_s(source, tmp_path)
    site.status, site.etag = 500, '"2"'
    fetch(source, tmp_path)
    assert first_s is not None
    assert second_s is not None
    assert first_s < second_s == fetched_s(source, tmp_path), "a failure is no answer"


def test_another_address_is_another_list(site: Site, tmp_path: Path) -> None:
    fetch(FeedSource("l", site.url), tmp_path)
    fetch(FeedSource("l", site.url + "?other"), tmp_path)
    assert "If-None-Match" not in site.asked[1]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b"# nothing but words\n\n", "it is empty"),
        (b"1.10.16.0/20\n2.56.192.0/22\n", "it has shrunk from 4 to 2 entries, more than 30%"),
        (b"<html><body>\n<h1>Sorry</h1>\n1.2.3.4\n</body></html>\n", "it is no block list"),
        (bytes(range(256)) * 40, "it is no block list"),
    ],
)
def test_an_implausible_list_is_refused_and_the_last_good_one_stays(
    site: Site, tmp_path: Path, body: bytes, why: str
) -> None:
    source = FeedSource("l", site.url)
    good = fetch(source, tmp_path)
    site.etag, site.body = '"2"', body
    kept = fetch(source, tmp_path)
    assert (kept.state, kept.targets) == ("kept", good.targets)
    assert why in kept.why
    site.etag = '"1"'
    assert fetch(source, tmp_path).state == "unchanged", "what was refused is not remembered"


def test_a_list_that_shrinks_a_little_is_believed(site: Site, tmp_path: Path) -> None:
    source = FeedSource("l", site.url)
    fetch(source, tmp_path)
    site.etag, site.body = '"2"', b"1.10.16.0/20\n2.56.192.0/22\n203.0.113.9\n"
    assert len(fetch(source, tmp_path).targets) == 3


@pytest.mark.parametrize("status", [404, 403, 500])
def test_an_error_keeps_the_last_good_list(site: Site, tmp_path: Path, status: int) -> None:
    source = FeedSource("l", site.url)
    with pytest.raises(InputError, match="there is no last good one"):
        fetch(FeedSource("l", "http://127.0.0.1:1/"), tmp_path)
    good = fetch(source, tmp_path)
    site.status, site.etag = status, '"2"'
    kept = fetch(source, tmp_path)
    assert (kept.state, kept.targets) == ("kept", good.targets)
    assert f"HTTP {status}" in kept.why


def test_a_list_that_is_too_large_or_too_slow_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="larger than 50 bytes"):
        fetch(FeedSource("l", site.url, most_bytes=50), tmp_path)
    site.slow = True
    with pytest.raises(InputError, match=r"timed out|not there within"):
        fetch(FeedSource("l", site.url, most_seconds=0.3), tmp_path)


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirection_to_elsewhere_is_refused(site: Site, tmp_path: Path, location: str) -> None:
    site.status, site.location = 302, location
    with pytest.raises(InputError, match=r"not https|HTTP 302"):
        fetch(FeedSource("l", site.url), tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/list"])
def test_only_http_is_spoken(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="http or https"):
        fetch(FeedSource("l", url), tmp_path)


def test_a_damaged_memory_of_the_last_list_means_none(site: Site, tmp_path: Path) -> None:
    source = FeedSource("l", site.url)
    fetch(source, tmp_path)
    (tmp_path / "l.json").write_text("[")
    assert fetch(source, tmp_path).state == "new"
    assert "If-None-Match" not in site.asked[-1]


def test_a_file_is_a_list_too(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(NETSET)
    assert len(read_list(tmp_path / "list")) == 4
    with pytest.raises(InputError, match="No such file"):
        read_list(tmp_path / "absent")


@given(st.text(max_size=300))
def test_any_text_is_read_as_a_list(text: str) -> None:
    targets, unreadable = parse_list(text)
    assert len(targets) + unreadable <= len(text.splitlines())
