"""Runs the units of a sweep over processes or machines, and keeps what each gave."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.discovery import add_path, paths
from synapcc.gen.errors import SynapccError
from synapcc.gen.files.npz import load_arrays
from synapcc.gen.importers import load_model
from synapcc.gen.ir.graph import Graph
from synapcc.gen.stages.given import check_calibration
from synapcc.gen.stages.head import replaced
from synapcc.gen.version import VERSION

from ..run.kept import Result, Results, key, sources
from ..run.wearer_data import parted
from .plan import FINAL, Setting, Sweep, unknown
from .unit import Side, run_unit

PROCESSES, DASK = "processes", "dask:"


@dataclass(frozen=True)
class Unit:
    """One setting, one seed, one fold."""

    setting: Setting
    seed: int
    fold: str


@dataclass(frozen=True)
class Given:
    """What a fold's units have in common. digest: of the model's and the data's bytes."""

    graph: Graph
    calibration: Mapping[str, NDArray[Any]]
    learn: Side
    test: Side
    digest: str


class Runner:
    """engine: "processes", or "dask:ADDRESS" of a scheduler; jobs: how many processes.

    Raises SynapccError for data that do not fit, before anything runs.
    """

    def __init__(self, sweep: Sweep, results: Results, engine: str = PROCESSES, jobs: int = 1) -> None:
        self.sweep, self.results, self.engine, self.jobs = sweep, results, engine, jobs
        if engine != PROCESSES and not engine.startswith(DASK):
            hint = f"take {PROCESSES}, or {DASK}ADDRESS, such as {DASK}tcp://10.0.0.1:8786"
            raise SynapccError("--engine", f'"{engine}"', hint)
        self.own = paths()
        if self.own and engine != PROCESSES:
            what = "is not sent to the workers of a Dask scheduler"
            raise SynapccError("--rule-path", what, "install the rules as a package on each of them")
        self._given: dict[str, Given] = {}
        for path in sweep.files:
            if not path.is_file():
                raise SynapccError(str(path), "there is no such file", f"{sweep.file} names it")
        if lacks := unknown(sweep, [name for name in self._sides[0] if name in self._sides[1]]):
            what = f"names wearers without samples to learn and to be asked: {lacks}"
            raise SynapccError(str(sweep.file), what, "compare with the arrays of wearers")
        for fold in (*sweep.folds, *((FINAL,) if sweep.final else ())):
            self.given(fold)

    @cached_property
    def _sides(self) -> tuple[Side, Side]:
        learn, test = (
            parted(load_arrays(path), str(path), self.sweep.wearer_key)
            for path in (self.sweep.learn, self.sweep.test)
        )
        return learn, test

    def given(self, fold: str) -> Given:
        """The model and the data of a fold, or of those who are tested."""
        if fold not in self._given:
            model, data = self.sweep.paths(fold)
            names = self.sweep.wearers(fold)
            learn, test = ({name: side[name] for name in names} for side in self._sides)
            graph, calibration = load_model(model), load_arrays(data)
            spec = self.sweep.settings[0].spec(str(self.sweep.file), 1)
            check_calibration(replaced(graph, spec) if spec.head else graph, calibration, str(data), spec)
            digest = key(
                "given", _text(graph), _digest([calibration, *learn.values(), *test.values()]), names
            )
            self._given[fold] = Given(graph, calibration, learn, test, digest)
        return self._given[fold]

    def key(self, unit: Unit) -> str:
        """What the result of a unit is kept under: a digest of all that it follows from."""
        spec = unit.setting.spec(unit.setting.label, unit.seed).canonical()
        asked = self.given(unit.fold).digest, spec, self.sweep.passes, unit.setting.floats
        return key("sweep", VERSION, sources(), *asked)

    def run(self, units: Iterable[Unit], tick: Callable[[], None]) -> dict[Unit, Result]:
        """What each unit gave: kept before, or run now. tick() after each. Kept as they come, so that a sweep
        that is broken off goes on where it was."""
        wanted = {unit: self.key(unit) for unit in units}
        todo = {k: unit for unit, k in wanted.items() if k not in self.results.found}
        for _ in range(len(wanted) - len(todo)):
            tick()
        for k, found in self._found(todo):
            self.results.get(k, partial(dict, found))
            tick()
        return {unit: self.results.found[k] for unit, k in wanted.items()}

    def _found(self, todo: Mapping[str, Unit]) -> Iterator[tuple[str, Result]]:
        calls = [(k, self._call(unit)) for k, unit in todo.items()]
        if self.engine == PROCESSES and min(self.jobs, len(calls)) <= 1:
            yield from ((k, run_unit(*call)) for k, call in calls)
            return
        joblib = _joblib()
        with _engine(self.engine, self.jobs):
            work = (joblib.delayed(_named)(k, call, self.own) for k, call in calls)
            yield from joblib.Parallel(n_jobs=self.jobs, return_as="generator_unordered")(work)

    def _call(self, unit: Unit) -> tuple[Any, ...]:
        of = self.given(unit.fold)
        spec = unit.setting.spec(unit.setting.label, unit.seed)
        return of.graph, spec, of.calibration, of.learn, of.test, self.sweep.passes, unit.setting.floats


def _named(k: str, call: tuple[Any, ...], own: tuple[str, ...]) -> tuple[str, Result]:
    """A unit in another process, which has to be told of rules from outside."""
    for path in own:
        add_path(path)
    return k, run_unit(*call)


def _text(graph: Graph) -> list[str]:
    """All that a network is, wherever its file keeps it: nodes, and the digest of each tensor."""
    values = {name: np.zeros(0) if x.value is None else x.value for name, x in sorted(graph.tensors.items())}
    said = [repr(replace(x, value=None)) for _, x in sorted(graph.tensors.items())]
    return [*map(repr, graph.nodes), *said, repr(sorted(graph.quantisers.items())), _digest([values])]


def _digest(parts: Iterable[Mapping[str, NDArray[Any]]]) -> str:
    """Of arrays: names, types, shapes and content."""
    mark = hashlib.sha256()
    for arrays in parts:
        for name, x in sorted(arrays.items()):
            mark.update(f"{name} {x.dtype} {x.shape} ".encode() + np.ascontiguousarray(x).tobytes())
    return mark.hexdigest()


def _joblib() -> Any:
    try:
        import joblib
    except ImportError:
        hint = "pip install 'synapcc[sweep]', or --jobs 1"
        raise SynapccError("joblib", "is not installed", hint) from None
    return joblib


@contextmanager
def _engine(engine: str, jobs: int) -> Iterator[None]:
    """The processes of this computer, or the workers of a Dask scheduler, who must have synapcc installed."""
    joblib = _joblib()
    if engine == PROCESSES:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            yield
        return
    address = engine.removeprefix(DASK)
    try:
        from dask.distributed import Client
    except ImportError:
        raise SynapccError("dask.distributed", "is not installed", "pip install 'synapcc[sweep]'") from None
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        hint = "give the address that dask scheduler prints, such as dask:tcp://10.0.0.1:8786"
        raise SynapccError("--engine", f"no scheduler answers at {address} ({error})", hint) from None
    with client, joblib.parallel_config("dask"):
        yield
