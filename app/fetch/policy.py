"""Policy of downloads: which addresses of requests the rules of CLIPSTACK_FETCH allow."""

from app.fetch.addresses import Address, is_public
from app.fetch.errors import AddressNotAllowed, HostNotAllowed, InvalidUrl
from app.fetch.urls import ObjectAddress, WebAddress, parse_address
from app.settings.fetch_rules import BucketRule, FetchRules, HostRule


def check(rules: FetchRules, text: str, *, write: bool = False) -> WebAddress | ObjectAddress:
    """Return the parts of a URL that the rules allow to be read, or to be written, as far as is known without DNS.

    Raises InvalidUrl, HostNotAllowed or AddressNotAllowed.
    """
    address = parse_address(text)
    if isinstance(address, ObjectAddress):
        bucket_rule(rules, address, write=write)
    elif write:
        raise InvalidUrl("results are written to an object store: name a folder such as s3://bucket/results")
    else:
        rule = host_rule(rules, address)
        if address.literal is not None:
            check_addresses(address, [address.literal], rule)
    return address


def host_rule(rules: FetchRules, address: WebAddress) -> HostRule:
    """Return the rule that allows a URL; one that allows private addresses comes first. Raises HostNotAllowed."""
    is_literal = address.literal is not None
    found = [
        rule for rule in rules.hosts if rule.matches(address.scheme, address.host, address.port, is_address=is_literal)
    ]
    if not found:
        raise HostNotAllowed(f"{address.origin} is not allowed: CLIPSTACK_FETCH lists the hosts that are")
    return max(found, key=lambda rule: rule.private)


def bucket_rule(rules: FetchRules, address: ObjectAddress, *, write: bool = False) -> BucketRule:
    """Return the rule that allows an object, to be read or to be written; raises HostNotAllowed."""
    for rule in rules.buckets:
        if rule.matches(address.store, address.bucket, address.key) and (rule.write or not write):
            return rule
    action = "written to" if write else "read"
    raise HostNotAllowed(f"{address.origin} may not be {action}: CLIPSTACK_FETCH lists the buckets that may")


def check_addresses(target: WebAddress, addresses: list[Address], rule: HostRule) -> None:
    """Raise AddressNotAllowed unless every address of the host is public, or the rule allows private ones."""
    if not rule.private and not all(map(is_public, addresses)):
        raise AddressNotAllowed(f"{target.host} has an address that is not public: such hosts need !private")
