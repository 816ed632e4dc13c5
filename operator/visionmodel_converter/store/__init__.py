"""Where artifacts go: reproducible images, published completely or not at all."""
