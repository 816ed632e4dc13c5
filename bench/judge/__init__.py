"""How often the judge is wrong and how fast it is right, by simulation; every figure is of the product's functions."""
