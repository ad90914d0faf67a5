"""Names of published and built-in models, labels of camera_motion, and the check of a model's name.

Imports nothing heavy.
"""

import re

from triton_repo.zoo import ModelError

X3D = ("x3d_xs", "x3d_s", "x3d_m", "x3d_l")
RESNETS = ("resnet18", "resnet50", "resnet101")
VIDEO = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v2_s", "swin3d_t")
LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
PUBLISHED = X3D + LITE + RESNETS + VIDEO
SHORT = {name.removeprefix("efficientnet_"): name for name in LITE}  # other names of published networks
BUILT_IN = ("camera_motion", "frame_quality", "objects")  # `make setup` exports them

CAMERA_MOVEMENTS = (
    "static",
    "pan_left",
    "pan_right",
    "tilt_up",
    "tilt_down",
    "zoom_in",
    "zoom_out",
    "roll_cw",
    "roll_ccw",
    "shake",
)  # labels of camera_motion

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


def checked(name: str) -> str:
    """Return the name; raise ModelError if it is not a valid model name."""
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name[:80]!r} is no name for a model: up to 80 letters, digits, _, . and -, not beginning with . or -."
        )
    return name
