"""Hosts to try and test the collection on: Debian with systemd as PID 1, reached by SSH, like a small VM.

    tools/hosts up mlflow-dev 10.213.77.10 trixie --alias mlflow.dev.test
    ssh -i /run/mlops-hosts/id -o UserKnownHostsFile=/run/mlops-hosts/known_hosts root@10.213.77.10
    tools/hosts down --all

A host is a systemd-nspawn container on an overlay over a cached image, on a bridge of its own. Nothing is left behind
by `down`: `leaks` looks for it. Standard library only, so that it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

RUN = Path(os.environ.get("MLOPS_HOSTS_RUN", "/run/mlops-hosts"))  # keys and known_hosts: what a client needs
DISKS = Path(os.environ.get("MLOPS_HOSTS_STATE", "/var/lib/mlops-hosts"))  # one folder per host
CLONE = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("MLOPS_HOSTS_CACHE", "/var/cache/mlops-hosts"))  # images, kept by `down`
HOSTS_FILE = Path("/etc/hosts")

BRIDGE = "mlops0"
GATEWAY = ipaddress.ip_interface("10.213.77.1/24")
TABLE = "mlops_hosts"
MARK = "mlops-hosts"  # in comments of firewall rules and around our lines in hosts files
BLOCK_BEGIN, BLOCK_END = f"# BEGIN {MARK}", f"# END {MARK}"
IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LOCAL_CAS = Path("/usr/local/share/ca-certificates")

SUITES = ("trixie", "bookworm")
# What a small VM has before anybody prepares it; Ansible needs Python and nothing else.
BARE = [
    *("systemd-sysv", "dbus", "libpam-systemd", "udev", "openssh-server", "sudo", "cron", "logrotate"),
    *("python3", "python3-apt", "ca-certificates", "iproute2", "netbase", "procps", "tzdata", "debian-archive-keyring"),
]
# An image SUITE-LAYER has these as well, so that scenarios which do not test the installation start sooner.
LAYERS = {
    "apt": [
        *("postgresql", "nginx", "nftables", "acl"),
        *("python3-venv", "python3-pip", "python3-psycopg2", "python3-cryptography"),
    ],
}
IMAGE_HOOKS = [
    "systemctl --root=$1 --quiet enable systemd-networkd ssh",
    # each host gets its own of these
    "rm -f $1/etc/ssh/ssh_host_* $1/etc/hostname $1/etc/resolv.conf && : > $1/etc/machine-id",
    # Debian makes a cluster at install; a host on this image makes its own, with its own settings
    "rm -rf $1/etc/postgresql/* $1/var/lib/postgresql/*",
]
REBOOTED = 133  # how systemd-nspawn ends when its guest asks to be started again
NEEDED = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}


class HostsError(Exception):
    """One sentence for the user: what is missing or wrong, and what to do."""


@dataclass
class Host:
    name: str
    address: str
    image: str  # as asked for, for example trixie
    lower: str  # the folder of the image that the disk stands on
    aliases: list[str] = field(default_factory=list)
    owner: str = ""  # the clone whose driver started it last

    @property
    def folder(self) -> Path:
        return DISKS / self.name

    @property
    def root(self) -> Path:
        return self.folder / "root"


# --- decisions without side effects -----------------------------------------------------------------------------------


def parse_sources(text: str) -> list[tuple[str, str, list[str]]]:
    """(URI, suite, components) of each enabled binary source, from either of apt's two formats."""
    found: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():  # one-line format
        if match := re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line):
            found.append((match[1], match[2], match[3].split()))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):  # deb822 format
        unfolded = re.sub(r"\n[ \t]+", " ", stanza)
        fields = {k.lower(): v.split() for k, _colon, v in (entry.partition(":") for entry in unfolded.splitlines())}
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
            for uri in fields.get("uris", []):
                found += [(uri, suite, fields.get("components", [])) for suite in fields.get("suites", [])]
    return found


def choose_mirrors(sources: Sequence[tuple[str, str, list[str]]]) -> tuple[str | None, str | None]:
    """The Debian archive and its security archive among a machine's sources; others may use the same suite names."""
    releases = {*SUITES, "bullseye", "forky", "sid", "stable", "testing", "unstable"}
    main = [uri for uri, suite, parts in sources if suite in releases and "main" in parts]
    security = [uri for uri, suite, parts in sources if suite.partition("-")[2] == "security" and "main" in parts]
    main.sort(key=lambda uri: "debian" not in uri.rstrip("/").rpartition("/")[2])  # stable: the machine's order counts
    return (main[0].rstrip("/") if main else None, security[0].rstrip("/") if security else None)


