"""The package version: the one place it is written; part of every fingerprint."""

__version__ = "0.1.0"
