"""Every kind of principal has an answer for every capability, and a refusal says who and what."""

from __future__ import annotations

from itertools import product

import pytest

from warren.model.principal import Principal, PrincipalKind
from warren.rules import access
from warren.rules.access import ACCESS, Capability, refusal


def test_the_table_is_total_and_has_nothing_else() -> None:
    assert set(ACCESS) == set(product(PrincipalKind, Capability))


@pytest.mark.parametrize("kind", PrincipalKind)
@pytest.mark.parametrize("capability", Capability)
def test_whoever_was_let_in_may_have_every_capability(
    kind: PrincipalKind, capability: Capability
) -> None:
    assert refusal(Principal(kind), capability) is None


@pytest.mark.parametrize(
    ("denied", "said"),
    [
        (
            [PrincipalKind.LOOPBACK],
            "login: loopback may not have it; want a principal that is local or embedded",
        ),
        ([*PrincipalKind], "login: loopback may not have it; no kind of principal may"),
    ],
)
def test_a_refusal_names_who_what_and_who_may(
    monkeypatch: pytest.MonkeyPatch, denied: list[PrincipalKind], said: str
) -> None:
    cells = {(kind, Capability.LOGIN): False for kind in denied}
    monkeypatch.setattr(access, "ACCESS", {**ACCESS, **cells})
    assert refusal(Principal(PrincipalKind.LOOPBACK), Capability.LOGIN) == said
    assert refusal(Principal(PrincipalKind.LOOPBACK), Capability.VIEW) is None


@pytest.mark.parametrize(
    ("principal", "text"),
    [
        (Principal(PrincipalKind.LOCAL, uid=1000), "uid 1000"),
        (Principal(PrincipalKind.LOCAL, uid=0), "uid 0"),
        (Principal(PrincipalKind.LOOPBACK), "loopback"),
        (Principal(PrincipalKind.EMBEDDED, uid=0), "uid 0 (embedded)"),
        (Principal(PrincipalKind.EMBEDDED, "uid 0"), "uid 0 (embedded)"),
    ],
)
def test_a_principals_text_cannot_be_that_of_another_kind(principal: Principal, text: str) -> None:
    assert str(principal) == text
