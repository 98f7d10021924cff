"""What holds for the collection as a whole: names, interfaces, borders between roles, and what the tarball holds."""

from __future__ import annotations

import ensurepip
import functools
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parent.name for path in ROOT.glob("roles/*/tasks"))
SHARED = "mlflow_preflight"  # the role that holds the choices made once for an environment
# Handed from playbooks to roles; no role owns them. The second is what --check announces: certificates that the real run would
# issue, so that the roles which use them announce their reload as well.
HANDED_OVER = ("__mlflow_topology", "__mlflow_certificates_pending")


class Loader(yaml.SafeLoader):
    """YAML with Ansible's own tags (!unsafe, !vault) read as their text."""


def as_text(loader: Loader, _suffix: str, node: yaml.Node) -> Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


Loader.add_multi_constructor("!", as_text)


def load(path: Path) -> Any:
    # The loader is a safe one; load() is the only way to give a class of one's own.
    return yaml.load(path.read_text(encoding="utf-8"), Loader) if path.exists() else None


def defaults(role: str) -> dict[str, Any]:
    return load(ROOT / "roles" / role / "defaults/main.yml") or {}


def entry_points(role: str) -> dict[str, Any]:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml") or {}
    return dict(specs.get("argument_specs", {}))


def options(role: str) -> dict[str, Any]:
    return {name: option for entry in entry_points(role).values() for name, option in entry.get("options", {}).items()}


