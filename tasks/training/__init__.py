"""Training by gradient descent, whatever is trained: recipes, optimizers, label fractions, augmentation of images."""
