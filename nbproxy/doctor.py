"""What is wrong with a set-up, and what to do about it: ``nbproxy doctor``.

Laws: a check is a small function in ``CHECKS`` that looks at a :class:`Patient` and yields :class:`Finding` s; it
changes nothing, and what it finds in another's words is cleaned. ``fail`` is for what does not work, ``warn`` for what
will not do for long, ``ok`` for all else; what is not there and need not be is ``ok`` with what would bring it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from . import doctor_machine as machine
from . import doctor_upstream as upstream
from .patient import Finding, Patient

CHECKS: tuple[tuple[str, Callable[[Patient], Iterable[Finding]]], ...] = (
    ("upstream", upstream.reachable),
    ("product", upstream.product),
    ("security", upstream.security),
    ("TLS", upstream.tls),
    ("sniffing", upstream.sniffers),
    ("proxy", upstream.proxy),
    ("token", upstream.token),
    ("errors", upstream.errors),
    ("port", machine.port),
    ("model", machine.model),
    ("disk", machine.disk),
    ("Python", machine.python),
    ("libraries", machine.libraries),
)


def examined(patient: Patient) -> Iterator[tuple[str, Finding]]:
    """Each check's name with what it found, as it is found."""
    for name, check in CHECKS:
        for finding in check(patient):
            yield name, finding
