import pytest

from app.errors import ClipstackError
from app.fetch import policy
from app.fetch.errors import AddressNotAllowed, HostNotAllowed, InvalidUrl
from app.fetch.urls import ObjectAddress
from app.settings.fetch_rules import BucketRule, HostRule, parse

RULES = parse(
    "media.example.com, *.cdn.example, http://plain.example, media.example.com:8443, 127.0.0.1:9000!private, "
    "8.8.8.8, 10.1.1.1, [2606:4700::1111], s3://bucket/films, s3://results/out!write, gs://any"
)
ALLOWED = (
    *("https://media.example.com/clip.mp4", "https://MEDIA.example.com./", "https://media.example.com:8443/"),
    *("https://a.cdn.example/", "https://a.b.cdn.example/", "http://plain.example/", "https://127.0.0.1:9000/"),
    *("https://8.8.8.8/", "https://[2606:4700:0::1111]/", "s3://bucket/films/a.mp4", "gs://any/a.mp4"),
    "s3://results/out/a.json",
)
REFUSED = {
    "https://example.com/": HostNotAllowed,
    "https://cdn.example/": HostNotAllowed,
    "https://evilcdn.example/": HostNotAllowed,
    "https://media.example.com.evil.example/": HostNotAllowed,
    "http://media.example.com/": HostNotAllowed,
    "https://media.example.com:444/": HostNotAllowed,
    "https://plain.example/": HostNotAllowed,
    "https://127.0.0.1/": HostNotAllowed,
    "https://1.1.1.1/": HostNotAllowed,
    "https://10.1.1.1/": AddressNotAllowed,
    "https://127.1/": InvalidUrl,
    "s3://bucket/secret/a.mp4": HostNotAllowed,
    "s3://bucket/films2/a.mp4": HostNotAllowed,
    "s3://other/films/a.mp4": HostNotAllowed,
    "az://any/a.mp4": HostNotAllowed,
}


@pytest.mark.parametrize("url", ALLOWED)
def test_allowed(url: str) -> None:
    assert policy.check(RULES, url).name in ("", "clip.mp4", "a.mp4", "a.json")


@pytest.mark.parametrize(("url", "error"), REFUSED.items())
def test_refused(url: str, error: type[ClipstackError]) -> None:
    with pytest.raises(error) as refusal:
        policy.check(RULES, url)
    assert 400 <= refusal.value.status < 500


def test_results_need_rule_that_writes() -> None:
    assert policy.bucket_rule(RULES, ObjectAddress("s3", "results", "out/a.json"), write=True).write
    assert policy.check(RULES, "s3://results/out/a.json", write=True).name == "a.json"
    for url, error in (("s3://bucket/films/a.json", HostNotAllowed), ("https://media.example.com/", InvalidUrl)):
        with pytest.raises(error):
            policy.check(RULES, url, write=True)


def test_any_host_name_is_no_ip_address() -> None:
    rules = parse("*")
    assert policy.check(rules, "https://anything.example/clip.mp4").name == "clip.mp4"
    with pytest.raises(HostNotAllowed):
        policy.check(rules, "https://8.8.8.8/")


def test_rules_are_read() -> None:
    rules = parse("Media.Example.com. ,[::1]:9000!private,, az://container")
    assert rules.hosts == (
        HostRule("https", "media.example.com", 443),
        HostRule("https", "::1", 9000, private=True),
    )
    assert rules.buckets == (BucketRule("az", "container"),)
    assert parse("") == parse(" , ")


WRONG = {
    "https://media.example.com/path": "not a host name",
    "media.example.com!write": "no !write",
    "s3://bucket!private": "no !private",
    "ftp://media.example.com": "must begin with",
    "media.example.com:0": "between 1 and 65535",
    "*!private": "every private address",
    "a b": "no host and no bucket",
    "*.*": "not a host name",
    "user@host": "not a host name",
}


@pytest.mark.parametrize(("entry", "reason"), WRONG.items())
def test_wrong_rules_are_named(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("*", r"\*")) as error:
        parse(f"media.example.com,{entry}")
    assert entry in str(error.value)
