"""From image bytes to the network's tensor, and from its raw outputs to classes, boxes or a mask of the source image.

Pure functions over numpy and Pillow, shared by Triton's steps and by whoever must see what serving sees. Imports
nothing of ours, because the Triton image holds this package alone.
"""
