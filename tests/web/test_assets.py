from __future__ import annotations

import gzip

import pytest

from labnode.testing import LabClient
from labnode.web import pages

CSS = (pages.STATIC / "page.css").read_bytes()


@pytest.mark.parametrize("accepts", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=1.0"])
def test_a_browser_that_takes_gzip_gets_it(lab: LabClient, accepts: str) -> None:
    reply = lab.browser().get("/static/page.css", HTTP_ACCEPT_ENCODING=accepts)
    assert reply.status == 200
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.headers["vary"] == "Accept-Encoding"
    assert int(reply.headers["content-length"]) == len(reply.body) < len(CSS) / 2
    assert gzip.decompress(reply.body) == CSS


@pytest.mark.parametrize("accepts", ["", "br", "gzip;q=0", "identity"])
def test_another_gets_the_file_as_it_is(lab: LabClient, accepts: str) -> None:
    reply = lab.browser().get("/static/page.css", HTTP_ACCEPT_ENCODING=accepts)
    assert "content-encoding" not in reply.headers
    assert reply.headers["vary"] == "Accept-Encoding"
    assert reply.body == CSS


def test_a_file_that_the_browser_has_is_not_sent_again(lab: LabClient) -> None:
    browser = lab.browser()
    first = browser.get("/static/page.css", HTTP_ACCEPT_ENCODING="gzip")
    again = browser.get(
        "/static/page.css",
        HTTP_ACCEPT_ENCODING="gzip",
        HTTP_IF_NONE_MATCH=first.headers["etag"],
    )
    assert (again.status, again.body) == (304, b"")


def test_a_file_that_is_not_there_is_not_found(lab: LabClient) -> None:
    assert lab.browser().get("/static/nothing.js", HTTP_ACCEPT_ENCODING="gzip").status == 404
