"""What readers read with: pictures, listings that are remembered, label maps as run lengths."""
