"""How losses, accuracies and confusion matrices are compared with what they should be."""
