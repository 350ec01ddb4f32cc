"""BioViL-T's image model: a ResNet, projected, beside what stands for a missing previous image."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from cxrbench.encoder import EncoderCard, Features, Preprocess
from cxrbench.encoders.families.layouts.resnet import build_resnet, stages_of
from cxrbench.encoders.families.published.entry import PublishedEncoder
from cxrbench.errors import UserError
from cxrbench.files.checkpoints import leave_out, load_strict, read_state_dict

BACKBONE, UNUSED = "encoder.encoder.", ("projector.", "classifier.", "encoder.vit_pooler.")


class BioViLTEncoder(nn.Module):
    """``pooled``: [B, 2 D], the mean projected place, then the embedding of no previous image; ``maps``: the stages."""

    thread_safe = True

    def __init__(self, resnet: ResNet, width: int, preprocess: Preprocess, card: EncoderCard) -> None:
        super().__init__()
        self.resnet, self.preprocess, self.card = resnet, preprocess, card
        self.projection = nn.Conv2d(resnet.inplanes, width, 1, bias=False)  # what the last stage gives
        self.missing = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, images: Tensor) -> Features:
        """Embed [B, 3, size, size]."""
        maps = stages_of(self.resnet, images)
        static = self.projection(maps[-1]).mean(dim=(2, 3))
        return Features(torch.cat([static, self.missing.flatten(1).expand(len(images), -1)], dim=1), maps)


def load(entry: PublishedEncoder, path: Path) -> BioViLTEncoder:
    """BioViL-T's file; what compares two images, and the projection to texts, are left out. Raises UserError."""
    state = leave_out(read_state_dict(path), UNUSED, path)
    resnet = {n.removeprefix(BACKBONE): v for n, v in state.items() if n.startswith(BACKBONE)}
    resnet = leave_out(resnet, ("fc.",), path)
    if "encoder.backbone_to_vit.weight" not in state or "encoder.missing_previous_emb" not in state:
        raise UserError(f"{path} lacks encoder.backbone_to_vit or encoder.missing_previous_emb: it is no BioViL-T file")
    backbone = build_resnet(resnet, path)
    encoder = BioViLTEncoder(backbone, len(state["encoder.backbone_to_vit.weight"]), entry.preprocess, entry.card)
    wanted = {f"resnet.{name}": value for name, value in resnet.items()}
    wanted |= {
        "projection.weight": state["encoder.backbone_to_vit.weight"],
        "missing": state["encoder.missing_previous_emb"],
    }
    load_strict(encoder, wanted, path)
    return encoder
