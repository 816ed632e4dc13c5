"""The whole story on a real cluster: `make demo`. The e2e suite uses the same building blocks."""
