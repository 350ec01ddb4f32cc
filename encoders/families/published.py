"""What is known of published checkpoints: licence, and the chest X-ray datasets that they have seen."""

from cxrbench.encoder import EncoderCard

# Sources: the model cards on the Hugging Face hub. RAD-DINO: its training sets from memory, to be checked (2025);
# its licence was changed from MSRLA to MIT. BiomedCLIP: figures of PubMed Central papers (PMC-15M), which may hold any
# published X-ray.
# RadJEPA: its paper's table 1; its repository states no licence. The others saw natural images only.
RAD_DINO_DATA = ("mimic", "chexpert", "nih", "padchest", "brax")
RADJEPA_DATA = ("brax", "chexpert", "mimic", "nih", "padchest")
PUBLISHED = {
    "radjepa:AIDElab-IITBombay/RadJEPA": EncoderCard("RadJEPA", "unknown", RADJEPA_DATA),
    "hf:microsoft/rad-dino": EncoderCard("RAD-DINO", "MIT", RAD_DINO_DATA),
    "hf:facebook/ijepa_vith14_1k": EncoderCard("I-JEPA", "CC-BY-NC-4.0"),
    "hf:facebook/ijepa_vith14_22k": EncoderCard("I-JEPA", "CC-BY-NC-4.0"),
    "hf:facebook/ijepa_vith16_1k": EncoderCard("I-JEPA", "CC-BY-NC-4.0"),
    "hf:facebook/ijepa_vitg16_22k": EncoderCard("I-JEPA", "CC-BY-NC-4.0"),
    "hf:facebook/dinov2-small": EncoderCard("DINOv2", "Apache-2.0"),
    "hf:facebook/dinov2-base": EncoderCard("DINOv2", "Apache-2.0"),
    "hf:facebook/dinov2-large": EncoderCard("DINOv2", "Apache-2.0"),
    "hf:facebook/dinov2-giant": EncoderCard("DINOv2", "Apache-2.0"),
    "hf:google/vit-base-patch16-224": EncoderCard("ViT", "Apache-2.0"),
    "hf:google/siglip-base-patch16-224": EncoderCard("SigLIP", "Apache-2.0"),
    "hf:openai/clip-vit-base-patch32": EncoderCard("CLIP", "MIT"),
    "hf:openai/clip-vit-large-patch14": EncoderCard("CLIP", "MIT"),
    "hf:openai/clip-vit-large-patch14-336": EncoderCard("CLIP", "MIT"),
    "open_clip:hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224": EncoderCard(
        "BiomedCLIP", "MIT", ("pmc15m",)
    ),
}


def card_of(spec: str, method: str, licence: str = "unknown") -> EncoderCard:
    """The card of a published checkpoint (``FAMILY:NAME``), or one with the method and licence that its file states."""
    by_lower_case = {name.lower(): card for name, card in PUBLISHED.items()}  # the hub ignores case
    return by_lower_case.get(spec.lower(), EncoderCard(method, licence))
