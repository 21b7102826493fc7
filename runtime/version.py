"""The version of solofile, in the one place that both halves read."""

__version__ = "0.1.0"
