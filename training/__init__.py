"""The training stage: makes a checkpoint from labelled cases."""
