"""The model as an ONNX graph: read from untrusted bytes, checked, simplified and run."""
