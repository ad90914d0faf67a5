"""Builds a plan of TensorRT from an ONNX file, for the GPU of this machine; takes minutes."""

from __future__ import annotations

from pathlib import Path

import tensorrt

from triton_repo.zoo.errors import ModelError


def build_plan(onnx: Path, plan: Path, max_batch: int) -> None:
    """Every layer in the precision that the file gives it. ModelError when TensorRT cannot run the network."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        raise ModelError(f"TensorRT cannot read the network: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)  # three digits, which float32 is not
    clip = network.get_input(0)
    if clip.shape[0] == -1:
        rest = tuple(clip.shape)[1:]
        profile = builder.create_optimization_profile()
        profile.set_shape(clip.name, (1, *rest), (max_batch, *rest), (max_batch, *rest))
        config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    if built is None:
        raise ModelError("TensorRT could not build the network; what it printed says why")
    plan.write_bytes(built)


__all__ = ["build_plan"]
