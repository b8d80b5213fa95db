"""The rows of the table: what each changes of the default, one thing at a time."""

from dataclasses import dataclass

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Row:
    """One change: `what` in words, by other settings, a model per task, or mirrored answers.

    A row that has none of these has another network, in `variants.NETWORKS`.
    """

    what: str
    changes: tuple[str, ...] = ()
    #: Each task has its own model, with its share of the steps.
    apart: bool = False
    #: The default's weights, the answers to image and mirror image averaged.
    mirrored: bool = False


ROWS = {
    DEFAULT: Row("nothing"),
    "scrambled-tokens": Row("tokens taken in the language model's order"),
    "last-map": Row("the last block's map alone, no pyramid"),
    "no-stem": Row("no convolutional stem"),
    "pooled-landmarks": Row("landmarks from a pooled vector, no heatmaps"),
    "shared-heads": Row("one last layer per type, none per task"),
    "uniform-sampling": Row("every task as likely", ("size_exponent=0", "loss_exponent=0")),
    "proportional-sampling": Row("tasks as likely as they have cases", ("size_exponent=0.7", "loss_exponent=0")),
    "loss-blind-sampling": Row("sampling by the root of the cases alone", ("loss_exponent=0",)),
    "published-sampling": Row("the loss counts fully in sampling", ("loss_exponent=1",)),
    "no-balancing": Row("no loss rescaled", ("balance=none",)),
    "full-balancing": Row("the losses of all types rescaled", ("balance=all",)),
    "one-model-per-task": Row("a model per task, the steps divided among them", apart=True),
    "no-augmentation": Row("no augmentation", ("augment=false",)),
    "no-geometry": Row("augmentation without geometry", ("augment=[grey, view, graphics]",)),
    "no-grey": Row("augmentation without grey values", ("augment=[geometry, view, graphics]",)),
    "no-view": Row("augmentation without fields of view", ("augment=[geometry, grey, graphics]",)),
    "no-graphics": Row("augmentation without burned-in graphics", ("augment=[geometry, grey, view]",)),
    "no-average": Row("the last weights, no moving average", ("ema_decay=0",)),
    "mirrored": Row("mirrored test-time augmentation of the default's weights", mirrored=True),
}
