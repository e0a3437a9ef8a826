"""What the frozen part of a network makes of images: computed once, kept, and shared."""

from burnish.features.feature_set import FeatureSet
from burnish.features.features import compute_features

__all__ = ["FeatureSet", "compute_features"]
