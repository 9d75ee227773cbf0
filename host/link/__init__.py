"""The serial link: bytes of the protocol, a session with a chip, the state that goes over it."""
