"""From the formats that training frameworks write to an ONNX graph, in a process that can do nothing else."""
