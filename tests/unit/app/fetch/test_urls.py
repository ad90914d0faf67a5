import pytest

from app.fetch.errors import InvalidUrl
from app.fetch.urls import MAX_URL, ObjectAddress, WebAddress, parse_address

ACCEPTED = {
    "https://media.example.com/a/clip.mp4?x=1#t=2": ("https", "media.example.com", 443, "/a/clip.mp4?x=1"),
    "HTTPS://MEDIA.Example.COM.": ("https", "media.example.com", 443, "/"),
    "http://media.example.com:8080/": ("http", "media.example.com", 8080, "/"),
    "https://media.example.com:/": ("https", "media.example.com", 443, "/"),
    "https://bücher.example/": ("https", "xn--bcher-kva.example", 443, "/"),
    "https://ⓛocalhost/": ("https", "localhost", 443, "/"),
    "https://192.0.2.1/": ("https", "192.0.2.1", 443, "/"),
    "https://[2001:DB8::1]:8443/": ("https", "2001:db8::1", 8443, "/"),
    "https://[::ffff:127.0.0.1]/": ("https", "::ffff:7f00:1", 443, "/"),
    "https://media.example.com/100%25/%E2%82%AC": ("https", "media.example.com", 443, "/100%25/%E2%82%AC"),
    "https://media.example.com?file=1": ("https", "media.example.com", 443, "/?file=1"),
}


@pytest.mark.parametrize(("text", "parts"), ACCEPTED.items())
def test_accepted_urls(text: str, parts: tuple[str, str, int, str]) -> None:
    address = parse_address(text)
    assert isinstance(address, WebAddress)
    assert (address.scheme, address.host, address.port, address.path) == parts


REFUSED = (
    *("", "clip.mp4", "//media.example.com/", "media.example.com/clip.mp4", "https:", "https://", "https:///clip.mp4"),
    *("ftp://media.example.com/", "file:///etc/passwd", "gopher://127.0.0.1/", "data:text/plain,x", "http+unix://x/"),
    *("https://user:secret@media.example.com/", "https://user@127.0.0.1/", "https://media.example.com@127.0.0.1/"),
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.1/"),
    *(
        "https://127.0.0.1./",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://a.b.0x7f/",
        "https://１２７.０.０.１/",
    ),
    *("https://[::1", "https://::1/", "https://[fe80::1%25eth0]/", "https://[::1]x/", "https://[1.2.3.4]/"),
    *("https://media.example.com:0/", "https://media.example.com:65536/", "https://media.example.com:port/"),
    *("https://media.example.com:80:90/", "https://media .example.com/", "https://media.example.com/a b"),
    *("https://media.example.com\\@127.0.0.1/", "https://media.example.com/\r\nHost: x", "https://media\t.example/"),
    *("https://-media.example.com/", "https://media..example.com/", f"https://{'a' * 64}.example/", "https://*/"),
    *("https://media.example.com/é", "https://a%2eexample/", f"https://media.example.com/{'a' * MAX_URL}"),
    *("s3://bucket", "s3://bucket/", "s3:///key", "s3://b/key", "s3://bucket/../key", "s3://bucket/a//b"),
    *("s3://bucket/a\nb", "s3://bucket/./b", f"s3://bucket/{'k' * 1025}"),
)


@pytest.mark.parametrize("text", REFUSED)
def test_refused_urls(text: str) -> None:
    with pytest.raises(InvalidUrl) as refusal:
        parse_address(text)
    assert len(refusal.value.message) > 20


@pytest.mark.parametrize("store", ["s3", "gs", "az"])
def test_objects(store: str) -> None:
    address = parse_address(f"{store}://bucket/a folder/clip%20.mp4")
    assert address == ObjectAddress(store, "bucket", "a folder/clip%20.mp4")
    assert (address.origin, address.name) == (f"{store}://bucket", "clip%20.mp4")


BASE = parse_address("https://media.example.com/films/clip.mp4?token=secret")
REDIRECTS = {
    "other.mp4": "https://media.example.com/films/other.mp4",
    "/other.mp4": "https://media.example.com/other.mp4",
    "//cdn.example/x": "https://cdn.example/x",
    "http://cdn.example:8080/x": "http://cdn.example:8080/x",
}


@pytest.mark.parametrize(("location", "target"), REDIRECTS.items())
def test_redirects(location: str, target: str) -> None:
    assert isinstance(BASE, WebAddress)
    address = BASE.redirected(location)
    assert address.origin + address.path == target


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "s3://bucket/key", "https://u:p@cdn.example/", "http://[::1", "/a b", "/é"]
)
def test_redirects_that_are_refused(location: str) -> None:
    assert isinstance(BASE, WebAddress)
    with pytest.raises(InvalidUrl):
        BASE.redirected(location)
