# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can be wrong with backups."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "BACKUP_PLACE",
        CRITICAL,
        "Backups cannot be kept there",
        "The repository is not set, is neither an absolute directory nor a bucket of S3 reached by TLS, or lies within what is backed up.",
        "Set mlflow_backup_repository to a bucket of its own (s3://bucket/prefix, with mlflow_backup_s3_*), or to a directory that is mounted"
        " from another machine.",
    ),
    Finding(
        "BACKUP_RECIPIENTS",
        CRITICAL,
        "Nobody could open the archive of the configuration",
        "It holds keys, so it is encrypted to the operators, and no public key of theirs is set or it is none.",
        "Make a key with age-keygen where the operators keep secrets, and put its public part (age1...) into mlflow_backup_recipients. A public"
        " SSH key (ssh-ed25519 or ssh-rsa) serves as well.",
    ),
    Finding(
        "BACKUP_KEY",
        CRITICAL,
        "Backups have no passphrase",
        "mlflow_backup_passphrase is not set or is short; everything in the repository is encrypted with it.",
        "Run the playbook mlops.mlflow.secrets, which makes it, or set 20 letters, digits and signs of -._~ or more. Keep it where the backups"
        " are not; without it they cannot be read.",
    ),
    Finding(
        "BACKUP_SCHEDULE",
        CRITICAL,
        "systemd does not understand a schedule",
        "A mlflow_backup_*_schedule is no calendar event of systemd.",
        "Write it as systemd.time(7) says, for example Sun 01:30, and try it with systemd-analyze calendar.",
    ),
    Finding(
        "BACKUP_LIMIT",
        CRITICAL,
        "A limit of the backups cannot work",
        "It names no job, or would let WAL be thrown away before it is said that it piles up.",
        "Correct the variable that the message names.",
    ),
    Finding(
        "BACKUP_FOREIGN_ARCHIVE",
        CRITICAL,
        "PostgreSQL already archives its WAL somewhere else",
        "archive_command or archive_library is set, and not by the role mlflow_backup. There can be only one archive.",
        "Find out whose it is. Take it out of mlflow_database_extra_settings or of the file where it stands, or do without mlflow_backup on"
        " this host.",
    ),
    Finding(
        "BACKUP_NOT_SHARED",
        CRITICAL,
        "Hosts do not have one repository",
        "mlflow_backup_repository is a directory, and each host has one of its own there. What belongs to one moment would lie apart.",
        "Mount one network directory there on all hosts, or use a bucket.",
    ),
    Finding(
        "BACKUP_SAME_HOST",
        WARNING,
        "Backups lie on the disk that they shall protect",
        "The repository is a directory on the file system of the host's own disk, and is lost with it.",
        "Use a bucket, or mount a directory of another machine there.",
    ),
    Finding(
        "BACKUP_ABSENT",
        CRITICAL,
        "No backups are set up on the host",
        "The role mlflow_backup has not been applied to it, or its program was removed.",
        "Run the playbook mlops.mlflow.backup.",
    ),
    Finding(
        "BACKUP_SILENT",
        CRITICAL,
        "Nothing is known of the backups",
        "The program that looks at them did not end in time or did not end well.",
        "Run it by hand as the evidence says, and look into the journal of mlflow-backup-watch.service.",
    ),
    Finding(
        "BACKUP_NONE",
        CRITICAL,
        "There is no backup of the database",
        "None was made yet, or the repository is a new one.",
        "Run the playbook mlops.mlflow.backup.",
    ),
    Finding(
        "BACKUP_OLD",
        CRITICAL,
        "The last backup of the database is too old",
        "The timers do not run, or each backup fails.",
        "Look at systemctl list-timers 'mlflow-backup-*' and at the journal of mlflow-backup-differential.service, then run mlops.mlflow.backup.",
    ),
    Finding(
        "BACKUP_ARCHIVE_OFF",
        CRITICAL,
        "PostgreSQL does not archive its WAL",
        "archive_mode or archive_command was changed by hand, or PostgreSQL was not restarted after it was set.",
        "Run the playbook mlops.mlflow.backup, which sets both and restarts PostgreSQL if it has to. Then make a backup: what was written"
        " meanwhile is in none.",
    ),
    Finding(
        "BACKUP_ARCHIVE_FAILING",
        CRITICAL,
        "WAL does not reach the archive",
        "The repository is full, away or refuses; until it is repaired nothing that was written since can be restored, and pg_wal grows.",
        "PostgreSQL's log says what pgBackRest complains of. Repair the repository; archiving resumes by itself and this finding goes.",
    ),
    Finding(
        "BACKUP_WAL_PILES",
        CRITICAL,
        "More WAL waits for the archive than is allowed",
        "The repository has been away for long, or takes less than is written.",
        "Repair the repository now. If the disk is about to fill, mlflow_backup_wal_limit_mb decides whether WAL is thrown away; after that a new"
        " backup is needed.",
    ),
    Finding(
        "BACKUP_WAL_ROOM",
        WARNING,
        "The disk of the database would be full before the limit of waiting WAL is reached",
        "mlflow_backup_wal_limit_mb is larger than what the file system of pg_wal has free. A repository that is away for long would then stop"
        " PostgreSQL.",
        "Give the disk more room, or set mlflow_backup_wal_limit_mb to less than it has free and run mlops.mlflow.backup.",
    ),
    Finding(
        "BACKUP_WAL_GAP",
        CRITICAL,
        "The archive of WAL has a gap",
        "WAL was thrown away because too much waited (mlflow_backup_wal_limit_mb), or files were deleted from the repository.",
        "Make a backup now (mlops.mlflow.backup): from its end on every moment can be restored again. Moments between the gap and that are lost.",
    ),
    Finding(
        "BACKUP_DATABASE",
        CRITICAL,
        "PostgreSQL could not be asked",
        "It does not run, or does not let its own user in through its socket.",
        "Run mlops.mlflow.status; the unit postgresql@VERSION-CLUSTER and its log say why.",
    ),
    Finding(
        "BACKUP_REPOSITORY",
        CRITICAL,
        "The repository of backups could not be used",
        "It is away or empty, the keys or their rights are wrong, its certificate is not trusted, or its disk is full.",
        "Correct what the evidence says, then run mlops.mlflow.backup. Do not make a new repository over one that only cannot be reached.",
    ),
    Finding(
        "BACKUP_PASSPHRASE",
        CRITICAL,
        "Backups cannot be read with this passphrase",
        "mlflow_backup_passphrase is another one than the backups were made with, or the head of the repository is damaged.",
        "Set the passphrase that the repository was made with. If it is lost, so are the backups; choose a new mlflow_backup_repository and make"
        " a new backup at once.",
    ),
    Finding(
        "BACKUP_DAMAGED",
        CRITICAL,
        "What the repository holds is damaged",
        "A file has another checksum than when it was written, or is missing; or pages of the running database are damaged.",
        "Make a full backup (mlops.mlflow.backup, mlflow_backup_kind=full) and look at the disk or the store. Restore from a backup that the"
        " evidence does not name.",
    ),
    Finding(
        "BACKUP_INCOMPLETE",
        CRITICAL,
        "There is nothing that belongs to one moment",
        "One of database, artifacts and configuration has no backup yet that fits to the others.",
        "Run the playbook mlops.mlflow.backup, which makes all of them in the right order.",
    ),
    Finding(
        "BACKUP_RESTORE",
        CRITICAL,
        "A backup cannot be restored so",
        "The folder is not empty or has no room, the backup has expired, or the WAL does not lead to the moment.",
        "Correct what the evidence says; another manifest names another moment (mlflow_restore_manifest). What serves goes on serving.",
    ),
    Finding(
        "RESTORE_CHOICE",
        CRITICAL,
        "What is to be restored is not clear",
        "A mlflow_restore_* variable is missing or contradicts another one.",
        "Correct the variable that the message names.",
    ),
    Finding(
        "RESTORE_LIVING",
        CRITICAL,
        "A living installation would be overwritten",
        "Restoring in place takes the place of the database that is there, and of all that was written to it since the moment.",
        "If that is what you want, set mlflow_restore_over to the name of the environment; the data directory is kept under another name."
        " Otherwise restore beside (mlflow_restore_kind=beside).",
    ),
    Finding(
        "RESTORE_CUT_OFF",
        WARNING,
        "A restore in place has not ended",
        "The host or the connection was lost while mlops.mlflow.restore worked. What it had made lies beside the data directory and takes room; what"
        " was there before is either still in its place or kept beside it under a name with .before-.",
        "Run mlops.mlflow.restore again: it begins anew and removes what is left. Or stay with what is there and remove the folder that the evidence"
        " names (rm -r); if the data directory is not there, first give the newest one with .before- its name back (mv) and start PostgreSQL.",
    ),
    Finding(
        "RESTORE_INCONSISTENT",
        WARNING,
        "Database and artifacts are not of one moment in everything",
        "Artifacts that are younger than the moment stay where they are and belong to runs that are gone; or a run has lost its artifacts, because"
        " they were deleted or were logged after the last copy.",
        "The playbook mlops.mlflow.audit_artifacts lists all of them. What belongs to nothing is taken away by the job orphans, what is lost may be"
        " in another copy or version of the store.",
    ),
    Finding(
        "RESTORE_VERSIONS",
        CRITICAL,
        "What was deleted from the bucket of artifacts since the moment cannot be brought back",
        "The identity may not list versions or remove markers of deletions (s3:ListBucketVersions, s3:DeleteObjectVersion), or the store does not answer.",
        "Give the keys of the bucket's administrator (mlflow_restore_s3_admin_access_key_id) and run the playbook again, or go without"
        " (mlflow_restore_deleted=false): the audit at the end names what is lost. MLflow goes on serving, what came back stays, and the jobs that delete"
        " are stopped until the playbook site.",
    ),
    Finding(
        "BACKUP_DRILL_FAILED",
        CRITICAL,
        "What was restored in a drill is not what it should be",
        "The backup lacks something, the installed MLflow cannot open it, or an artifact differs from its copy.",
        "Make a full backup (mlops.mlflow.backup, mlflow_backup_kind=full), run the drill again (mlops.mlflow.drill), and find out what the evidence"
        " means before you need the backup.",
    ),
    Finding(
        "BACKUP_DRILL_OLD",
        CRITICAL,
        "No drill has shown lately that the backups can be restored",
        "Its timer is stopped, the host was off, or it has never run.",
        "Run the playbook mlops.mlflow.drill; systemctl list-timers mlflow-backup-drill.timer says when it runs by itself.",
    ),
    Finding(
        "BACKUP_JOB_FAILED",
        CRITICAL,
        "A job could not do its work",
        "A program is missing, a file cannot be read, a disk is full.",
        "Correct what the evidence says and start the job again with systemctl start mlflow-backup-JOB.",
    ),
    Finding(
        "BACKUP_JOB_LATE",
        CRITICAL,
        "A job has not run in its time",
        "Its timer is stopped, the host was off, or it runs longer than its interval.",
        "systemctl list-timers 'mlflow-backup-*' says when it runs next; systemctl start mlflow-backup-JOB runs it now.",
    ),
)
