"""Mask2Former: the library's network, our loss, matching and decoding, and weights for it."""
