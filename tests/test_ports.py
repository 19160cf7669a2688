"""Where a session listens, and the names under which it may be asked."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from nbproxy.errors import ConfigError
from nbproxy.ports import allowed_hosts, host_names


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("127.0.0.1", {"127.0.0.1"}), ("Search.Example", {"search.example"}), ("10.1.2.3", {"10.1.2.3"}),
     ("fe80::1", {"[fe80::1]"}), ("[fe80::1]", {"[fe80::1]"})],
)  # fmt: skip
def test_what_it_listens_on_is_allowed(host: str, allowed: set[str]) -> None:
    assert allowed_hosts(host) == allowed


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_all_addresses_are_this_machines_own_and_no_others(host: str) -> None:
    allowed = allowed_hosts(host)
    assert {"127.0.0.1", socket.gethostname().lower()} <= allowed
    for name in allowed - {socket.gethostname().lower()}:
        assert ipaddress.ip_address(name.strip("[]"))


def test_names_are_as_a_host_field_has_them() -> None:
    given = ["Search.Example", "10.1.2.3", "fe80::1", "[fe80::2]", "searchbox"]
    assert host_names(given) == {"search.example", "10.1.2.3", "[fe80::1]", "[fe80::2]", "searchbox"}


@pytest.mark.parametrize("wrong", [["http://a"], ["a:9201"], ["a/b"], [""], "search.example", ["*"]])
def test_what_is_no_name_says_so(wrong: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"looks like search\.example|are several"):
        host_names(wrong)
