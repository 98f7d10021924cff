# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Objects of a place for artifacts, one by one: list, read, put. A directory with Python's standard library, S3 with boto3.

Whether a place can be used at all, and why not, is what _artifact_probe.py asks; here an error is only put into words.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import pwd
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ansible_collections.mlops.mlflow.plugins.module_utils import _s3_access
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_locations import OURS
from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_uri import ArtifactUri

# S3 takes 10,000 parts of an object.
_PART_BYTES = 16 * 1024**2
_PARTS = 9000
_SHELF = f"{OURS}/moving"  # where a copy lies until it is whole
MARKER = f"{OURS}/environment"

# How each module that opens a place is told where and as whom; the same names as in mlflow_artifact_check.
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "uri": {"type": "str", "required": True},
    **_s3_access.OPTIONS,
}


class StoreError(Exception):
    """What a store or its driver said, in one line."""


@dataclass(frozen=True)
class Thing:
    """An object as a listing shows it."""

    key: str
    size: int
    token: str  # changes when the object does
    modified: float
    odd: str = ""  # what it is, if it is no plain file


@dataclass(frozen=True)
class Entry:
    """A version of an object, or a marker of its deletion."""

    version: str
    marker: bool
    modified: float  # seconds; stores tell whole ones
    latest: bool


class Reader(Protocol):
    """Bytes that come in order."""

    def read(self, amount: int = -1, /) -> bytes:
        """As a file."""


class Objects(Protocol):
    """A place."""

    def things(self, prefix: str) -> Iterator[Thing]:
        """Everything at or below a key; empty for all."""

    def look(self, key: str) -> Thing | None:
        """One object, if there is one."""

    def reading(self, key: str) -> contextlib.AbstractContextManager[Reader]:
        """Read an object."""

    def put(self, key: str, body: Reader, size: int) -> None:
        """Write an object; at no moment is there half of one under its name."""

    def free(self) -> int | None:
        """Bytes that it can take; None if it does not say."""


class Erasable(Objects, Protocol):
    """A place from which objects can be taken away, by an identity that may do that."""

    def remove(self, key: str) -> None:
        """Remove one object; that it is gone already is no error. Whether it went is for a listing to say."""


def words(error: BaseException) -> str:
    """One line of what was said."""
    return " ".join(str(error).split())[:400].rstrip(".") or type(error).__name__


