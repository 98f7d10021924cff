"""The hosts of the scenario."""

SERVERS = ("alt-a", "alt-b")
INSTALLATION = ("alt-db", *SERVERS, "alt-edge")
# With the one that is not of the installation.
ALL = (*INSTALLATION, "alt-store")
