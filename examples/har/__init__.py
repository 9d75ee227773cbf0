"""Shoulder exercises told by a watch: a domain in which the last layer is not enough."""
