"""Published encoders by family (timm, Hugging Face, open_clip), and the baselines that are not pretrained on X-rays."""
