"""Link to the driver's library under the name that Triton loads.

Triton and its Python backend load `libcuda.so`, which comes with the CUDA toolkit. A driver alone installs
`libcuda.so.1`. Without the link Triton copies every GPU tensor to the host.
"""

import ctypes
import sys
from pathlib import Path

LIBRARY, LINK = "libcuda.so.1", "libcuda.so"


def folder(run_dir: Path) -> Path:
    """Return the folder of the link, which belongs to LD_LIBRARY_PATH."""
    return run_dir / "gpu" / "lib"


def make(run_dir: Path, library: str = LIBRARY) -> Path:
    """Make the link and return its folder; print why when the library cannot be found."""
    target = folder(run_dir)
    target.mkdir(exist_ok=True)
    (target / LINK).unlink(missing_ok=True)
    try:
        (target / LINK).symlink_to(find(library))
    except OSError as error:
        print(f"no link to the GPU driver's library: {error}", file=sys.stderr, flush=True)
    return target


def find(library: str = LIBRARY) -> Path:
    """Return the path of the library that the loader finds; raise OSError if the loader does not find it."""
    ctypes.CDLL(library)
    name = library.partition(".so")[0] + ".so"
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.rpartition(" ")[2])
        if path.name.startswith(name):
            return path
    raise OSError(f"{library} was loaded from an unknown place")
