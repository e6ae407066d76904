"""DeepLabV2: a dilated ResNet, and a sum of dilated convolutions on each of two of its stages."""