def edit_block(text: str, lines: Sequence[str]) -> str:
    """`text` with our marked block holding `lines`; without lines the block goes and the rest is as it was before."""
    kept = re.sub(rf"^{re.escape(BLOCK_BEGIN)}\n(?:.*\n)*?{re.escape(BLOCK_END)}(?:\n|\Z)", "", text, flags=re.M)
    if not lines:
        return kept
    newline = "" if not kept or kept.endswith("\n") else "\n"
    return kept + newline + "\n".join([BLOCK_BEGIN, *lines, BLOCK_END]) + "\n"


def hosts_lines(hosts: Sequence[Host]) -> list[str]:
    return [" ".join([host.address, host.name, *host.aliases]) for host in sorted(hosts, key=lambda h: h.name)]


def guest_resolv_conf(machine: str, uplink: str) -> str:
    """The machine's resolver settings; a stub resolver on its loopback cannot be reached from a guest."""

    def servers(text: str) -> list[str]:
        return re.findall(r"^\s*nameserver\s+(\S+)", text, flags=re.M)

    reachable = [server for server in servers(machine) if not server.startswith("127.") and server != "::1"]
    chosen = reachable or [server for server in servers(uplink) if not server.startswith("127.")]
    if not chosen:
        raise HostsError(
            "The machine resolves names only on its own loopback address, which hosts cannot reach: "
            "add a nameserver line with a reachable address to /etc/resolv.conf."
        )
    other = [line for line in machine.splitlines() if re.match(r"\s*(search|domain|options)\s", line)]
    return "\n".join([*(f"nameserver {server}" for server in chosen), *other]) + "\n"


def image_parts(image: str) -> tuple[str, list[str]]:
    """Suite and packages of an image name."""
    names = [*SUITES, *(f"{suite}-{layer}" for suite in SUITES for layer in LAYERS)]
    if image not in names:
        raise HostsError(f"There is no image {image}: choose one of {', '.join(names)}.")
    suite, _dash, layer = image.partition("-")
    return suite, BARE + (LAYERS[layer] if layer else [])


def check_request(name: str, address: str, others: Sequence[Host]) -> None:
    """Refuse a host whose name or address cannot work, or belongs to another one."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise HostsError(f"{name} is no usable host name: lower-case letters, digits and dashes, a letter first.")
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        raise HostsError(f"{address} is no IP address.") from None
    if wanted not in GATEWAY.network or wanted in (GATEWAY.ip, GATEWAY.network[0], GATEWAY.network[-1]):
        raise HostsError(f"{address} is not usable: choose an address in {GATEWAY.network}, but not {GATEWAY.ip}.")
    for other in others:
        if other.name != name and other.address == address:
            raise HostsError(f"{address} belongs to the host {other.name}: choose another, or run `down {other.name}`.")


# --- small helpers ----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(f"hosts: {text}", file=sys.stderr, flush=True)


def run(*argv: str | Path, stdin: str | None = None, check: bool = True) -> str:
    done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise HostsError(f"`{' '.join(str(a) for a in argv[:6])}` failed: {lines[-1]}")
    return done.stdout


def replace(file: Path, text: str) -> None:
    """Readers see the old text or the new one, never a part of it."""
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text)
    if file.exists():
        shutil.copymode(file, fresh)
    try:
        fresh.replace(file)
    except OSError:  # in containers /etc/hosts is a mount: it can be written, not replaced
        file.write_text(text)
        fresh.unlink()


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextlib.contextmanager
def locked(name: str, waiting: str = "") -> Iterator[None]:
    """Only one process at a time; the lock ends with the process, however that ends."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                say(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_machine() -> None:
    if os.geteuid() != 0:
        raise HostsError("Test hosts need root (mounts, a bridge, firewall rules): run the command again as root.")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = sorted({package for tool, package in NEEDED.items() if not shutil.which(tool)})
    if missing:
        raise HostsError(f"Test hosts need packages that this machine lacks: apt-get install -y {' '.join(missing)}")


def known_hosts() -> list[Host]:
    files = sorted(DISKS.glob("*/host.json"))
    return [Host(**json.loads(file.read_text())) for file in files]


