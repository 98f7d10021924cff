# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was deleted from a bucket since a moment, told from the versions of its objects. Pure.

A bucket that keeps versions deletes nothing: it puts a marker over the versions of an object, and whoever takes the marker away sees the
newest version again. (Amazon S3 User Guide, "Working with delete markers" and "Managing delete markers")
"""

from __future__ import annotations

from collections.abc import Sequence

from ansible_collections.mlops.mlflow.plugins.module_utils._artifact_objects import Entry

# The id of what was written while the bucket kept no versions. It names whatever is there at the time, so it is never removed by it: a
# marker that was replaced by an object meanwhile would be that object.
UNVERSIONED = "null"


def markers_since(entries: Sequence[Entry], moment: float, tolerance: float) -> list[str]:
    """Return the markers that hide an object which was there at a moment and was deleted since, the one that shows it last.

    In doubt it was there: an object too many belongs to nothing and is told by the audit, one too few is lost.

    Args:
        entries: all versions and markers of one key.
        moment: seconds.
        tolerance: seconds by which the clock of the store may differ from the one that told the moment.

    Returns:
        Ids of markers, the oldest first; empty if it is not deleted, was deleted before, or came later.
    """
    order = sorted(entries, key=lambda one: (one.modified, one.latest, one.marker), reverse=True)
    versions = [one for one in order if not one.marker]
    if not order or not order[0].marker or not versions:
        return []
    since, until = moment - tolerance, moment + tolerance
    # A whole second stands for all of it.
    before = [one for one in order if one.modified < int(since)]
    there = any(int(since) <= one.modified <= until for one in versions)
    if before and not there:
        newest = before[0].modified
        there = any(not one.marker and one.modified == newest for one in before)
    if order[0].modified < int(since) or not there:
        return []
    hiding = [one.version for one in order if one.marker and one.modified >= versions[0].modified]
    return [] if UNVERSIONED in hiding else hiding[::-1]
