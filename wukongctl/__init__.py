"""wukongctl: from a public click log to a scaling law."""

__version__ = "0.1.0"
