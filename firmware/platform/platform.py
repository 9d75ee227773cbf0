"""PlatformIO's view of the local platform: nothing to install."""

from platformio.platform.base import PlatformBase


class SynapccPlatform(PlatformBase):
    """Boards are the JSON files in boards/, which synapcc writes."""

    def is_embedded(self):
        return False  # nothing is uploaded: the emulators load the ELF themselves
