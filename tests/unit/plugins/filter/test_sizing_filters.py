"""The filters convert what templates hand over and answer nonsense with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.mlops.mlflow.plugins.filter.sizing import FilterModule

FILTERS = FilterModule().filters()


def test_numbers_in_quotes_are_numbers() -> None:
    assert FILTERS["server_plan"]("2", "4096", stores="3") == FILTERS["server_plan"](2, 4096, stores=3)
    assert FILTERS["postgresql_settings"]("4096", "2", "80") == FILTERS["postgresql_settings"](4096, 2, 80)
    assert FILTERS["connection_budget"](["62", 62]) == 144


def test_budget_takes_plans() -> None:
    plan = FILTERS["server_plan"](2, 4096, stores=3)
    assert FILTERS["connection_budget"]([plan], reserve=0) == plan["connections"]
    assert FILTERS["connection_budget"]([plan, plan], reserve=0) == 3 * plan["connections_running"]


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("server_plan", ("many", 4096), "cpus must be a whole number"),
        ("server_plan", (True, 4096), "cpus must be a whole number"),
        ("postgresql_settings", (4096, 2, 80, "tape"), "disk=tape is none of"),
        ("postgresql_settings", (512, 2, 3000), "cannot hold"),
        ("connection_budget", ("62",), "a list of plans or numbers"),
        ("connection_budget", ([{"workers": 2}],), "was not made by server_plan"),
    ],
)
def test_nonsense_is_a_sentence(name: str, args: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(AnsibleFilterError, match=sentence):
        FILTERS[name](*args)
