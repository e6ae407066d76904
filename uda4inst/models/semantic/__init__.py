"""What all networks for semantic maps share: their prediction and its cross-entropy."""
