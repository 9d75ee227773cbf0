"""Many settings of learning on many wearers: SWEEP.toml says which, folds choose, some are tested once.

`plan.py` reads the file, `unit.py` is the smallest thing that runs, `run.py` runs all of them over processes
or machines and keeps what came, `outcome.py` chooses and tells.
"""
