"""`neurosim ...`, thin: parses, calls, prints. Commands import what they need when they run."""

from neurosim.cli.app import main

__all__ = ["main"]
