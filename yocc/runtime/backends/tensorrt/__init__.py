"""The target `tensorrt`: typed ONNX for NVIDIA's parser, judged, checked and, where there is a GPU, built and run."""
