"""Names of BIMCV-COVID19+ images, which several COVID-19 collections have kept: they tell the patient."""

import re

SUBJECT = re.compile(r"(sub-S\d+)(?=_|$)")


def patient_of(name: str, otherwise: str) -> str:
    """``sub-S03045`` of ``sub-S03045_ses-E06053_run-1_bp-chest_vp-ap_dx``; ``otherwise`` for any other name."""
    found = SUBJECT.match(name)
    return found[1] if found else otherwise
