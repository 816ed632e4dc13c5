"""`kubectl visionmodel`: what a person asks about a VisionModel; kubectl finds it on the PATH by its name."""