# --- images -----------------------------------------------------------------------------------------------------------


def mirrors() -> tuple[str, str | None]:
    """Where packages come from: what the user says, else where this machine itself gets its own."""
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [file.read_text() for file in files if file.suffix in (".list", ".sources") and file.is_file()]
    sources = [source for text in texts for source in parse_sources(text)]
    for number, (uri, suite, parts) in enumerate(sources):
        if uri.startswith("mirror+file:"):  # cloud images name a file that lists mirrors
            listed = Path(uri.removeprefix("mirror+file:").replace("//", "/")).read_text().split()
            sources[number] = (listed[0], suite, parts)
    main, security = choose_mirrors([s for s in sources if s[0].startswith(("http:", "https:"))])
    main = os.environ.get("MLOPS_HOSTS_MIRROR") or main
    if not main:
        raise HostsError(
            "This machine's apt sources name no Debian mirror: "
            "set MLOPS_HOSTS_MIRROR to the URL of one (and MLOPS_HOSTS_SECURITY_MIRROR)."
        )
    return main.rstrip("/"), os.environ.get("MLOPS_HOSTS_SECURITY_MIRROR") or security


def apt_settings() -> list[str]:
    """The machine's own apt settings that decide whether a mirror can be reached and believed."""
    wanted = r"Acquire::(http::Proxy|https::Proxy|Check-Valid-Until|Check-Date) "
    return [line for line in run("apt-config", "dump").splitlines() if re.match(wanted, line) and '""' not in line]


