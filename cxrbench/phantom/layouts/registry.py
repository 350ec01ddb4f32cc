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
    nih,
    ranzcr_clip,
    shenzhen,
)
from cxrbench.phantom.layouts.detection import ms_cxr, object_cxr, siim_fisabio, vindr_pcxr
from cxrbench.phantom.layouts.segmentation import (
    candid_ptx,
    chexlocalize,
    covid_qu_ex,
    cxlseg,
    mimic_lungs,
    qata,
    vindr_ribcxr,
)

Writer = tuple[Callable[..., Any], Callable[..., None]]
"""What writes one image (folder, case) and returns its rows, and what writes the tables of them all."""

FIRST: Mapping[str, int] = {
    "vindr_train": 1100, "vindr_test": 600, "rsna": 1400, "siim": 1400, "mimic": 360, "symile": 360, "lungs": 200,
    "chexpert": 200, "chexpert-plus": 200, "padchest": 200, "brax": 160,
}  # fmt: skip
FIRST_WRITERS: Mapping[str, Writer] = {
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
}

CLASSIFICATION: Mapping[str, int] = {
    "shenzhen": 160, "montgomery": 140, "covidx": 160, "chexchonet": 160, "chestx6": 180, "medmod": 160, "iu-xray": 120,
    "ranzcr-clip": 160, "cxr-lt": 160, "nih": 400,
}  # fmt: skip
CLASSIFICATION_WRITERS: Mapping[str, Writer] = {
    "shenzhen": (shenzhen.shenzhen_image, shenzhen.shenzhen_tables),
    "montgomery": (montgomery.montgomery_image, montgomery.montgomery_tables),
    "covidx": (covidx.covidx_image, covidx.covidx_tables),
    "chexchonet": (chexchonet.chexchonet_image, chexchonet.chexchonet_tables),
    "chestx6": (chestx6.chestx6_image, chestx6.chestx6_tables),
    "medmod": (medmod.medmod_image, medmod.medmod_tables),
    "iu-xray": (iu_xray.iu_xray_image, iu_xray.iu_xray_tables),
    "ranzcr-clip": (ranzcr_clip.ranzcr_clip_image, ranzcr_clip.ranzcr_clip_tables),
    "cxr-lt": (cxr_lt.cxr_lt_image, cxr_lt.cxr_lt_tables),
    "nih": (nih.nih_image, nih.nih_tables),
}

SEGMENTATION: Mapping[str, int] = {
    "vindr-ribcxr": 100, "qata": 100, "chexlocalize": 120, "candid-ptx": 120,
    "covid-qu-ex": 120, "cxlseg": 96, "mimic-lungs": 100,
}  # fmt: skip
SEGMENTATION_WRITERS: Mapping[str, Writer] = {
    "vindr-ribcxr": (vindr_ribcxr.vindr_ribcxr_image, vindr_ribcxr.vindr_ribcxr_tables),
    "qata": (qata.qata_image, qata.qata_tables),
    "chexlocalize": (chexlocalize.chexlocalize_image, chexlocalize.chexlocalize_tables),
    "candid-ptx": (candid_ptx.candid_ptx_image, candid_ptx.candid_ptx_tables),
    "covid-qu-ex": (covid_qu_ex.covid_qu_ex_image, covid_qu_ex.covid_qu_ex_tables),
    "cxlseg": (cxlseg.cxlseg_image, cxlseg.cxlseg_tables),
    "mimic-lungs": (mimic_lungs.mimic_lungs_image, mimic_lungs.mimic_lungs_tables),
}

DETECTION: Mapping[str, int] = {
    "object-cxr_train": 160, "object-cxr_dev": 60, "ms-cxr": 200, "vindr-pcxr_train": 160, "vindr-pcxr_test": 60,
    "siim-fisabio": 160,
}  # fmt: skip
DETECTION_WRITERS: Mapping[str, Writer] = {
    "object-cxr": (object_cxr.object_cxr_image, object_cxr.object_cxr_tables),
    "ms-cxr": (ms_cxr.ms_cxr_image, ms_cxr.ms_cxr_tables),
    "vindr-pcxr": (vindr_pcxr.vindr_pcxr_image, vindr_pcxr.vindr_pcxr_tables),
    "siim-fisabio": (siim_fisabio.siim_fisabio_image, siim_fisabio.siim_fisabio_tables),
}

IMAGES: Mapping[str, int] = {**FIRST, **CLASSIFICATION, **SEGMENTATION, **DETECTION}
"""The default phantom; where a study has several images, studies are counted."""
PARTS = tuple(IMAGES)
WRITERS: Mapping[str, Writer] = {
    **FIRST_WRITERS, **CLASSIFICATION_WRITERS, **SEGMENTATION_WRITERS, **DETECTION_WRITERS,
}  # fmt: skip
