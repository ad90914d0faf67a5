"""Build of a TensorRT plan from an ONNX file, for the GPU of this machine; takes minutes."""

from pathlib import Path

import tensorrt

from triton_repo.zoo import ModelError


def build_plan(onnx: Path, plan: Path, max_batch: int) -> None:
    """Write a plan with every layer in the precision of the ONNX file; raise ModelError if TensorRT cannot run it."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        raise ModelError(f"TensorRT cannot read the network: {parser.get_error(0).desc()}")
    config = builder.create_builder_config()
    config.clear_flag(tensorrt.BuilderFlag.TF32)  # TF32 has three decimal digits, float32 has seven
    clip = network.get_input(0)
    if clip.shape[0] == -1:
        clip_shape = tuple(clip.shape)[1:]
        profile = builder.create_optimization_profile()
        profile.set_shape(clip.name, (1, *clip_shape), (max_batch, *clip_shape), (max_batch, *clip_shape))
        config.add_optimization_profile(profile)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise ModelError("TensorRT could not build the network; what it printed says why")
    plan.write_bytes(serialized)
