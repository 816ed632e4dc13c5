"""Where models and datasets come from: one fetcher per kind of store, one place that hashes and checks what arrives."""
