"""What the operator and the conversion Job agree on; the only package both sides import."""
