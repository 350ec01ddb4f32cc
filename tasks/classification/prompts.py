"""Sentences that describe a label to a text tower."""

# CheXzero's pair (Tiu et al., Nature Biomedical Engineering 2022): the label, and its negation.
POSITIVE, NEGATIVE = "{}", "no {}"
# Of a class among others there is no negation: Radford et al. (2021) describe the picture instead.
CLASS = "a chest X-ray showing {}"
# Labels that name the absence of findings: "no No finding" would say the opposite.
NORMAL = ("no finding", "no findings", "normal", "healthy")
NORMAL_IMAGE, ABNORMAL_IMAGE = "normal chest X-ray", "abnormal chest X-ray"


def spoken(label: str) -> str:
    """A column's name as one would say it: ``Nodule/Mass`` becomes ``Nodule or Mass``, ``a_b`` becomes ``a b``."""
    return " ".join(label.replace("/", " or ").replace("_", " ").split())


def pair(label: str) -> tuple[str, str]:
    """The prompts of a label's presence and of its absence."""
    name = spoken(label)
    if name.lower() in NORMAL:
        return NORMAL_IMAGE, ABNORMAL_IMAGE
    return POSITIVE.format(name), NEGATIVE.format(name)


def of_class(label: str) -> str:
    """The prompt of a class among classes that exclude each other."""
    name = spoken(label)
    return NORMAL_IMAGE if name.lower() in NORMAL else CLASS.format(name)
