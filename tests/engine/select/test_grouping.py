"""What documents are grouped by is what the column says, or the host of the url."""

import polars as pl
import pytest

from engine.select.grouping import grouping


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.ORG/page", "example.org"),
        ("http://me:word@example.org:8080?q", "example.org"),
        ("http://[::1]/", "[::1]"),
        ("http://[2001:DB8::1]:80/page", "[2001:db8::1]"),
        ("http://me@[2001:db8::2]#part", "[2001:db8::2]"),
        ("http://[2001:db8::2/page", None),
        ("/page", None),
        (None, None),
    ],
)
def test_host_of_a_url(url: str | None, host: str | None) -> None:
    frame = pl.DataFrame({"url": [url]}, schema={"url": pl.String})
    assert frame.select(grouping("url_host")).to_series().to_list() == [host]
