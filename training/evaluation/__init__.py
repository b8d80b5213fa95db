"""The challenge's metrics of a model on labelled cases, per task and per class, with intervals."""
