"""SegFormer: a MiT encoder, a head of four linear layers, pixel-wise cross-entropy."""
