"""What several methods stand on: plain ViTs, masking, the MAE decoder."""
