"""One run of `clipstack-models bench`: make, check and time the engines, and recommend one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from triton_repo.backends.clip.clip_engines import Engine
from triton_repo.backends.clip.clip_engines.accuracy import random_clips
from triton_repo.zoo import ModelError
from triton_repo.zoo.benchmark import engines as variants
from triton_repo.zoo.benchmark import timing
from triton_repo.zoo.benchmark.accuracy import ClipSet, compare
from triton_repo.zoo.benchmark.engines import Variant
from triton_repo.zoo.export.reference import Network, Reference, origin
from triton_repo.zoo.repository.store import InstalledModel

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """Results of a bench run.

    `absent` holds the reason for each engine that was not measured, `against` the reference of the accuracy check on
    `clips` random clips.
    """

    results: Sequence[timing.Result]
    absent: Mapping[str, str]
    sizes: Sequence[int]
    best: timing.Result | None
    against: str
    clips: int

    def words(self, model: InstalledModel) -> str:
        """Describe how the figures were measured."""
        return (
            f"version {model.versions[-1]}; top-1 and difference on {self.clips} random clips against {self.against}; "
            f"medians of up to {timing.ROUNDS} rounds in turns"
        )


def run(
    model: InstalledModel,
    engines: Sequence[str],
    weights: Path | None,
    seconds: float,
    clips: int,
    version: Path,
    say: Notice,
) -> Run:
    """Measure all requested engines and return their results.

    Without `engines` all are measured. `weights` is the present place of a source file that was moved. Files that
    engines load stay in the folder `version`.

    Raises:
        ModelError: No engine can be measured.
    """
    say("comparing bf16 with f32")
    variants.update_record(model)
    ready, absent, source = _ready(model, engines, weights, version, say)
    most = model.max_batch
    sizes = sorted({1, min(4, most), most})
    samples = random_clips(model.clip_shape, max(clips, most), seed=0)
    say("looking for the fastest")
    lone = {variant: timing.clip_s(engine, samples[0]) for variant, engine in ready.items()}
    slow = timing.hopeless(lone, seconds)
    quick = {variant: engine for variant, engine in ready.items() if variant not in slow}
    for engine in quick.values():
        engine.warm_up()
    say(f"checking the answers of {len(quick)} engines")
    network, against = (source.network, source.words) if source else _exported(model)
    rows = compare(quick, network, [ClipSet("random", samples[:clips])], lambda: None, model.is_independent)
    say(f"measuring for {seconds:g} s")
    timings = timing.measure(quick, np.concatenate(samples[:most]), sizes, seconds)
    results = [
        timing.Result(Variant(row.engine, row.precision), timings[Variant(row.engine, row.precision)], row)
        for row in rows
    ]
    results += [timing.Result(variant, timing.Timing([lone[variant]]), None) for variant in slow]
    return Run(results, absent, sizes, timing.best(results, variants.own(model)), against, clips)


def _ready(
    model: InstalledModel, engines: Sequence[str], weights: Path | None, version: Path, say: Notice
) -> tuple[dict[Variant, Engine], dict[str, str], Reference | None]:
    available, absent = variants.of_this_machine()
    absent = {name: reason for name, reason in absent.items() if name in engines or not engines}
    try:
        source, missing = origin(model, weights), None
    except ModelError as error:
        source, missing = None, error
    ready: dict[Variant, Engine] = {}
    for variant in available + variants.quantized(model):
        if engines and variant.engine not in engines:
            continue
        say(f"preparing {variant}")
        try:
            ready[variant] = variants.load(model, variant, source, version)
        except ModelError as error:
            absent[str(variant)] = f"{error.__cause__ or error}" + (f": {missing}" if missing else "")
    if not ready:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in absent.items()))
    return ready, absent, source


def _exported(model: InstalledModel) -> tuple[Network, str]:
    """Return the model in OpenVINO f32 as the reference when the source is gone; adding it checked this export."""
    engine = variants.load(model, Variant("openvino", "f32"), None, model.served)
    return engine.infer, "its own export, for the source is gone"
