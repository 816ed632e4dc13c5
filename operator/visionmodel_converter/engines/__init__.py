"""TensorRT engines: built from a prepared ONNX file on the GPU that will serve them, and proven there."""
