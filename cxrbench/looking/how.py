"""The ways in which an encoder is asked where it looks, by name."""

from typing import Literal

How = Literal["auto", "rollout", "grad-cam", "occlusion"]
WORDS = {"rollout": "attention rollout", "grad-cam": "Grad-CAM", "occlusion": "occlusion, red for, blue against"}
"""As a picture says it."""
