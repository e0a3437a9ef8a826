"""Whether features have room: said before anything is computed, with how many views would have."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.data.cache.upkeep import SIZE_VARIABLE
from burnish.errors import DataError
from burnish.features.feature_set import FeatureSet
from burnish.sizes import show_size


def refuse_beyond_limit(wanted: Sequence[FeatureSet], limit: int) -> None:
    """Refuse features that take more than the cache may keep of them.

    Parameters
    ----------
    wanted
        What is needed at the same time.
    limit
        Bytes; see :func:`burnish.data.cache.upkeep.find_limit`.

    Raises
    ------
    DataError
        Says how many views would have room, and what else can be done.
    """
    if sum(one.num_bytes for one in wanted) > limit:
        raise DataError(
            f"{describe_features(wanted)}, and the cache may keep {show_size(limit)} of features: "
            f"{advise(wanted, limit)}; or allow more: {SIZE_VARIABLE}=50GB"
        )


def describe_features(wanted: Sequence[FeatureSet]) -> str:
    """Say what features are of, and what they take."""
    dataset, views = wanted[0].dataset, max(one.views for one in wanted)
    of = f"{views} views of each of " if views > 1 else ""
    files = f" in {len(wanted)} files" if len(wanted) > 1 else ""
    num_bytes = sum(one.num_bytes for one in wanted)
    return (
        f"what a frozen network makes of {of}{len(dataset.train):,} training images"
        f"{files} takes {show_size(num_bytes)}"
    )


def advise(wanted: Sequence[FeatureSet], room: int) -> str:
    """Say how many views would have room, or what to do where no view would.

    Parameters
    ----------
    wanted
        What is needed at the same time.
    room
        Bytes.
    """
    views = count_views_within(wanted, room)
    if views:
        return f"set views = {views}, which would fit"
    if any(one.augmentation.is_active for one in wanted):
        return (
            "not even one view would fit; set views = 0, with which nothing is kept and the whole "
            "network is computed anew in each epoch"
        )
    return "set a smaller input_size, or search fewer values of it"


def count_views_within(wanted: Sequence[FeatureSet], room: int) -> int:
    """Return how many views of each training image have room; 0 where not even one has.

    What is asked for in fewer views, or in one, stays as it is.
    """
    most = max(one.views for one in wanted)

    def measure(views: int) -> int:
        return sum(
            one.num_bytes
            * (len(one.dataset.val) + min(views, one.views) * len(one.dataset.train))
            // one.num_rows
            for one in wanted
        )

    fitting = [views for views in range(1, most) if measure(views) <= room]
    return max(fitting, default=0)
