"""The command line, for acceptance tests as well."""

from tests.cli.conftest import wukong

__all__ = ["wukong"]
