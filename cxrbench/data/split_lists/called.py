"""What other people call the images of a dataset: identifier, file name or path, with or without folder and ending."""

from cxrbench.data.manifest import Manifest
from cxrbench.errors import UserError
from cxrbench.files.names import plain, some

ENDINGS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom", ".tif", ".tiff", ".bmp")
SUFFIXES = ("_image",)  # SIIM-FISABIO's table


class ImageNames:
    """Finds an image of a manifest by what it is called elsewhere."""

    def __init__(self, manifest: Manifest) -> None:
        self.name = manifest.name
        self.ids = set(manifest.images["image_id"].astype(str))
        self.by_stem: dict[str, list[tuple[str, str]]] = {}
        for image_id, path in zip(manifest.images["image_id"].astype(str), manifest.images["path"], strict=True):
            place = _bare(path)
            self.by_stem.setdefault(place.rpartition("/")[2], []).append((image_id, place))
            if (stem := image_id.rpartition("/")[2]) != place.rpartition("/")[2]:
                self.by_stem.setdefault(stem, []).append((image_id, image_id))

    def find(self, text: str) -> str | None:
        """The image's identifier, or None where no image is called so.

        An identifier is taken as it is. Else the last part of the path decides, without the ending of an image file;
        where several images have it, the folders before it must tell them apart. Raises UserError where they do not.
        """
        if text in self.ids:
            return text
        text = text.replace("\\", "/")
        for called in dict.fromkeys((text, _bare(text), *(_bare(text).removesuffix(s) for s in SUFFIXES))):
            if called in self.ids:
                return called
            found = self.by_stem.get(called.rpartition("/")[2], [])
            if len(found) > 1:
                found = [(i, place) for i, place in found if _ends_alike(place, called)]
            ids = list(dict.fromkeys(image_id for image_id, _ in found))
            if len(ids) > 1:
                raise UserError(
                    f"{plain(text)!r} may be several images of {self.name} ({some(ids)}): give more of their paths"
                )
            if ids:
                return ids[0]
        return None


def _bare(path: str) -> str:
    """A path without the ending of an image file; a UID keeps its last number."""
    lower = path.lower()
    return next((path[: -len(end)] for end in ENDINGS if lower.endswith(end)), path)


def _ends_alike(one: str, other: str) -> bool:
    """Whether one of two paths is the end of the other, part by part."""
    first, second = one.strip("/").split("/"), other.strip("/").split("/")
    shared = min(len(first), len(second))
    return first[-shared:] == second[-shared:]