def image_folder(image: str) -> Path:
    suite, packages = image_parts(image)
    recipe = json.dumps([suite, packages, IMAGE_HOOKS, mirrors(), apt_settings()])
    return CACHE / f"{image}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def build_image(image: str) -> Path:
    """The folder of the image, built now if it is not in the cache."""
    suite, packages = image_parts(image)
    folder = image_folder(image)
    if folder.is_dir():
        return folder
    with locked(image, f"waiting for another process that builds the image {image}"):
        if folder.is_dir():
            return folder
        main, security = mirrors()
        probe_mirror(f"{main}/dists/{suite}/Release")
        keyring = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        sources = [f"deb {keyring} {main} {suite} main", f"deb {keyring} {main} {suite}-updates main"]
        sources += [f"deb {keyring} {security} {suite}-security main"] if security else []
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        say(f"building the image {image}: about a minute, once")
        log = CACHE / f"{image}.log"
        argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", "--skip=cleanup/apt/lists"]
        argv += [f"--aptopt={setting}" for setting in apt_settings()]
        argv += [f"--customize-hook={hook}" for hook in IMAGE_HOOKS]
        started = time.monotonic()
        with log.open("w") as out:
            done = subprocess.run(
                [*argv, suite, str(unfinished), *sources], stdout=out, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode != 0:
            errors = [line for line in log.read_text(errors="replace").splitlines() if re.match("E:|error", line)]
            raise HostsError(f"The image {image} could not be built ({(errors or ['?'])[0]}); all of it: {log}")
        used = {host.lower for host in known_hosts()}
        for old in CACHE.glob(f"{image}-????????"):
            if str(old) not in used:
                shutil.rmtree(old)
        unfinished.rename(folder)
        say(f"built the image {image} in {time.monotonic() - started:.0f} s")
    return folder


def probe_mirror(url: str) -> None:
    proxies = {m[1]: m[2] for line in apt_settings() if (m := re.match(r'Acquire::(https?)::Proxy "(.+)";', line))}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies or None))
    try:
        opener.open(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except (OSError, ValueError) as error:
        raise HostsError(
            f"The package mirror does not answer within 5 seconds ({url}: {error}): check the network."
        ) from None


# --- network ----------------------------------------------------------------------------------------------------------


def forward_chains() -> list[tuple[str, str, str]]:
    """Chains of others that drop forwarded packets unless told otherwise, as Docker and firewalls bring them."""
    chains = [item["chain"] for item in json.loads(run("nft", "-j", "list", "chains"))["nftables"] if "chain" in item]
    return [
        (chain["family"], chain["table"], chain["name"])
        for chain in chains
        if chain.get("hook") == "forward"
        and chain.get("policy") == "drop"
        and chain["family"] in ("ip", "inet")
        and chain["table"] != TABLE
    ]


def our_rules() -> list[tuple[str, str, str, int]]:
    """Rules of ours in the chains of others."""
    rules = [item["rule"] for item in json.loads(run("nft", "-j", "list", "ruleset"))["nftables"] if "rule" in item]
    return [(r["family"], r["table"], r["chain"], r["handle"]) for r in rules if r.get("comment") == MARK]


def network_up() -> None:
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", str(GATEWAY), "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    before = IP_FORWARD.read_text().strip()
    if before != "1":
        (RUN / "ip_forward").write_text(before)
        IP_FORWARD.write_text("1")
    rules = f"""
        table inet {TABLE} {{
          chain outgoing {{
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr {GATEWAY.network} oifname != "{BRIDGE}" masquerade
          }}
          chain forwarding {{
            type filter hook forward priority filter; policy accept;
            iifname != "{BRIDGE}" oifname "{BRIDGE}" ct state new drop
          }}
        }}"""
    # a table that is declared, deleted and declared again is new, and never absent: nft runs a file as one transaction
    run("nft", "-f", "-", stdin=f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n{rules}")
    has_ours = {rule[:3] for rule in our_rules()}
    for family, table, chain in forward_chains():
        if (family, table, chain) not in has_ours:
            for match in ("iifname", "oifname"):
                run("nft", "insert", "rule", family, table, chain, match, BRIDGE, "accept", "comment", f'"{MARK}"')


def network_down() -> None:
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        run("ip", "link", "delete", BRIDGE)
    if f"table inet {TABLE}" in run("nft", "list", "tables"):
        run("nft", "delete", "table", "inet", TABLE)
    for family, table, chain, handle in our_rules():
        run("nft", "delete", "rule", family, table, chain, "handle", str(handle))
    saved = RUN / "ip_forward"
    if saved.exists():
        IP_FORWARD.write_text(saved.read_text())
    for file in (saved, RUN / "id", RUN / "id.pub", RUN / "known_hosts"):
        file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not ours alone: others may keep files here
        RUN.rmdir()


def write_names() -> None:
    """Machine and hosts resolve all hosts, and SSH knows their keys."""
    hosts = known_hosts()
    lines = hosts_lines(hosts)
    for file in [HOSTS_FILE, *(host.root / "etc/hosts" for host in hosts)]:
        if file.exists():
            text = file.read_text()
            if (wanted := edit_block(text, lines)) != text:
                replace(file, wanted)
    if RUN.is_dir():
        keys = [(host, (host.folder / "ssh_host_ed25519_key.pub").read_text().split()[:2]) for host in hosts]
        entries = [f"{','.join([host.address, host.name, *host.aliases])} {' '.join(key)}\n" for host, key in keys]
        replace(RUN / "known_hosts", "".join(entries))


# --- hosts ------------------------------------------------------------------------------------------------------------


def nspawn_pid(host: Host) -> int | None:
    """The systemd-nspawn process of this host: found by its command line, so a reused process id is never ours."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            argv = (folder / "cmdline").read_text().split("\0")  # empty for a finished process that nobody collected
            if argv[0].endswith("systemd-nspawn") and f"--directory={host.root}" in argv:
                return int(folder.name)
    return None


def guest_init(host: Host) -> int | None:
    """The host's PID 1 as the machine numbers it; it can outlive systemd-nspawn."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            numbers = re.search(r"^NSpid:(.*)$", (folder / "status").read_text(), flags=re.M)
            is_init = numbers is not None and numbers[1].split()[1:] == ["1"]
            if is_init and f"upperdir={host.folder}/upper," in (folder / "mountinfo").read_text():
                return int(folder.name)
    return None


def running(host: Host) -> bool:
    return nspawn_pid(host) is not None or guest_init(host) is not None


def port_open(address: str, port: int = 22) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def ssh(host: Host, command: str) -> subprocess.CompletedProcess[str]:
    options = [f"UserKnownHostsFile={RUN}/known_hosts", "GlobalKnownHostsFile=/dev/null", "StrictHostKeyChecking=yes"]
    options += ["IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=5"]
    flags = [part for option in options for part in ("-o", option)]
    argv = ["ssh", "-F", "none", "-i", f"{RUN}/id", *flags, f"root@{host.address}", command]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def healthy(host: Host) -> bool:
    return nspawn_pid(host) is not None and port_open(host.address) and ssh(host, "true").returncode == 0


def power_cut(host: Host) -> None:
    """End every process of the host at once. Killing systemd-nspawn would not: its PID 1 would live on."""
    if (pid := guest_init(host)) is not None:
        os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not running(host), 3) and (pid := nspawn_pid(host)) is not None:
        os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not running(host), 10):
        raise HostsError(f"{host.name} is still there 10 seconds after its processes were killed.")


