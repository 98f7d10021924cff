# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all check modules have in common: their options, the sentence of a finding, and when a finding fails the task.

The options are documented in plugins/doc_fragments/check.py.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from ansible_collections.mlops.mlflow.plugins.module_utils._findings import CRITICAL, SEVERITIES, WARNING
from ansible_collections.mlops.mlflow.plugins.module_utils._probe import Outcome

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

NEVER = "never"
MAXIMUM_SECONDS = 600

# Every check has these.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "host": {"type": "str", "default": ""},
    "fail_on": {"type": "str", "choices": [NEVER, CRITICAL, WARNING], "default": CRITICAL},
    "timeout": {"type": "int", "default": 20},
}
# Those that may ask from inside the sandbox of the server have this as well.
SANDBOX: Mapping[str, Mapping[str, Any]] = {"sandbox": {"type": "bool", "default": False}}


def sentence(finding: Mapping[str, str]) -> str:
    """Say one finding as `[ID] host: summary remedy`."""
    return f"[{finding['id']}] {finding['host']}: {finding['summary']} {finding['remedy']}".strip()


def refusals(findings: Iterable[Mapping[str, str]], fail_on: str) -> list[str]:
    """Return the sentences of the findings that are at least as severe as `fail_on` ("never": none), the worst first."""
    if fail_on == NEVER:
        return []
    limit = SEVERITIES.index(fail_on)
    severe = [finding for finding in findings if SEVERITIES.index(finding["severity"]) <= limit]
    return [sentence(finding) for finding in sorted(severe, key=lambda one: SEVERITIES.index(one["severity"]))]


def no_answer(outcome: Outcome, seconds: float) -> str:
    """Say why a probe told nothing; empty when it did.

    Args:
        outcome: what became of the probe.
        seconds: the time it had.
    """
    if outcome.timed_out:
        return f"There was no answer within {seconds:.0f} s."
    return f"The probe ended without an answer: {outcome.failure}." if outcome.failure else ""


def begin(module: AnsibleModule) -> tuple[str, float]:
    """Return the name of the host as findings say it, and the seconds of the probe; refuse what is no such number."""
    seconds = int(module.params["timeout"])
    if not 1 <= seconds <= MAXIMUM_SECONDS:
        module.fail_json(msg=f"timeout={seconds}: from 1 to {MAXIMUM_SECONDS} seconds.", findings=[])
    return module.params["host"] or platform.node() or "localhost", float(seconds)


def finish(module: AnsibleModule, findings: list[dict[str, str]], **returned: Any) -> NoReturn:
    """End the module: with all that was found, or as failed when `fail_on` says so. A check never changes anything.

    `refusals` has the sentences of the critical findings, for tasks that ask with secrets (no_log) and judge in the next one, and
    `remarks` those of all others.
    """
    remarks = [sentence(finding) for finding in findings if finding["severity"] != CRITICAL]
    returned.update(changed=False, findings=findings, refusals=refusals(findings, CRITICAL), remarks=remarks)
    if sentences := refusals(findings, module.params["fail_on"]):
        module.fail_json(msg="\n".join(sentences), **returned)
    module.exit_json(**returned)
