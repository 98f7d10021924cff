# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a cloud's control plane, and tell it what _cloud.py decided.

The community's modules cannot be asked here: those for Google have no endpoint that could be set, those for Azure need some eighty
packages in exact versions on the controller. This needs Python's standard library, and a token that the cloud's own tool prints.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.error import HTTPError, URLError

from ansible.module_utils.urls import open_url

from ansible_collections.mlops.mlflow.plugins.module_utils import _check
from ansible_collections.mlops.mlflow.plugins.module_utils._cloud import Call, Decision, Resource, at, decide, is_public
from ansible_collections.mlops.mlflow.plugins.module_utils._findings import CRITICAL, PROMISE, report

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

# The options of modules that make a store; documented in plugins/doc_fragments/cloud.py.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    **_check.OPTIONS,
    "timeout": {"type": "int", "default": 60},
    "environment": {"type": "str", "required": True},
    "prefix": {"type": "str", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
    "managed": {"type": "bool", "default": True},
    "adopt": {"type": "bool", "default": False},
    "ca_file": {"type": "str", "default": ""},
}

_FINDINGS = {
    "missing": "STORE_CLOUD_MISSING",
    "fixed": "STORE_CLOUD_FIXED",
    "foreign": "STORE_CLOUD_FOREIGN",
    "unmarked": "STORE_CLOUD_UNMARKED",
}
_BODY_BYTES = 4 * 1024**2


