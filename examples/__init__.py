"""Examples that come with synapcc, a folder each; the commands find what one brings in its `commands`."""

DEFAULT = "ecg"
"""The one that `synapcc demo` shows when none is named."""