@contextlib.contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Be that user, with its groups, for a while. Needs root; an empty name changes nothing."""
    if not name:
        yield
        return
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        raise StoreError(f"there is no user {name} on this host") from None
    before, groups = (os.geteuid(), os.getegid()), os.getgroups()
    try:
        os.setgroups(os.getgrouplist(name, user.pw_gid))
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
    except PermissionError as error:
        raise StoreError(f"only root can act as {name}: {words(error)}") from None
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.setgroups(groups)


# ----- a directory


class Directory:
    """A directory; keys are paths below it."""

    def __init__(self, place: ArtifactUri) -> None:
        """Take an absolute path that exists, or will at the first `put`."""
        self._root = place.path

    def things(self, prefix: str) -> Iterator[Thing]:
        """Everything at or below a key, folders in no order."""
        with _in_words():
            start = self._path(prefix)
            try:
                found = os.lstat(start)
            except (FileNotFoundError, NotADirectoryError):
                return
            if not stat.S_ISDIR(found.st_mode):
                yield _thing(prefix, found)
                return
            waiting = [start]
            while waiting:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        else:
                            # Gone since it was listed is gone.
                            with contextlib.suppress(FileNotFoundError):
                                key = os.path.relpath(entry.path, self._root)
                                yield _thing(key, entry.stat(follow_symlinks=False))

    def look(self, key: str) -> Thing | None:
        """One object, if there is one."""
        with _in_words():
            try:
                found = os.lstat(self._path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return None if stat.S_ISDIR(found.st_mode) else _thing(key, found)

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[BinaryIO]:
        """Read a file, never through a link."""
        with _in_words(), os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            yield file

    def put(self, key: str, body: Reader, size: int) -> None:
        """Write beside, and give it its name when it is whole and on the disk."""
        del size
        with _in_words():
            target = Path(self._path(key))
            shelf = Path(self._path(_SHELF))
            shelf.mkdir(parents=True, exist_ok=True)
            fresh = shelf / uuid.uuid4().hex
            try:
                with fresh.open("xb") as file:
                    shutil.copyfileobj(body, file, 1024**2)
                    file.flush()
                    os.fsync(file.fileno())
                # Directories as MLflow makes them: by the umask of who acts.
                target.parent.mkdir(parents=True, exist_ok=True)
                fresh.replace(target)
            finally:
                fresh.unlink(missing_ok=True)
            folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def remove(self, key: str) -> None:
        """Remove a file, or a link and not what it leads to, and the folders that are empty then."""
        with _in_words():
            path = Path(self._path(key))
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
            for folder in path.parents:
                if folder == Path(self._root):
                    break
                try:
                    folder.rmdir()
                except OSError:  # others have something in it, or it is gone
                    break

    def free(self) -> int | None:
        """What the file system has left for the user; of the nearest folder that exists."""
        with _in_words():
            place = Path(self._root)
            while not place.exists():
                place = place.parent
            return shutil.disk_usage(place).free

    def _path(self, key: str) -> str:
        return posixpath.join(self._root, key) if key else self._root


def _thing(key: str, found: os.stat_result) -> Thing:
    odd = "" if stat.S_ISREG(found.st_mode) else "a link" if stat.S_ISLNK(found.st_mode) else "a special file"
    return Thing(key, found.st_size, f"{found.st_size}-{found.st_mtime_ns}", found.st_mtime, odd)


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{os.fsencode(error.filename).decode(errors='replace')}: " if isinstance(error.filename, str) else ""
        raise StoreError(f"{what}{error.strerror or words(error)}") from error


# ----- S3


class Bucket:
    """A prefix of a bucket; keys are relative to it."""

    def __init__(self, place: ArtifactUri, access: Mapping[str, str]) -> None:
        """Prepare; nothing is asked yet.

        Args:
            place: bucket and prefix.
            access: the options of _s3_access.py.
        """
        self._bucket = place.bucket
        self._prefix = f"{place.prefix}/" if place.prefix else ""
        with self._in_words("prepare"):
            import boto3
            import botocore.config

            settings = botocore.config.Config(
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=64,
                retries={"total_max_attempts": 8, "mode": "standard"},
                s3={"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")},
            )
            self._client = boto3.client("s3", **_s3_access.client_arguments(access), config=settings)

    def things(self, prefix: str) -> Iterator[Thing]:
        """Everything at or below a key, in the order of the store."""
        with self._in_words("list"):
            pages = self._client.get_paginator("list_objects_v2")
            whole = self._prefix + prefix
            for page in pages.paginate(Bucket=self._bucket, Prefix=whole):
                for entry in page.get("Contents") or []:
                    full = str(entry["Key"])
                    # "5" is no part of "50"; what consoles show as an empty folder is no object of MLflow's.
                    if prefix and full != whole and not full.startswith(f"{whole}/"):
                        continue
                    if full.endswith("/") and not entry["Size"]:
                        continue
                    yield Thing(
                        full.removeprefix(self._prefix),
                        int(entry["Size"]),
                        f"{entry['Size']}-{entry.get('ETag') or ''}",
                        entry["LastModified"].timestamp(),
                    )

    def look(self, key: str) -> Thing | None:
        """One object, if there is one: by listing, because who may not list is told of a missing object that it is denied."""
        return next((one for one in self.things(key) if one.key == key), None)

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[Reader]:
        """Read an object."""
        with self._in_words("read"):
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)["Body"]
            with contextlib.closing(body):
                yield body

    def put(self, key: str, body: Reader, size: int) -> None:
        """Write an object, in parts if it is large."""
        with self._in_words("put"):
            import boto3.s3.transfer

            config = boto3.s3.transfer.TransferConfig(
                multipart_threshold=_PART_BYTES,
                multipart_chunksize=max(_PART_BYTES, size // _PARTS + 1),
                use_threads=False,  # objects are moved side by side already
            )
            self._client.upload_fileobj(body, self._bucket, self._prefix + key, Config=config)

    def remove(self, key: str) -> None:
        """Remove an object. One by one: names of S3 may hold what the XML of a removal of many cannot, and not every store takes its checksum."""
        with self._in_words("delete"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def free(self) -> int | None:
        """A bucket does not say."""
        return None

    def versioning(self) -> str:
        """`Enabled`, `Suspended`, or empty if it has never kept versions."""
        with self._in_words("look"):
            return str(self._client.get_bucket_versioning(Bucket=self._bucket).get("Status") or "")

    def histories(self, after: str) -> Iterator[tuple[dict[str, list[Entry]], str]]:
        """Pages of keys with all their versions and markers, those of deleted objects as well.

        Args:
            after: begin behind this key, which a page named; empty for the first. Only the store knows the order.

        Yields:
            Versions and markers by key, and the key behind which the next page begins; empty if there is none.
        """
        more = after
        with self._in_words("list versions"):
            while True:
                found, last = self._versions(self._prefix, self._prefix + more if more else "")
                if last:
                    # A page ends somewhere in the versions of its last key.
                    found[last] = self._versions_of(last)
                more = last.removeprefix(self._prefix)
                yield {full.removeprefix(self._prefix): entries for full, entries in found.items()}, more
                if not last:
                    return

    def _versions_of(self, full: str) -> list[Entry]:
        entries: list[Entry] = []
        marker: dict[str, str] = {}
        while True:
            page = self._client.list_object_versions(Bucket=self._bucket, Prefix=full, **marker)
            entries += _entries(page).get(full, [])
            # Behind the key come those that begin like it.
            if not page["IsTruncated"] or page["NextKeyMarker"] != full:
                return entries
            marker = {"KeyMarker": full, "VersionIdMarker": page["NextVersionIdMarker"]}

    def _versions(self, prefix: str, after: str) -> tuple[dict[str, list[Entry]], str]:
        marker = {"KeyMarker": after} if after else {}
        page = self._client.list_object_versions(Bucket=self._bucket, Prefix=prefix, **marker)
        return _entries(page), str(page["NextKeyMarker"]) if page["IsTruncated"] else ""

    def remove_version(self, key: str, version: str) -> None:
        """Remove one version, or the marker that has this id."""
        with self._in_words("delete a marker"):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key, VersionId=version)

    @contextlib.contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # whatever a driver raises is what is to be told
            raise StoreError(
                f"s3://{self._bucket}/{self._prefix} {what}: {type(error).__name__}: {words(error)}"
            ) from error


def _entries(page: Mapping[str, Any]) -> dict[str, list[Entry]]:
    """The versions and markers of a page, by key."""
    found: dict[str, list[Entry]] = {}
    for kind in ("Versions", "DeleteMarkers"):
        for one in page.get(kind) or []:
            entry = Entry(one["VersionId"], kind == "DeleteMarkers", one["LastModified"].timestamp(), one["IsLatest"])
            found.setdefault(str(one["Key"]), []).append(entry)
    return found


def open_place(place: ArtifactUri, access: Mapping[str, str]) -> Directory | Bucket:
    """Return the objects of a place; StoreError for a kind that is not looked into, or a library that is missing."""
    if place.kind == "directory":
        return Directory(place)
    if place.kind == "s3":
        return Bucket(place, access)
    raise StoreError(f"{place.uri} is neither a directory nor S3, and other stores are not looked into")
