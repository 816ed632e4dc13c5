"""The Kubernetes API of the project as types; no I/O."""
