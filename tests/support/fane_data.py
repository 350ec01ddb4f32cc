"""What the tests of FaNe train on: a small random BERT in a folder, and studies with images and reports."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from cxrbench.data.manifest import Manifest

FINDINGS = ("heart", "lung", "rib", "nodule", "mass", "edema", "effusion", "apex")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "there", "is", "no", ".", *FINDINGS)


def write_bert(path: Path, seed: int = 0, *, pooler: bool = True, mean: bool = False) -> Path:
    """A BERT of 16 channels with a word-level tokeniser, as save_pretrained writes it.

    ``mean``: it says that the mean is its embedding, as sentence-transformers do.
    """
    tokeniser = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokeniser.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # pyright: ignore
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokeniser, **named).save_pretrained(path)  # type: ignore[arg-type]
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=128)  # fmt: skip
    BertModel(config, add_pooling_layer=pooler).save_pretrained(path)
    if mean:
        (path / "1_Pooling").mkdir()
        (path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return path


def write_studies(root: Path, studies: int = 12) -> Manifest:
    """Studies of a frontal image or two and a lateral one, of 24 pixels; study i has 3 + i % 3 sentences."""
    rng = np.random.default_rng(0)
    rows, reports = [], []
    for i in range(studies):
        for view in ("PA", "AP", "L")[i % 2 :]:
            name = f"{i:02}{view}.png"
            Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8)).save(root / name)
            rows.append((name, f"p{i}", f"s{i}", view, "train", name, (root / name).stat().st_size))
        said = [f"There is {'no ' if rng.random() < 0.5 else ''}{rng.choice(FINDINGS)}." for _ in range(3 + i % 3)]
        reports.append((f"s{i}", " ".join(said[:-1]), said[-1]))
    columns = ["image_id", "patient_id", "study_id", "view", "split", "path", "bytes"]
    return Manifest(
        "toy",
        root,
        pd.DataFrame(rows, columns=pd.Index(columns)),
        (),
        reports=pd.DataFrame(reports, columns=pd.Index(["study_id", "findings", "impression"])),
    )
