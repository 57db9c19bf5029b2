"""What names mean and what types expressions have: noted in the tree, or told as a fault with its place."""
