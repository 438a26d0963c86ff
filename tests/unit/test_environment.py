from __future__ import annotations

import pytest

from provision.environment import bypass_proxies


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"no_proxy": "127.0.0.1,localhost"}),
        ({"NO_PROXY": "a,b"}, {"NO_PROXY": "a,b", "no_proxy": "a,b,127.0.0.1,localhost"}),
        ({"no_proxy": "*"}, {"no_proxy": "*"}),
        (
            {"no_grpc_proxy": "", "no_proxy": "a"},
            {"no_grpc_proxy": "127.0.0.1,localhost", "no_proxy": "a,127.0.0.1,localhost"},
        ),
    ],
)
def test_169_loopback_is_added_to_the_addresses_without_a_proxy(before: dict[str, str], after: dict[str, str]) -> None:
    environment = {**before, "https_proxy": "http://proxy.example"}
    bypass_proxies(environment)
    assert environment == {**after, "https_proxy": "http://proxy.example"}
