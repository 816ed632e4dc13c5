"""The operator: converts, proves, serves and progressively rolls out what a VisionModel names."""
