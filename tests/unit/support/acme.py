"""An ACME server (Caddy) and certbot as Debian ships it, in a network of their own: port 80 is free there, and names are what a test says."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.mlops.mlflow.tests.unit.support.environments import environment
from ansible_collections.mlops.mlflow.tests.unit.support.identity import debian, running

SERVER = "https://acme.example.com:14000/acme/site/directory"
CADDYFILE = """{{
    admin off
    skip_install_trust
    auto_https disable_redirects
    storage file_system {folder}/caddy
    pki {{
        ca site {{
            name "A site"
            intermediate_lifetime 200d
        }}
    }}
}}
https://acme.example.com:14000 {{
    tls {{
        issuer internal {{
            ca site
        }}
    }}
    acme_server {{
        ca site
        challenges http-01
        lifetime 90d
        deny {{
            domains forbidden.example.com
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Place:
    """A network, a mount namespace and a folder."""

    folder: Path
    inside: tuple[str, ...]

    @property
    def authority(self) -> Path:
        """The certificate of the authority of the ACME server."""
        return self.folder / "caddy/pki/authorities/site/root.crt"

    @property
    def certbot(self) -> tuple[str, ...]:
        """The program with folders of its own, as a command."""
        unpacked = debian()
        folders = [f"--{name}-dir={self.folder}/certbot/{name}" for name in ("config", "work", "logs")]
        library = f"PYTHONPATH={unpacked}/usr/lib/python3/dist-packages"
        return ("env", library, "/usr/bin/python3", f"{unpacked}/usr/bin/certbot", *folders)

    def run(self, command: Sequence[str | Path], timeout: float = 180, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a program there, with these variables besides."""
        variables = [f"{name}={value}" for name, value in more.items()]
        return subprocess.run(
            [*self.inside, "env", *variables, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )


@contextlib.contextmanager
def own_network(folder: Path, *names: str) -> Iterator[Place]:
    """A network with nothing but loopback, where these names lead to it. Takes root."""
    (folder / "etc").mkdir()
    (folder / "etc/hosts").write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
    ready = folder / "network.pid"
    # The whole folder: a mount on one file is gone as soon as somebody outside replaces the file.
    layers = f"mount -t overlay -o lowerdir={folder}/etc:/etc overlay /etc"
    script = f"ip link set lo up && {layers} && echo $$ >{ready}.new && mv {ready}.new {ready} && exec sleep infinity"
    with running(["unshare", "--net", "--mount", "sh", "-c", script], ready.exists, folder / "network.log"):
        inside = ("nsenter", f"--target={ready.read_text().strip()}", "--net", "--mount", f"--wd={folder}", "--")
        yield Place(folder, inside)


@contextlib.contextmanager
def running_acme(place: Place) -> Iterator[None]:
    """Start the ACME server."""
    (place.folder / "Caddyfile").write_text(CADDYFILE.format(folder=place.folder))
    caddy = environment("identity") / "bin/caddy"
    command: list[str | Path] = [*place.inside, "env", f"HOME={place.folder}", caddy, "run", "--config", "Caddyfile"]

    def ready() -> bool:
        return place.run(["curl", "-sf", "--cacert", place.authority, "-o", "/dev/null", SERVER]).returncode == 0

    with running(command, ready, place.folder / "caddy.log"):
        yield
