"""DAFormer: a MiT encoder, and a head that sees the context of all four levels."""
