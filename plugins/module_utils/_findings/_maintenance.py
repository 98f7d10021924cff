# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What jobs of maintenance refuse, what they find, and what is wrong when they do not run."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "MAINTENANCE_SCHEDULE",
        CRITICAL,
        "A schedule cannot be understood",
        "It is written in another way than both schedulers can be told.",
        "Write, for example, daily 03:10.",
    ),
    Finding(
        "MAINTENANCE_LIMIT",
        CRITICAL,
        "A limit of a job is too small",
        "With it the job could do nothing, or would delete what somebody is about to restore.",
        "Raise it, or leave it out.",
    ),
    Finding(
        "MAINTENANCE_STORE",
        CRITICAL,
        "Artifacts are in a store that no job can look into",
        "Jobs that delete list what they deleted, in a directory or in S3. Google Cloud Storage and Azure Blob are not looked into.",
        "Set enabled to false for the job.",
    ),
    Finding(
        "MAINTENANCE_IDENTITY",
        CRITICAL,
        "There is no identity that may delete artifacts",
        "The servers' own identity cannot delete, and maintenance has none.",
        "Set mlflow_artifact_store_maintenance_access_key_id and mlflow_artifact_store_maintenance_secret_access_key, or dry_run to true.",
    ),
    Finding(
        "MAINTENANCE_DELIVERY",
        CRITICAL,
        "What is wrong cannot be told as it was asked for",
        "Nobody to tell is named, a place is incomplete, or a secret would be readable on its way.",
        "Set mlflow_maintenance_mail_to with _mail_host and _mail_from, or mlflow_maintenance_webhook_url.",
    ),
    Finding(
        "JOB_FAILED",
        WARNING,
        "A job of maintenance failed",
        "It said why, or it was ended by its timeout, for want of memory or with its host.",
        "See the job's journal, and run it again with the playbook mlops.mlflow.maintenance.",
    ),
    Finding(
        "JOB_OVERDUE",
        WARNING,
        "A job of maintenance has not run in its time",
        "Its timer or cron does not run, was disabled by hand, or the host was off.",
        "Run the playbook mlops.mlflow.maintenance, which sets the schedule up again.",
    ),
    Finding(
        "JOB_DELIVERY",
        WARNING,
        "What is wrong on a host could not be told",
        "The mail server or the webhook is away, refused it, or its certificate is not trusted.",
        "Read the reason, correct mlflow_maintenance_mail_* or mlflow_maintenance_webhook_*, and run the job delivery; it tells then what was missed.",
    ),
    Finding(
        "MAINTENANCE_GC_HELD",
        WARNING,
        "Something was deleted long ago and has to stay",
        "A registered version uses it, its artifacts are mixed with those of something that was not deleted, or they are in another store.",
        "Delete the registered version as well, or restore what it needs; the evidence names both.",
    ),
    Finding(
        "MAINTENANCE_GC_LEFT",
        WARNING,
        "Something that was to be deleted for good is still there",
        "The identity of maintenance may not delete its artifacts, a client still wrote, or MLflow stumbled over the row.",
        "Correct what the evidence in last.json says; rows of what could not be emptied stay, and the next run tries again.",
    ),
    Finding(
        "MAINTENANCE_TRACES_BEHIND",
        WARNING,
        "Traces become old faster than the job deletes them",
        "One run ended at mlflow_maintenance_traces.most, and there are more. After the retention was set for the first time that is gone within"
        " some runs.",
        "If it stays, raise mlflow_maintenance_traces.most or let the job run more often (mlflow_maintenance_traces.schedule).",
    ),
    Finding(
        "MAINTENANCE_TRACES_LEFT",
        WARNING,
        "Traces that are older than they are kept are still there",
        "Their objects lie in another store or in a folder with something that stays, or the identity of maintenance may not delete them.",
        "Correct what the evidence says, or move the objects with the playbook mlops.mlflow.move_artifacts; the next run tries again.",
    ),
    Finding(
        "MAINTENANCE_LEFTOVERS",
        WARNING,
        "What killed processes left behind could not be deleted",
        "Its file system is read-only, or something protects it.",
        "Look at it as root; the evidence names it.",
    ),
    Finding(
        "MAINTENANCE_ORPHANS_LEFT",
        WARNING,
        "Objects that belong to nothing could not be deleted",
        "The identity of maintenance may not delete them, or a rule of the bucket holds them.",
        "Correct the rights of the identity, or wait for the rule's end; the next run tries again.",
    ),
    Finding(
        "MAINTENANCE_INDEX_ROOM",
        WARNING,
        "An index that is mostly air is not built anew for want of room",
        "REINDEX CONCURRENTLY builds the new index beside the old one and writes it to the WAL as well; the disk has less free.",
        "Give the disk of the database more room; the next run builds it.",
    ),
    Finding(
        "MAINTENANCE_TABLE_BLOAT",
        WARNING,
        "Tables hold much air",
        "Many rows were deleted at once, for example by the first run of gc; PostgreSQL fills the room again before the file grows.",
        "Nothing if much is written. To give the room back, plan an hour without users for VACUUM FULL, or use pg_repack.",
    ),
    Finding(
        "CAPACITY_FULL_SOON",
        WARNING,
        "Something is full soon if it grows on as it did",
        "A disk fills, or servers open more and more connections; the history of capacity says since when.",
        "Add room, let gc and trace retention delete more, or raise mlflow_database_connections, before it is full.",
    ),
    Finding(
        "MAINTENANCE_CERTIFICATE",
        WARNING,
        "A certificate ends soon",
        "It was not renewed.",
        "Run the playbook mlops.mlflow.site, which issues it anew; renew it where it comes from if it was brought.",
    ),
    Finding(
        "MAINTENANCE_DISK",
        WARNING,
        "A disk is nearly full",
        "Releases, artifacts, the database or what uploads leave behind have grown.",
        "Free or add room.",
    ),
    Finding(
        "MAINTENANCE_DRILL",
        WARNING,
        "No backup was restored for a long time",
        "The drill of a restore does not run any more.",
        "See the timer of the drill on its host, and run it by hand.",
    ),
    Finding(
        "MAINTENANCE_CLOCK",
        WARNING,
        "Nobody sets the clock of a host",
        "No service synchronises it, or it reaches no server of time.",
        "Install and start chrony or systemd-timesyncd.",
    ),
)
