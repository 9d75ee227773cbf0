"""A stream that is looked at while it runs: a chip, its emulator beside it, and a page of this computer.

`recording.py` is what is streamed, `beside.py` both sides, `stream.py` the thread that gives them samples in
time, `server.py` the page's server, on the loopback alone. Nothing here grows while it runs: what a page is
shown are the last seconds, whole, in every picture; a page that is slow misses pictures, the chip no sample.
"""