class CloudError(Exception):
    """A request was refused or not answered; `finding` is the id of what is wrong."""

    def __init__(self, finding: str, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.finding = finding
        self.status = status


@dataclass
class Client:
    """One who may make stores, with a token that is never said.

    Args:
        token: an OAuth access token.
        ca_file: authorities to trust in place of the system's.
        seconds: of each request, and altogether of waiting until the cloud knows what it was told.
        pause: between two looks while waiting.
    """

    token: str = field(repr=False)
    ca_file: str = ""
    seconds: float = 60.0
    pause: float = 2.0

    def ask(self, method: str, url: str, body: Any = None) -> dict[str, Any] | None:
        """Send one request, and wait for what is done behind it.

        Returns:
            The answer; None when there is nothing at the URL of a GET.

        Raises:
            CloudError: it was refused, or there was no answer.
        """
        deadline = time.monotonic() + self.seconds
        status, headers, said = self._send(method, url, body)
        # Azure makes an account behind its answer, and says where to look.
        while status == 202 and (place := headers.get("location")):
            if time.monotonic() > deadline:
                raise CloudError("STORE_CLOUD_UNREACHABLE", f"it was not done within {self.seconds:.0f} s")
            time.sleep(self.pause)
            status, headers, said = self._send("GET", place, None)
        if status == 404 and method == "GET":
            return None
        if status >= 400:
            raise CloudError(_refusal(status), f"{method} {url} was answered with {status}: {_words(said)}", status)
        return said if isinstance(said, dict) else {}

    def patiently(self, act: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        """Do it again while a refusal may be about something that the cloud does not know everywhere yet."""
        deadline = time.monotonic() + self.seconds
        while True:
            try:
                return act()
            except CloudError as error:
                if error.status not in (400, 404, 409, 412) or time.monotonic() > deadline:
                    raise
                time.sleep(self.pause)

    def _send(self, method: str, url: str, body: Any) -> tuple[int, dict[str, str], Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        try:
            with open_url(
                url,
                data=data,
                headers=headers,
                method=method,
                timeout=min(self.seconds, 30.0),
                http_agent="mlops-mlflow",
                ca_path=self.ca_file or None,
                follow_redirects="none",
            ) as answer:
                status, told, text = answer.status, answer.headers, answer.read(_BODY_BYTES)
        except HTTPError as error:
            status, told, text = error.code, error.headers, error.read(_BODY_BYTES)
        except (URLError, OSError, ValueError) as error:
            raise CloudError("STORE_CLOUD_UNREACHABLE", f"{method} {url}: {getattr(error, 'reason', error)}") from None
        try:
            said = json.loads(text) if text else {}
        except ValueError:
            said = text.decode(errors="replace")
        return status, {name.lower(): value for name, value in told.items()}, said


def _refusal(status: int) -> str:
    if status == 401:
        return "STORE_CLOUD_TOKEN"
    if status == 403:
        return "STORE_CLOUD_DENIED"
    return "STORE_CLOUD_UNREACHABLE" if status >= 500 else "STORE_CLOUD_REFUSED"


def _words(said: Any) -> str:
    """What the cloud says about a refusal; both wrap it the same way."""
    error = said.get("error") if isinstance(said, dict) else said
    text = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(text or "no reason given").split())[:300].rstrip(".")


@dataclass
class Work:
    """Resources one after the other, as they are wanted; what was found, changed and wrong.

    Args:
        client: asks.
        host: who it is about, in findings.
        environment: whose the store has to be.
        managed: make and change; else only say what differs.
        check_mode: say what would be made and changed.
        adopt: take over what carries no mark.
    """

    client: Client
    host: str
    environment: str
    managed: bool
    check_mode: bool
    adopt: bool
    changed: bool = False
    calls: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, str]] = field(default_factory=list)

    def settle(self, resource: Resource, is_empty: Callable[[], bool] | None = None) -> dict[str, Any]:
        """Bring one resource to what is wanted.

        Returns:
            What is there now; empty if it is not, or would only be made.

        Raises:
            Stopped: nothing after this one can be done.
        """

        # What somebody else looks after need not carry our mark.
        adopt = self.adopt or not self.managed

        def look() -> tuple[dict[str, Any] | None, Decision]:
            found = self.client.ask("GET", resource.url)
            unmarked = found is not None and resource.mark and not at(found, resource.mark)
            empty = bool(unmarked and not adopt and is_empty and is_empty())
            return found, decide(resource, found, self.environment, adopt=adopt, empty=empty)

        try:
            found, decision = look()
            if public := is_public(found or {}):
                self._find("STORE_CLOUD_PUBLIC", f"{resource.name} gives everybody {', '.join(public)}.")
            if decision.finding:
                # What is wrong with one that somebody else looks after does not hide what is wrong with the next.
                self._find(_FINDINGS[decision.finding], f"{decision.said}.")
                if self.managed or decision.finding == "missing":
                    raise Stopped
                return found or {}
            if decision.call is None:
                return found or {}
            if not self.managed:
                self._differs(resource, decision)
                return found or {}
            if self.check_mode:
                self._note(resource, decision)
                return found or {}

            def act() -> dict[str, Any] | None:
                # Looked at again: somebody else may have changed it meanwhile, and then a policy is refused.
                call = look()[1].call
                return self._tell(call) if call else self.client.ask("GET", resource.url)

            told = self.client.patiently(act) if resource.patient else self._tell(decision.call)
            self._note(resource, decision)
            return told or {}
        except CloudError as error:
            self._find(error.finding, f"{resource.name}: {error}.")
            raise Stopped from None

    def announce(self, resource: Resource) -> None:
        """Of something whose place would only be made in this run: it would be made as well."""
        self._note(resource, Decision(call=resource.make or Call(*resource.change, None)))

    def _tell(self, call: Call) -> dict[str, Any] | None:
        return self.client.ask(call.method, call.url, call.body)

    def _note(self, resource: Resource, decision: Decision) -> None:
        self.changed = True
        if decision.call:
            self.calls.append(f"{decision.call.method} {decision.call.url}")
        self.before[resource.name] = {one.path: one.found for one in decision.differs} or "absent"
        self.after[resource.name] = {one.path: one.wanted for one in decision.differs} or "present"

    def _differs(self, resource: Resource, decision: Decision) -> None:
        if decision.differs:
            said = "; ".join(str(one) for one in decision.differs)
            self._find("STORE_CLOUD_DIFFERENT", f"{resource.name}: {said}.")
        else:
            self._find("STORE_CLOUD_MISSING", f"{resource.name} does not exist.")

    def _find(self, finding: str, summary: str) -> None:
        self.findings.append(report(finding, host=self.host, summary=summary[:1].upper() + summary[1:]))


class Stopped(Exception):
    """What is wrong is in the findings."""


def begin(module: AnsibleModule) -> Work:
    """The work that a module's options describe."""
    host, seconds = _check.begin(module)
    given = module.params
    return Work(
        client=Client(given["token"], given["ca_file"], seconds),
        host=host,
        environment=given["environment"],
        managed=given["managed"],
        check_mode=module.check_mode,
        adopt=given["adopt"],
    )


def finish(module: AnsibleModule, work: Work, **returned: Any) -> NoReturn:
    """End the module with all that was found and done, or as failed when `fail_on` says so.

    `refusals` has the sentences of the critical findings, for tasks that ask with secrets (no_log) and judge in the next one.
    """
    done = f"Done before it: {', '.join(work.calls)}." if work.changed and not work.check_mode else PROMISE
    returned.update(
        changed=work.changed,
        calls=work.calls,
        diff={"before": work.before, "after": work.after},
        findings=work.findings,
        refusals=[f"{said} {done}" for said in _check.refusals(work.findings, CRITICAL)],
    )
    if sentences := _check.refusals(work.findings, module.params["fail_on"]):
        module.fail_json(msg="\n".join(f"{said} {done}" for said in sentences), **returned)
    module.exit_json(**returned)
