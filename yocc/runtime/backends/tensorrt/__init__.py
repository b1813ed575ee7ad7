"""The target `tensorrt`: typed ONNX for NVIDIA's parser, validated, checked and, with a GPU, built and run."""
