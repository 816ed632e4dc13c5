"""Small vision models that train in seconds, and the pictures to try them with.

The demo, the end-to-end tests and the converter's tests need models whose truth is known: a good
one, a slightly worse one, a wrong one, and two that pass every check before serving and misbehave
only when served. Committing weights would hide where they come from, so this package trains them
with numpy, writes ONNX and keeps the result in a cache (see README.md one folder up).

`grid` and `shapes` need numpy and Pillow only: a client can import them without onnx.
"""