def stop(host: Host) -> None:
    """Shut down in order, but in bounded time."""
    if (pid := nspawn_pid(host)) is not None:
        os.kill(pid, signal.SIGTERM)
        if not wait_until(lambda: nspawn_pid(host) is None, 10):
            say(f"{host.name} did not shut down within 10 s: cutting its power")
    power_cut(host)


def mount(host: Host) -> None:
    for name in ("upper", "work", "root"):
        (host.folder / name).mkdir(exist_ok=True)
    if not os.path.ismount(host.root):
        layers = f"lowerdir={host.lower},upperdir={host.folder}/upper,workdir={host.folder}/work"
        run("mount", "-t", "overlay", "mlops-hosts", "-o", layers, host.root)


def unmount(host: Host) -> None:
    if os.path.ismount(host.root):
        # the kernel may need a moment to let go of a host that just ended
        wait_until(
            lambda: subprocess.run(["umount", str(host.root)], capture_output=True, check=False).returncode == 0, 10
        )
        if os.path.ismount(host.root):
            raise HostsError(f"{host.root} cannot be unmounted: a process on this machine still uses it.")


def write_identity(host: Host) -> None:
    """What makes this image this host: name, address, keys, resolver, and what the machine trusts."""
    key = host.folder / "ssh_host_ed25519_key"
    uplink = Path("/run/systemd/resolve/resolv.conf")
    resolv = guest_resolv_conf(Path("/etc/resolv.conf").read_text(), uplink.read_text() if uplink.exists() else "")
    # the file's name sorts before systemd's own 80-container-host0.network
    network = (
        f"[Match]\nName=host0\n[Network]\nAddress={host.address}/{GATEWAY.network.prefixlen}\nGateway={GATEWAY.ip}\n"
    )
    files = {
        "etc/hostname": (f"{host.name}\n", 0o644),
        "etc/resolv.conf": (resolv, 0o644),
        "etc/systemd/network/10-host0.network": (network, 0o644),
        "etc/ssh/ssh_host_ed25519_key": (key.read_text(), 0o600),
        "etc/ssh/ssh_host_ed25519_key.pub": (key.with_suffix(".pub").read_text(), 0o644),
        "root/.ssh/authorized_keys": ((RUN / "id.pub").read_text(), 0o600),
    }
    if not (host.root / "etc/hosts").exists():
        files["etc/hosts"] = ("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n", 0o644)
    for name, (text, mode) in files.items():
        file = host.root / name
        file.parent.mkdir(mode=0o700 if ".ssh" in name else 0o755, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.touch(mode)
        file.write_text(text)
    # whoever inspects this machine's traffic inspects the hosts' traffic too: they trust the same authorities
    if CA_BUNDLE.exists():
        shutil.copyfile(CA_BUNDLE, host.root / CA_BUNDLE.relative_to("/"))
    for authority in LOCAL_CAS.glob("*.crt"):
        shutil.copyfile(authority, host.root / authority.relative_to("/"))


def control_groups(host: Host) -> list[Path]:
    """The host's own control groups on a machine without systemd.

    Hosts that share a group see each other's processes in their units and then wait for them when they stop.
    """
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tracking = [m[1] for m in mounts if m[2] == "cgroup2" or (m[2] == "cgroup" and "name=systemd" in m[3].split(","))]
    return [Path(mount) / f"mlops-host-{host.name}" for mount in tracking]


def boot(host: Host) -> None:
    argv = ["systemd-nspawn", "--quiet", f"--directory={host.root}", f"--machine={host.name}", "--boot"]
    argv += ["--register=no", "--keep-unit", f"--network-bridge={BRIDGE}", "--resolv-conf=off", "--link-journal=no"]
    argv += ["--console=pipe"]
    unified = "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"  # what Debian itself boots with, also on a machine that is older
    if Path("/run/systemd/system").is_dir():  # then a unit of its own: it must not end with the user's session
        unit = ["--quiet", "--collect", f"--unit=mlops-host-{host.name}", f"--setenv={unified}"]
        unit += ["--property=Delegate=yes", f"--property=RestartForceExitStatus={REBOOTED}"]
        run("systemd-run", *unit, f"--property=StandardOutput=append:{host.folder}/console.log", *argv)
        return
    groups = control_groups(host)
    for group in groups:
        group.mkdir(exist_ok=True)
    join = "".join(f"echo $$ >{group}/cgroup.procs\n" for group in groups)
    loop = f'while env {unified} "$@"; [ $? -eq {REBOOTED} ]; do :; done'
    with (host.folder / "console.log").open("a") as log:
        subprocess.Popen(
            ["sh", "-c", join + loop, "sh", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for_login(host: Host) -> None:
    log = host.folder / "console.log"
    if not wait_until(lambda: port_open(host.address) or nspawn_pid(host) is None, 60) or nspawn_pid(host) is None:
        tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise HostsError(f"{host.name} did not start ({tail[0]}); its console: {log}")
    if not wait_until(lambda: healthy(host), 30):
        raise HostsError(f"{host.name} answers on port 22, but a login fails: {ssh(host, 'true').stderr.strip()}")
    state = ssh(host, "timeout 60 systemctl is-system-running --wait").stdout.strip()
    if state != "running":
        failed = ssh(host, "systemctl list-units --failed --plain --no-legend | cut -d' ' -f1").stdout.split()
        say(f"{host.name}: systemd says {state}; failed: {', '.join(failed) or 'none'}")
    probe = (
        "timeout 5 python3 -c 'import re,urllib.request as u; "
        'line=[x for x in open("/etc/apt/sources.list") if x.startswith("deb ")][0]; '
        'uri,suite=re.sub(r"\\[.*?\\]", "", line).split()[1:3]; '
        'u.urlopen(uri.rstrip("/") + "/dists/" + suite + "/Release", timeout=5).read(1)\''
    )
    if not any("::Proxy" in setting for setting in apt_settings()) and ssh(host, probe).returncode != 0:
        raise HostsError(
            f"{host.name} is up, but does not reach the package mirror within 5 seconds: "
            "a firewall of this machine may stop forwarded packets."
        )


# --- commands ---------------------------------------------------------------------------------------------------------


def up(name: str, address: str, image: str, aliases: list[str]) -> None:
    image_parts(image)
    check_request(name, address, known_hosts())
    with locked(f"host-{name}", f"waiting for another command on {name}"):
        known = {host.name: host for host in known_hosts()}
        host = known.get(name) or Host(name, address, image, str(build_image(image)))
        if (host.address, host.image) != (address, image):
            raise HostsError(
                f"{name} exists with {host.address} and {host.image}: run `down {name}` first to change that."
            )
        host.aliases, host.owner = sorted(set(aliases)), str(CLONE)
        with locked("state"):
            check_request(name, address, known_hosts())
            RUN.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not (RUN / "id").exists():
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", MARK, "-f", RUN / "id")
            network_up()
            host.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (key := host.folder / "ssh_host_ed25519_key").exists():
                run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key)
            replace(host.folder / "host.json", json.dumps(asdict(host)))
            write_names()
        if name in known:
            if nspawn_pid(host) is not None and wait_until(lambda: healthy(host), 15):  # it may be in a reboot
                say(f"{name} is up already ({host.address}, {host.image})")
                return
            say(f"{name} is not well: starting it again on its disk")
            stop(host)
        started = time.monotonic()
        if not Path(host.lower).is_dir():
            raise HostsError(f"The image under the disk of {name} is gone ({host.lower}): run `down {name}` first.")
        mount(host)
        write_identity(host)
        with locked("state"):
            write_names()  # into the host as well, now that its disk is mounted
        boot(host)
        wait_for_login(host)
        say(f"{name} is up after {time.monotonic() - started:.1f} s ({host.address}, {host.image})")


def find_host(name: str) -> Host:
    for host in known_hosts():
        if host.name == name:
            return host
    raise HostsError(f"There is no host {name}; `list` shows those that exist.")


def cut(name: str) -> None:
    host = find_host(name)
    if not running(host):
        raise HostsError(f"{name} does not run, so there is no power to cut.")
    power_cut(host)
    if port_open(host.address):
        raise HostsError(f"{name} was cut, but {host.address} still answers on port 22.")
    say(f"{name} is cut: its processes are gone and port 22 is closed; `up` starts it again on its disk")


def remove(name: str) -> None:
    """Stop a host and take away all that belongs to it; what an interrupted `up` left is such a host as well."""
    if not (folder := DISKS / name).is_dir():
        say(f"{name} is not there")
        return
    host = Host(name, "", "", "")
    with locked(f"host-{name}", f"waiting for another command on {name}"):
        power_cut(host)  # its disk goes as well: there is nothing to shut down in order for
        unmount(host)
        for group in control_groups(host):
            for parent, _folders, _files in os.walk(group, topdown=False):
                Path(parent).rmdir()
        with locked("state"):
            (folder / "host.json").unlink(missing_ok=True)
            write_names()
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{name} is gone")


def down(names: Sequence[str]) -> None:
    for name in names:
        remove(name)
    with locked("state"):
        if not any(DISKS.glob("*")):
            network_down()
            with contextlib.suppress(OSError):
                DISKS.rmdir()


def list_hosts() -> None:
    for host in known_hosts():
        state = "up" if healthy(host) else "not well" if running(host) else "down"
        print("\t".join([host.name, host.address, host.image, state, *host.aliases]))


def of_others(hosts: Iterable[Host]) -> set[str]:
    """The names of the hosts that another clone on this machine looks after."""
    return {host.name for host in hosts if host.owner not in ("", str(CLONE))}


def leaks() -> list[str]:
    """What is left of this clone's hosts and of such that nobody looks after; the network, once no other clone has a host."""
    others = of_others(known_hosts())

    def ours(path: str) -> bool:
        return path.startswith(f"{DISKS}/") and Path(path).relative_to(DISKS).parts[0] not in others

    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = [f"mount {path}" for path in mounts if ours(path)]
    for folder in sorted(DISKS.glob("*")):
        if folder.name in others:
            continue
        host = Host(folder.name, "", "", "")
        found += [f"disk {folder}"]
        found += [f"control group {group}" for group in control_groups(host) if group.exists()]
        found += [f"process {pid} of {host.name}" for pid in (nspawn_pid(host), guest_init(host)) if pid]
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_text().split("\0")
            if any(ours(word.removeprefix("--directory=")) for word in words if word.startswith("--directory=")):
                found.append(f"process {file.parent.name}: systemd-nspawn")
    return found if others else found + network_leaks()


def network_leaks() -> list[str]:
    found = [f"bridge {BRIDGE}"] if Path(f"/sys/class/net/{BRIDGE}").exists() else []
    found += [f"nft table inet {TABLE}"] if f"table inet {TABLE}" in run("nft", "list", "tables") else []
    found += [f"nft rule in {' '.join(rule[:3])}" for rule in our_rules()]
    found += [f"{HOSTS_FILE}: block of {MARK}"] if BLOCK_BEGIN in HOSTS_FILE.read_text() else []
    found += [f"changed setting {IP_FORWARD}"] if (RUN / "ip_forward").exists() else []
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("image", help="build an image if it is not in the cache, and print its folder")
    one.add_argument("image")
    one = commands.add_parser("up", help="start a host, or leave it alone if it is well")
    for argument in ("name", "address", "image"):
        one.add_argument(argument)
    one.add_argument("--alias", action="append", default=[], help="another name for it, for example its public domain")
    one = commands.add_parser("cut", help="cut the power of a host; its disk stays")
    one.add_argument("name")
    one = commands.add_parser("down", help="stop hosts and remove all that belongs to them")
    one.add_argument("name", nargs="*")
    one.add_argument("--all", action="store_true", help="every host")
    commands.add_parser("list", help="name, address, image, state and other names of each host")
    commands.add_parser("leaks", help="show what this clone left on this machine; nothing may be after `down --all`")
    args = parser.parse_args()
    try:
        require_machine()
        if args.command == "image":
            print(build_image(args.image))
        elif args.command == "up":
            up(args.name, args.address, args.image, args.alias)
        elif args.command == "cut":
            cut(args.name)
        elif args.command == "down":
            if args.all == bool(args.name):
                parser.error("say which hosts, or --all")
            down([folder.name for folder in DISKS.glob("*")] if args.all else args.name)
        elif args.command == "list":
            list_hosts()
        elif found := leaks():
            print("\n".join(found))
            return 1
    except HostsError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
