# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an audit of artifacts finds, and what a move of artifacts refuses."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, WARNING, Finding

REGISTERED = (
    Finding(
        "AUDIT_STORE",
        CRITICAL,
        "The store could not be listed to its end",
        "It does not answer, keys or rights are missing, or part of a directory may not be read.",
        "Run the playbook mlops.mlflow.site or the module mlflow_artifact_check, which name the cause; nothing is said of a store seen in part.",
    ),
    Finding(
        "AUDIT_DATABASE",
        CRITICAL,
        "The locations could not be read from the database",
        "The database does not answer, the login may not read the tables, or they are not MLflow's.",
        "Run the module mlflow_database_check with the same URI, which names the cause.",
    ),
    Finding(
        "AUDIT_LOST",
        CRITICAL,
        "Artifacts are lost",
        "MLflow's notes say that there are artifacts, and there is no object at their location: they were deleted by hand or by a"
        " lifecycle rule, or were left behind when the store was changed.",
        "Restore the objects from a backup or an older version of the bucket, or move them from where they were left"
        " (mlops.mlflow.move_artifacts). What is really gone can be deleted in MLflow.",
    ),
    Finding(
        "AUDIT_VERSION_LOST",
        CRITICAL,
        "Registered versions have lost their artifacts",
        "The model behind the version was deleted for good (mlflow gc does not ask), or its objects are gone.",
        "Restore the objects, or delete the version and register the model again: whoever loads it gets an error.",
    ),
    Finding(
        "AUDIT_OTHER_STORE",
        WARNING,
        "Locations point to another store than the configured one",
        "The store was changed and rows from before kept their location, or somebody gave an experiment a location of its own.",
        "Move them with the playbook mlops.mlflow.move_artifacts, or leave them where clients can reach them themselves.",
    ),
    Finding(
        "AUDIT_OTHER_MODE",
        WARNING,
        "Locations are reached in another way than configured",
        "They were made when clients reached the store themselves, or the other way round; a location is fixed when it is made.",
        "Run mlops.mlflow.move_artifacts with the same place as mlflow_artifact_move_from and mlflow_artifact_move_to: nothing is"
        " copied then, and the locations are rewritten.",
    ),
    Finding(
        "AUDIT_ORPHANS",
        WARNING,
        "Objects belong to nothing",
        "A deletion that the store refused silently, an experiment that was removed for good before its models and traces, or uploads by hand.",
        "Look at the list (mlflow_artifact_audit_format=json). Nothing is deleted by an audit; delete with the maintenance identity.",
    ),
    Finding(
        "MOVE_PLACES",
        CRITICAL,
        "Artifacts cannot be moved from there to there",
        "One of the places lies within the other, belongs to another environment, or is of a kind that is not moved.",
        "Name two places that have nothing in common in mlflow_artifact_move_from and mlflow_artifact_move_to; or the same one twice to"
        " rewrite locations only.",
    ),
    Finding(
        "MOVE_STORE",
        CRITICAL,
        "A store did not do what was asked",
        "It does not answer, keys or rights are missing, or it is full.",
        "Correct what the evidence says and run it again: what was copied and proved is not copied again.",
    ),
    Finding(
        "MOVE_DATABASE",
        CRITICAL,
        "The database did not do what was asked",
        "It does not answer, the login may not read or write the tables, or somebody holds a lock.",
        "Correct what the evidence says and run it again. The locations are rewritten all together or not at all.",
    ),
    Finding(
        "MOVE_EXPERIMENT",
        CRITICAL,
        "An experiment is not where it should be moved from",
        "Its id is wrong, or its artifacts are in another place.",
        "Correct mlflow_artifact_move_experiments or mlflow_artifact_move_from; the playbook mlops.mlflow.audit_artifacts says what is where.",
    ),
    Finding(
        "MOVE_NAMES",
        CRITICAL,
        "Objects have names that the other store cannot hold",
        "A directory cannot hold names with empty or dotted parts, of more than 255 bytes, or an object and a folder of one name; S3 cannot"
        " hold names that are not UTF-8 or longer than 1,024 bytes. Links and special files are not followed.",
        "Rename or remove these objects, or put what a link leads to in its place.",
    ),
    Finding(
        "MOVE_CONFLICT",
        CRITICAL,
        "The other store holds something else under the same name",
        "Another program wrote there, or the object was changed in both places since it was copied.",
        "Compare both, and delete or rename the one that is not wanted; or choose an empty mlflow_artifact_move_to.",
    ),
    Finding(
        "MOVE_ROOM",
        CRITICAL,
        "There is no room for what is to be moved",
        "The file system of the directory has less free than the objects take.",
        "Free or add room, or move by experiment (mlflow_artifact_move_experiments).",
    ),
    Finding(
        "MOVE_CHECKSUM",
        CRITICAL,
        "A copy is not what was read",
        "What was read back from the other store has another SHA-256, or the object changed while it was read.",
        "Run it again. If it stays so, the way to the store or the store itself damages data: look there before anything else.",
    ),
    Finding(
        "MOVE_LENGTH",
        CRITICAL,
        "A new location is longer than MLflow's column",
        "MLflow keeps 200 characters for a run and 256 for an experiment.",
        "Choose a shorter mlflow_artifact_move_to.",
    ),
    Finding(
        "MOVE_BACKUP",
        CRITICAL,
        "There is no proved backup of the database",
        "The locations are rewritten only with a dump that can be read to its end, holds the tables concerned and is newer than the last"
        " finished run.",
        "Leave mlflow_artifact_move_backup empty, and a dump is made and read back (needs Debian's postgresql-client and room); or make a"
        " newer one.",
    ),
    Finding(
        "MOVE_ROWS",
        CRITICAL,
        "Locations changed while they were to be rewritten",
        "Another move, or somebody by hand, rewrote the same rows in that moment.",
        "Nothing was rewritten. Run it again when nobody else rewrites locations.",
    ),
    Finding(
        "MOVE_JOURNAL",
        CRITICAL,
        "The journal does not fit",
        "It belongs to another move, is damaged or in use by a run that has not ended; or there is none and a move is to be undone.",
        "Use the variables of that move, wait for the other run, or name another mlflow_artifact_move_directory.",
    ),
)
