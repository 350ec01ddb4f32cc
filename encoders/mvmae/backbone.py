"""MVMAE's encoder backbone: a ViT whose patch tokens are told from which side the image was taken."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from cxrbench.encoders.backbones.vit import TOKEN_STD, ViT, ViTConfig, parse_arch
from cxrbench.encoders.pretraining.studies import VIEWS

UNKNOWN = VIEWS.index("U")
PUBLISHED = "encoders.vision."
PUBLISHED_UNUSED = ("decoders.", "text_decoder.")


def backbone_config(arch: str) -> ViTConfig:
    """MVMAE's backbone: one channel, learned positions, norms on queries and keys, last norm's eps 1e-5."""
    return replace(parse_arch(arch, channels=1), qk_norm=True, learned_positions=True, norm_eps=1e-5)


class MultiviewBackbone(ViT):
    """A ViT with a row per view, added to all patch tokens; the CLS token gets neither position nor view.

    ``pos_embed`` keeps timm's shape: its first row, the CLS token's, is zero and has no gradient.
    """

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.modality = nn.Parameter(torch.empty(len(VIEWS), config.width))
        nn.init.normal_(self.modality, std=TOKEN_STD)
        with torch.no_grad():
            self.pos_embed[:, 0] = 0

    def embed(self, images: Tensor, views: Tensor | None = None) -> Tensor:
        """Images [B, 1, size, size] and codes of their views [B] (None: unknown) to patch tokens [B, N, D]."""
        rows = self.modality[UNKNOWN] if views is None else self.modality[views][:, None]
        return super().embed(images) + rows

    def with_class_token(self, tokens: Tensor) -> Tensor:
        """Put the bare CLS token before patch tokens [B, n, D]."""
        assert self.cls_token is not None
        return torch.cat([self.cls_token.expand(len(tokens), -1, -1).to(tokens.dtype), tokens], dim=1)

    def forward(self, images: Tensor, views: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As ``ViT.forward``, with the codes of the images' views [B] (None: unknown)."""
        return self.read(self.embed(images, views))


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether names are those of the authors' Lightning checkpoints."""
    return any(name.startswith(PUBLISHED) for name in state)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The vision encoder of the authors' Lightning state dict by our names; what is not its keeps its name."""
    renamed = {
        "patchify": "patch_embed.proj",
        "transformer": "blocks",
        "layer_norm": "norm",
        "mod_embedding": "modality",
    }
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.removeprefix(PUBLISHED)
        head, dot, rest = name.partition(".")
        if name == key:
            result[key] = value
        elif name == "pos_embedding":  # [N, 1, D], without the CLS token's
            positions = value.transpose(0, 1)
            result["pos_embed"] = torch.cat([torch.zeros_like(positions[:, :1]), positions], dim=1)
        else:
            result[renamed.get(head, head) + dot + rest] = value
    return result