def shared_choices() -> set[str]:
    return set(entry_points(SHARED).get("choices", {}).get("options", {}))


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Every file of this tree, also those not yet committed; an unpacked tarball has no git and is read whole."""
    if (ROOT / ".git").exists():
        command = [
            "git",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--deduplicate",
            "--",
            ":!.collections",
        ]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    else:
        paths = list(ROOT.rglob("*"))
    return tuple(sorted(path for path in paths if path.is_file()))


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked_files():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


# ----- interfaces of roles


def test_there_are_roles() -> None:
    assert SHARED in ROLES


@pytest.mark.parametrize("role", ROLES)
def test_specification_and_defaults_say_the_same(role: str) -> None:
    specified, given = options(role), defaults(role)
    assert set(given) - set(specified) == set(), "in defaults/main.yml and in no entry point of argument_specs.yml"
    with_default = {name: option["default"] for name, option in specified.items() if "default" in option}
    if role != SHARED:  # a role may repeat a shared choice in its specification; its value lives with the choices
        with_default = {
            name: value for name, value in with_default.items() if name in given or name not in shared_choices()
        }
    assert with_default == given


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_is_a_task_file_and_the_reverse_holds_for_main(role: str) -> None:
    for name in entry_points(role):
        assert (ROOT / "roles" / role / "tasks" / f"{name}.yml").exists(), f"{role}: no tasks/{name}.yml"
    assert entry_points(role), f"{role} has no argument_specs.yml"


@pytest.mark.parametrize("role", ROLES)
def test_no_entry_point_gives_an_option_another_default(role: str) -> None:
    seen: dict[str, tuple[str, Any]] = {}
    for entry, spec in entry_points(role).items():
        for name, option in spec.get("options", {}).items():
            value = option.get("default")
            first = seen.setdefault(name, (entry, value))
            assert first[1] == value, f"{name}: {first[0]} and {entry} disagree"


@pytest.mark.parametrize("role", ROLES)
def test_names_of_variables(role: str) -> None:
    for name in {*options(role), *defaults(role)}:
        assert name.startswith("mlflow_"), f"{name} is outside of the collection's namespace"
        assert not name.startswith("mlflow_site_"), f"{name}: mlflow_site_* belongs to users"
    for name in set(defaults(role)) - (shared_choices() if role == SHARED else set()):
        assert name.startswith(f"{role}_"), f"{name} is set by {role} and does not carry its name"


@pytest.mark.parametrize("role", ROLES)
def test_every_option_is_described(role: str) -> None:
    for name, option in options(role).items():
        assert option.get("description"), f"{name} has no description"
        assert option.get("type"), f"{name} has no type"


def test_no_role_name_begins_another() -> None:
    clashes = [(one, other) for one in ROLES for other in ROLES if one != other and other.startswith(one)]
    assert clashes == []


# ----- borders between roles


def role_texts(role: str) -> Iterator[tuple[Path, str]]:
    return ((path, text) for path, text in texts() if path.parts[:2] == ("roles", role))


@pytest.mark.parametrize("role", ROLES)
def test_roles_name_no_inventory_group(role: str) -> None:
    pattern = re.compile(r"\bgroups\s*(\[|\.(?!id\b))|\bgroup_names\b|\bmlflow_(databases|servers|edges)\b")
    for path, text in role_texts(role):
        if path.parts[2] in {"tasks", "handlers", "defaults", "vars", "templates"}:
            code = re.sub(r"^\s*#.*$", "", text, flags=re.M)
            assert not (found := pattern.search(code)), f"{path}: {found and found.group()}"


@pytest.mark.parametrize("role", ROLES)
def test_roles_do_not_read_the_internals_of_another(role: str) -> None:
    others = [other for other in ROLES if other != role]
    pattern = re.compile(r"\b__(" + "|".join(others) + r")_\w+")
    for path, text in role_texts(role):
        found = {name.group() for name in pattern.finditer(text)} - set(HANDED_OVER)
        assert not found, f"{path}: {found}"


@pytest.mark.parametrize("role", [role for role in ROLES if role != SHARED])
def test_every_role_begins_with_the_shared_choices(role: str) -> None:
    tasks = load(ROOT / "roles" / role / "tasks/main.yml")
    assert tasks, f"{role} has no tasks/main.yml"
    first = tasks[0].get("ansible.builtin.import_role")
    assert first == {"name": f"mlops.mlflow.{SHARED}", "tasks_from": "choices"}


def test_templates_say_who_manages_the_file() -> None:
    for path, text in texts():
        if path.parts[0] != "roles" or "templates" not in path.parts:
            continue
        if path.name.startswith("_") or path.name.endswith(".json.j2"):  # imported by others; JSON knows no comments
            continue
        # What is only read by a lookup (a statement, a message) is never a file on a host.
        looked_up = re.compile(rf"lookup\(\s*'(ansible\.builtin\.)?template',\s*'{re.escape(path.name)}'")
        if any(looked_up.search(other) for _path, other in role_texts(path.parts[1])):
            continue
        first = next((line for line in text.splitlines() if not line.startswith("#!")), "")
        assert first.startswith("{{ ansible_managed | comment"), f"{path} does not begin with ansible_managed"


# ----- what the repository may not name


@functools.cache
def registry_hosts() -> frozenset[str]:
    """Hosts of package registries, as this machine's own tools know them: apt, settings of pip, the pip within Python."""
    home = Path.home()
    sources = [Path("/etc/pip.conf"), home / ".config/pip/pip.conf", home / ".pip/pip.conf", home / ".npmrc"]
    sources += [path for folder in ("sources.list.d", "mirrors") for path in Path("/etc/apt", folder).glob("*")]
    sources += [Path("/etc/apt/sources.list")]
    settings = [path.read_text(encoding="utf-8") for path in sources if path.is_file()]
    hosts = {urlsplit(address).hostname or "" for address in re.findall(r"\bhttps?://[^\s\"']+", "\n".join(settings))}
    for wheel in (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            known = archive.read("pip/_internal/models/index.py").decode()
        hosts |= {
            urlsplit(text).hostname or text for text in re.findall(r'"((?:https://)?[a-z.]+\.[a-z]{2,})/?"', known)
        }
    return frozenset(host for host in hosts if re.search(r"[a-z]\.[a-z]", host))


def test_no_file_names_a_package_registry() -> None:
    hosts = registry_hosts()
    if not hosts:
        pytest.skip("this machine's apt and pip name no registry")
    for path, text in texts():
        named = sorted(host for host in hosts if host in text)
        assert not named, f"{path} names {named}: say it without the host, the machine's own settings decide"


def test_no_file_names_a_folder_of_this_machine() -> None:
    if str(ROOT) in {"/opt/mlflow", "/srv/mlflow", "/etc/mlflow"}:
        pytest.skip("this checkout lies where an installation would")
    for path, text in texts():
        assert not re.search(re.escape(str(ROOT)) + r"(?![\w.-])", text), f"{path} names the folder of this checkout"


# ----- metadata and the tarball


def test_requirements_equal_the_dependencies() -> None:
    dependencies = load(ROOT / "galaxy.yml")["dependencies"]
    listed = {item["name"]: item["version"] for item in load(ROOT / "requirements.yml")["collections"]}
    assert listed == dependencies


def test_the_environment_satisfies_the_dependencies() -> None:
    for name, wanted in load(ROOT / "galaxy.yml")["dependencies"].items():
        minimum = re.fullmatch(r">=([\d.]+)", wanted)
        assert minimum, f"{name}: {wanted} is not a lower bound"
        manifests = [Path(folder, "ansible_collections", *name.split("."), "MANIFEST.json") for folder in sys.path]
        text = next(path for path in manifests if path.exists()).read_text(encoding="utf-8")
        version = yaml.safe_load(text)["collection_info"]["version"]
        assert [int(part) for part in version.split(".")[:3]] >= [int(part) for part in minimum[1].split(".")], (
            f"{name} {version}"
        )


def test_modules_of_the_action_group_exist() -> None:
    runtime = load(ROOT / "meta/runtime.yml")
    for module in runtime["action_groups"]["mlflow"]:
        assert (ROOT / "plugins/modules" / f"{module}.py").exists()


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a freshly built tarball."""
    folder = tmp_path_factory.mktemp("tarball")
    command = ["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        return {member.name for member in archive.getmembers() if member.isfile()}


def test_the_tarball_holds_all_that_its_users_need(tarball: set[str]) -> None:
    rooms = {"client", "docs", "inventories", "playbooks", "plugins", "roles", "changelogs", "meta"}
    needed = {str(path.relative_to(ROOT)) for path in tracked_files() if path.relative_to(ROOT).parts[0] in rooms}
    needed |= {"LICENSE", "README.md", "site.yml", "requirements.yml", "ansible.cfg"}
    assert {name for name in needed if Path(name).name != ".gitignore"} - tarball == set()


def test_the_tarball_holds_nothing_else(tarball: set[str]) -> None:
    tracked = {str(path.relative_to(ROOT)) for path in tracked_files()} | {"MANIFEST.json", "FILES.json"}
    assert tarball - tracked == set(), "git does not know these"
    unwanted = {
        "tests",
        "molecule",
        "tools",
        "requirements",
        ".ci",
        ".config",
        ".collections",
        "Makefile",
        "pyproject.toml",
    }
    assert {name for name in tarball if name.split("/")[0] in unwanted or name.endswith("/vault.yml")} == set()


# ----- the developer's commands


def test_make_help_lists_every_target() -> None:
    if not shutil.which("make"):
        pytest.fail("make is missing: run tools/setup")
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-zA-Z][\w-]*):(?!=)", text, re.M))
    phony = set(next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:])
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    listed = {line.split()[0]: line.split(maxsplit=1)[1] for line in shown.splitlines()}
    assert set(listed) == targets
    assert phony == targets, "a file of that name would hide the target"
    assert all(listed.values())


def test_ci_runs_the_one_test_command() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert script.rstrip().splitlines()[-1] == "exec make test"
