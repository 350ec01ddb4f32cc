"""The one pretraining engine: plan, prepared images, training loop, checkpoints, cards."""
