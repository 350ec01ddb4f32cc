"""PaCX-MAE as an encoder: our files, and the stage-2 checkpoints of its authors."""

from pathlib import Path

from cxrbench.encoder import EncoderCard, EncoderRequest
from cxrbench.encoders.backbones.checkpoint import KEY, read_encoder
from cxrbench.encoders.backbones.encoder import ViTEncoder, gray_preprocess, parse_pooling
from cxrbench.encoders.backbones.layouts import load_plain_vit
from cxrbench.encoders.pacx.lora import is_published, read_published, set_norm_eps
from cxrbench.encoders.sidecar import refuse_sidecar
from cxrbench.files.checkpoints import read_metadata

PUBLISHED_ON = ("chexpert", "mimic", "symile")  # stage 1, and Symile-MIMIC's images in stage 2
HOW_TO = (
    "pretrain with `cxrbench pretrain pacx --data symile --data-dir DIR --arch base --init MAE --option "
    "ecg=12_lead_ECGFounder.pth --out runs/pacx` and name the result, pacx@runs/pacx/encoder.safetensors"
)


def load(request: EncoderRequest) -> ViTEncoder:
    """``pacx[:mean|cls|mean+sd]@WEIGHTS``: our encoder.safetensors or .ckpt, or a stage-2 checkpoint of the authors.

    The CLS token is the default: it is what the losses train and what the paper's probes read.
    """
    path = Path(request.weights).expanduser() if request.weights else None
    if path is not None and KEY not in read_metadata(path):
        state = read_encoder(path, "pacx").state
        if is_published(state):
            refuse_sidecar(path)
            backbone = read_published(state, path)
            card = EncoderCard("PaCX-MAE", "unknown", PUBLISHED_ON)
            return ViTEncoder(backbone, gray_preprocess(backbone.config), card, parse_pooling(request, "cls"))
    encoder = load_plain_vit(request, method="pacx", default="cls", without_weights=HOW_TO)
    set_norm_eps(encoder.backbone, encoder.backbone.config.norm_eps)
    return encoder
