"""Tokens of an identity provider for MLflow's client. Part of the collection mlops.mlflow."""
