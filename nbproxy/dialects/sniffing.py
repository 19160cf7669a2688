"""Clients that sniff ask a cluster for its nodes' addresses and then speak to these: past a proxy, in silence.

https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-nodes-info
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from .json_spans import REFUSED

ADVICE = (
    "a client sniffs: it asks for the nodes' own addresses, and will then speak to these and leave this proxy behind. "
    "Switch its sniffing off: Python sniff_on_start=False, sniff_before_requests=False, sniff_on_node_failure=False "
    "(opensearch-py: sniff_on_connection_fail, sniffer_timeout=None); JavaScript sniffOnStart, sniffInterval, "
    "sniffOnConnectionFault: false; Java: no Sniffer"
)


class _Nodes(msgspec.Struct, gc=False):
    nodes: Mapping[str, Any]


_DECODE = msgspec.json.Decoder(_Nodes).decode


def is_sniff(method: str, target: str) -> bool:
    """Whether a request asks for the nodes' addresses: ``/_nodes/http``, ``/_nodes/_all,-x/http,settings`` …"""
    path = target.partition("?")[0]
    if method != "GET" or "_nodes" not in path:
        return False
    segments = [unquote(segment) for segment in path.split("/") if segment]
    return segments[:1] == ["_nodes"] and len(segments) in (2, 3) and "http" in segments[-1].split(",")


def published(answer: bytes) -> tuple[str, ...]:
    """The addresses (``host:port``) that a client which sniffs would go to, by the answer to what it asked; empty
    where there are none or the answer cannot be read."""
    try:
        nodes = _DECODE(answer).nodes
    except REFUSED:
        return ()
    shown = [node.get("http") for node in nodes.values() if isinstance(node, dict)]
    found = [http.get("publish_address") for http in shown if isinstance(http, dict)]
    return tuple(address.rpartition("/")[2] for address in found if isinstance(address, str))
