"""Output of bench/gpu/run.py for people."""

from typing import Any

from bench.gpu.targets import Target


def show_checks(name: str, rows: list[dict[str, Any]]) -> bool:
    """Print one line for each layout and precision; return whether all are good."""
    for row in rows:
        words = f"{row['largest_difference']:.1e} of {row['allowed']:.1e}" if "absent" not in row else row["absent"]
        show(f"{name:9} {row['precision']:5} {row['layout']:14} {'good ' if row['good'] else 'WRONG'} {words}")
    return all(row["good"] for row in rows)


def show_speed(name: str, speed: dict[str, Any]) -> None:
    """Print the times of the engine by batch size."""
    show(f"{name:9} {speed['precision']}, warm-up {speed['warm_up_s']:.1f} s")
    for batch, row in speed["batches"].items():
        show(f"{name:9} batch {batch:>3}                    {_figures(row)}")


def show_path(name: str, way: str, figures: dict[str, Any]) -> None:
    """Print the times of the whole path by number of senders."""
    for senders, row in figures["senders"].items():
        show(f"{name:9} by {way:6} {senders:>2} senders          {_figures(row)}")


def show_film(way: str, figures: dict[str, float]) -> None:
    """Print the times of decoding and inference."""
    show(f"film      by {way:6} decoding {figures['decode_ms']:.2f} ms on the CPU, then {figures['scores_ms']:.2f} ms")


def show_memory(name: str, figures: dict[str, Any]) -> None:
    """Print the figures in bytes as MiB."""
    sizes = {key: value for key, value in figures.items() if key.endswith("_bytes")}
    words = ", ".join(f"{key.removesuffix('_bytes')} {value / (1 << 20):.1f} MiB" for key, value in sizes.items())
    show(f"memory    {name}: {words}")


def show_targets(targets: list[Target]) -> None:
    """Print whether each target was met."""
    for target in targets:
        row = target.as_dict()
        show(f"target    {'met   ' if target.met else 'MISSED'} {target.name}: {target.value:.6g}, {row['wanted']}")


def show(line: str) -> None:
    """Print a line and flush it, so that progress is visible through a pipe too."""
    print(line, flush=True)


def _figures(row: dict[str, float]) -> str:
    return f"{row['p50_ms']:8.2f} ms {row['p99_ms']:8.2f} p99 {row['clips_per_s']:9.1f} clips/s"
