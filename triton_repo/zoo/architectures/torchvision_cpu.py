"""Makes `import torchvision` work beside a torch without CUDA; import this module before torchvision.

The packaged torchvision is compiled for CUDA. Without CUDA its compiled part is not loaded, and the import
fails over two operators of that part (box suppression, which no model here uses).
"""

import torch

# The declarations live as long as this object does.
_operators = torch.library.Library("torchvision", "DEF")

if not torch.backends.cuda.is_built():
    _operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
