"""BiSeNet: a shallow path for detail, a ResNet for context, fused at an eighth of the size."""
