"""Exports: files for other runtimes that are made of the final ONNX file, compared with it and published beside it."""
