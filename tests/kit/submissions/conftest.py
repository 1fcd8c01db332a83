"""Keeps pytest from collecting the submissions: they are what the tests read, not tests."""

collect_ignore_glob = ["*"]
