"""The datasets that the phantom has: how many images of each part, and what writes them in their official layout."""

from collections.abc import Callable, Mapping
from typing import Any

from cxrbench.phantom.layouts import brax, chexpert, chexpert_plus, lungs, mimic, padchest, rsna, siim, symile, vindr
from cxrbench.phantom.layouts.classification import (
    chestx6,
    chexchonet,
    covidx,
    cxr_lt,
    iu_xray,
    medmod,
    montgomery,
    ranzcr_clip,
    shenzhen,
)

IMAGES: Mapping[str, int] = {"vindr_train": 1100, "vindr_test": 600, "rsna": 1400, "siim": 1400,
                             "mimic": 360, "symile": 360, "lungs": 200, "chexpert": 200, "chexpert-plus": 200,
                             "padchest": 200, "brax": 160,
                             "shenzhen": 160, "montgomery": 140, "covidx": 160, "chexchonet": 160, "chestx6": 180,
                             "medmod": 160, "iu-xray": 120, "ranzcr-clip": 160, "cxr-lt": 160}  # fmt: skip
"""The default phantom; where a study has several images, studies are counted."""

WRITERS: Mapping[str, tuple[Callable[..., Any], Callable[..., None]]] = {
    "vindr": (vindr.vindr_image, vindr.vindr_tables),
    "rsna": (rsna.rsna_image, rsna.rsna_tables),
    "siim": (siim.siim_image, siim.siim_tables),
    "mimic": (mimic.mimic_image, mimic.mimic_tables),
    "symile": (symile.symile_image, symile.symile_tables),
    "lungs": (lungs.lungs_image, lungs.lungs_tables),
    "chexpert": (chexpert.chexpert_image, chexpert.chexpert_tables),
    "chexpert-plus": (chexpert_plus.chexpert_plus_image, chexpert_plus.chexpert_plus_tables),
    "padchest": (padchest.padchest_image, padchest.padchest_tables),
    "brax": (brax.brax_image, brax.brax_tables),
    "shenzhen": (shenzhen.shenzhen_image, shenzhen.shenzhen_tables),
    "montgomery": (montgomery.montgomery_image, montgomery.montgomery_tables),
    "covidx": (covidx.covidx_image, covidx.covidx_tables),
    "chexchonet": (chexchonet.chexchonet_image, chexchonet.chexchonet_tables),
    "chestx6": (chestx6.chestx6_image, chestx6.chestx6_tables),
    "medmod": (medmod.medmod_image, medmod.medmod_tables),
    "iu-xray": (iu_xray.iu_xray_image, iu_xray.iu_xray_tables),
    "ranzcr-clip": (ranzcr_clip.ranzcr_clip_image, ranzcr_clip.ranzcr_clip_tables),
    "cxr-lt": (cxr_lt.cxr_lt_image, cxr_lt.cxr_lt_tables),
}
"""Per dataset what writes one image (folder, case) and returns its rows, and what writes the tables of them all."""
