"""Workaround for `import torchvision` with a torch without CUDA; import this module before torchvision.

The packaged torchvision is compiled for CUDA. Without CUDA its compiled part is not loaded, and the import fails on two
operators of that part (non-maximum suppression, which no model here uses).
"""

import torch

# The object must stay alive, and with it the declarations.
_operators = torch.library.Library("torchvision", "DEF")

if not torch.backends.cuda.is_built():
    _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
