"""The variants of an ablation study, each of which differs from the default in one respect."""

from dataclasses import dataclass

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Variant:
    """One difference from the default: other settings, a model per task, or test-time augmentation.

    A variant with none of these has another network, in `networks.NETWORKS`.

    Attributes:
        description: the difference in words.
        changes: settings as `load_config` takes them.
        per_task: each task has a separate model, trained for its share of the steps.
        flip_tta: the default's weights, averaged over the image and its mirror image.
    """

    description: str
    changes: tuple[str, ...] = ()
    per_task: bool = False
    flip_tta: bool = False


VARIANTS = {
    DEFAULT: Variant("nothing"),
    "scrambled-tokens": Variant("tokens in the order of the language model"),
    "last-map": Variant("the last block's map alone, no pyramid"),
    "no-stem": Variant("no convolutional stem"),
    "pooled-landmarks": Variant("landmarks from a pooled vector, no heatmaps"),
    "shared-heads": Variant("one last layer per task type, not per task"),
    "uniform-sampling": Variant("all tasks equally likely", ("size_exponent=0", "loss_exponent=0")),
    "proportional-sampling": Variant(
        "tasks drawn in proportion to their cases", ("size_exponent=0.7", "loss_exponent=0")
    ),
    "loss-blind-sampling": Variant("sampling by the root of the cases alone", ("loss_exponent=0",)),
    "published-sampling": Variant("the loss counts fully in sampling", ("loss_exponent=1",)),
    "no-balancing": Variant("no losses rescaled", ("balance=none",)),
    "full-balancing": Variant("the losses of all types rescaled", ("balance=all",)),
    "one-model-per-task": Variant("one model per task, the steps divided among them", per_task=True),
    "no-augmentation": Variant("no augmentation", ("augment=false",)),
    "no-geometry": Variant("augmentation without geometry", ("augment=[intensity, field_of_view, overlays]",)),
    "no-intensity": Variant("augmentation without intensity", ("augment=[geometry, field_of_view, overlays]",)),
    "no-field-of-view": Variant("augmentation without field of view", ("augment=[geometry, intensity, overlays]",)),
    "no-overlays": Variant("augmentation without overlays", ("augment=[geometry, intensity, field_of_view]",)),
    "no-average": Variant("the last weights, no moving average", ("ema_decay=0",)),
    "flip-tta": Variant("test-time augmentation of the default's weights, with mirrored images", flip_tta=True),
}
