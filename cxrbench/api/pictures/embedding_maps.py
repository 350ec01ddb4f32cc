"""How an encoder sees a dataset: its embeddings as points in the plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Unpack

from cxrbench.errors import UserError, chosen
from cxrbench.progress import Bar, Progress, unseen

if TYPE_CHECKING:
    import pandas as pd

    from cxrbench.api.given import EncoderLike, TaskLike
    from cxrbench.embedding_maps.mapped import EmbeddingMap, EncoderMap
    from cxrbench.embedding_maps.quality import Separation
    from cxrbench.engine.settings import Settings

Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class EmbeddingMaps:
    """Maps of several encoders, of the same images. ``print`` shows the numbers; ``draw`` makes the picture."""

    found: "EmbeddingMap"
    names: dict[str, str]

    @property
    def maps(self) -> "tuple[EncoderMap, ...]":
        """One per encoder: its points, and the trustworthiness of its map."""
        return self.found.maps

    @property
    def separations(self) -> "tuple[Separation, ...]":
        """One per encoder and colouring: the silhouettes among the embeddings and on the map."""
        return self.found.separations

    def draw(self, path: Path | str) -> Path:
        """Write the picture, PNG, SVG or PDF by its name; the same bytes whenever it is drawn. Raises UserError."""
        from cxrbench.drawing.files import our_style, save
        from cxrbench.embedding_maps.captions import caption
        from cxrbench.embedding_maps.picture import picture

        with our_style():
            save(picture(self.found, self.names), Path(path), caption(self.found, self.names))
        return Path(path)

    def to_markdown(self) -> str:
        """The numbers, the groups with their counts, and what they mean."""
        from cxrbench.embedding_maps.captions import to_markdown

        return to_markdown(self.found, self.names)

    def to_csv(self) -> str:
        """Coordinates: a row per encoder and image, with its groups."""
        from cxrbench.embedding_maps.captions import to_csv

        return to_csv(self.found)

    def to_pandas(self) -> "pd.DataFrame":
        """``to_csv`` as a table."""
        import io

        import pandas as pd

        return pd.read_csv(io.StringIO(self.to_csv()), dtype={"image_id": str}, keep_default_na=False)

    def __str__(self) -> str:
        return self.to_markdown()


def embed_map(
    encoders: "str | EncoderLike | Sequence[EncoderLike]",
    tasks: "str | TaskLike | Sequence[TaskLike]",
    *,
    by: str | Sequence[str] = "label",
    method: Literal["pca", "tsne", "umap"] = "tsne",
    split: Split = "val",
    images: int = 1_000,
    perplexity: float = 30,
    neighbours: int = 15,
    seed: int = 0,
    names: str | Sequence[str] = (),
    progress: Progress | None = None,
    bar: Bar = unseen,
    **settings: Unpack["Settings"],
) -> EmbeddingMaps:
    """Map the embeddings of one or several encoders: the same images, each a point, coloured by what is known of them.

    ``encoders``, ``tasks``, ``settings``: as of ``cxrbench.run``; of the tasks, the datasets count, and features come
    from the cache. ``by``: ``label``, ``label:NAME``, ``dataset``, ``view``, ``sex``, ``age``, ``site``, ``scanner``;
    several have a row each. ``split``: validation by default, for whoever looks at test images while choosing has
    chosen by them. ``images``: at most so many of each dataset, drawn by ``seed``. ``perplexity``: of t-SNE;
    ``neighbours``: of UMAP. ``names``: ``ENCODER=NAME``. Raises UserError::

        maps = cxrbench.embed_map("imagenet,spcl", "vindr", by="label,view")
        print(maps)
        maps.draw("maps.pdf")
    """
    from cxrbench.api.runs import prepare
    from cxrbench.embedding_maps.embedded import Drawn, embedded, planned
    from cxrbench.embedding_maps.mapped import embedding_map
    from cxrbench.embedding_maps.projection import Method, Projection
    from cxrbench.engine.settings import names as separate
    from cxrbench.leaderboard.display import read_names, shown_names

    chosen("--method", Method, method)
    chosen("--split", Split, split)
    wanted = separate(by, "by")
    if not wanted:
        raise UserError("--by names nothing: give label, view, sex, dataset, ...")
    if images < 1:
        raise UserError(f"--images {images}: give 1 or more")
    how = Projection(method, perplexity, neighbours, seed)
    how.check(10**9)  # numbers that are wrong whatever the images are
    given = read_names(separate(names, "names"))
    progress = progress or Progress()
    job = prepare(encoders, tasks, progress=progress, **settings)
    called = shown_names(list(planned(job)[0]), given)
    found = embedded(job, Drawn(split, images, seed), wanted, how, progress)
    with bar("maps") as advance:
        return EmbeddingMaps(embedding_map(found, wanted, how, advance), called)
