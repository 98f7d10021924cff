# Copyright (c) 2026 the mlops.mlflow maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with teams, users, roles and what they may do."""

from __future__ import annotations

from ansible_collections.mlops.mlflow.plugins.module_utils._findings._shape import CRITICAL, Finding

REGISTERED = (
    Finding(
        "ACCESS_UNSET",
        CRITICAL,
        "No teams are named",
        "mlflow_teams is not set. An empty list is something else: it takes all teams away.",
        "Set mlflow_teams to the list of teams.",
    ),
    Finding(
        "ACCESS_NAME",
        CRITICAL,
        "A name cannot be used",
        "It is empty, too long, reserved, begins or ends with a blank, or has a character that MLflow refuses.",
        "Choose another name.",
    ),
    Finding(
        "ACCESS_TEAMS",
        CRITICAL,
        "The list says two things about the same",
        "A name, or a resource of one team, is in the list twice.",
        "Leave one of them.",
    ),
    Finding(
        "ACCESS_GRANT",
        CRITICAL,
        "MLflow has no such grant",
        "Parts such as runs and versions are granted for all of their kind only, and a workspace knows USE and MANAGE.",
        "Correct resource_type, resource or permission.",
    ),
    Finding(
        "ACCESS_PASSWORD",
        CRITICAL,
        "A new user has no usable password",
        "MLflow takes passwords of at least 12 characters, reads them as ASCII where artifacts are uploaded, and a user who logs in to MLflow itself "
        "needs one.",
        "Give a password of at least 12 characters of ASCII, from the vault.",
    ),
    Finding(
        "ACCESS_CLOSED",
        CRITICAL,
        "Nobody can ask MLflow about users and teams",
        "With single sign-on a password opens the path for accounts only, and the login of the list is none of them.",
        "Add it to mlflow_oidc_password_accounts, or set mlflow_access_token to a token of an administrator.",
    ),
    Finding(
        "ACCESS_NO_LOGINS",
        CRITICAL,
        "MLflow has no users and roles",
        "It runs without logins (mlflow_auth is none), so everybody may do everything.",
        "Set mlflow_auth to basic and run the playbook mlops.mlflow.site.",
    ),
    Finding(
        "ACCESS_DENIED",
        CRITICAL,
        "The login may not do this",
        "Users, roles and grants are an administrator's; an experiment or model can be changed by whom it was granted to.",
        "Give the login of an administrator; the first one is mlflow_admin_username.",
    ),
    Finding(
        "ACCESS_REFUSED",
        CRITICAL,
        "MLflow refuses the request",
        "It does not take a value, does not know what was asked (an older version), or somebody changed the same meanwhile.",
        "Read the evidence, correct the value, and run it again.",
    ),
    Finding(
        "ACCESS_USER_UNKNOWN",
        CRITICAL,
        "There is no such user",
        "Nobody of that name has logged in yet, or the name is misspelt.",
        "Correct the name, or make the user (mlflow_access_users, or the module mlflow_user).",
    ),
    Finding(
        "ACCESS_ROLE_UNKNOWN",
        CRITICAL,
        "There is no such role",
        "It was not made yet, or the name is misspelt.",
        "Correct the name, or make the role (mlflow_teams, or the module mlflow_role).",
    ),
    Finding(
        "ACCESS_RESOURCE_UNKNOWN",
        CRITICAL,
        "There is no such experiment or model",
        "It was not made yet, was deleted, or the name is misspelt.",
        "Correct the name, or name it below experiments or models of a team, which makes it.",
    ),
    Finding(
        "ACCESS_ROLE_FOREIGN",
        CRITICAL,
        "A role with the name of a team is somebody else's",
        "It was made by hand or by another tool: its description does not carry the mark of mlflow_teams.",
        "Name the team otherwise, or set mlflow_access_adopt to true: its members and grants then become those of the team.",
    ),
    Finding(
        "ACCESS_FIXED",
        CRITICAL,
        "What exists is another thing, and cannot become the wanted one",
        "An experiment keeps the place of its artifacts for ever, and a prompt is no model.",
        "Leave artifact_location out (mlops.mlflow.move_artifacts moves artifacts), or choose another name.",
    ),
    Finding(
        "ACCESS_IN_USE",
        CRITICAL,
        "A registered model still has versions, or a workspace something in it",
        "Deleting it deletes all of that for good.",
        "Delete what nobody needs (deleted experiments are there until they are gone for good), or say force: true.",
    ),
    Finding(
        "ACCESS_WORKSPACES_OFF",
        CRITICAL,
        "MLflow has no workspaces",
        "It runs without them, so there is nothing but the workspace default.",
        "Set mlflow_workspaces to true and run the playbook mlops.mlflow.site.",
    ),
    Finding(
        "ACCESS_WORKSPACE_UNKNOWN",
        CRITICAL,
        "There is no such workspace",
        "It was not made yet, or the name is misspelt.",
        "Correct the name, or make the workspace (mlflow_teams, or the module mlflow_workspace).",
    ),
    Finding(
        "ACCESS_ROOT",
        CRITICAL,
        "A workspace cannot keep its artifacts there",
        "MLflow serves the artifacts of a workspace from a place of its own, and would look there for what its database has elsewhere.",
        "Leave artifact_root out, or name a bucket that clients reach themselves.",
    ),
    Finding(
        "ACCESS_SELF",
        CRITICAL,
        "A login cannot do this to itself",
        "Nobody can delete himself, take his own administrator's right away, or get another password from himself here.",
        "Use the login of another administrator; the password of the first one is mlflow_admin_password, which site sets.",
    ),
)
