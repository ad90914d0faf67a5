"""Depthwise 3-D convolutions of this project's own kernel, for the layout `depthwise`.

cuDNN has no fast depthwise 3-D convolution for channels that are stored last, and networks of the family X3D spend most
of their time in them.
"""

from .operator import depthwise, is_possible
from .padding import pad_channels
from .rewrite import replace_depthwise

__all__ = ["depthwise", "is_possible", "pad_channels", "replace_depthwise"]
