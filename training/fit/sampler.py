"""Task-aware sampling: draw tasks with more data or higher loss more often."""

from collections.abc import Mapping

import numpy as np

EMA_DECAY = 0.98
TEMPERATURE = 0.7


class TaskSampler:
    """A sampler of tasks with p proportional to (n^size_exponent * loss^loss_exponent + 1)^(1/0.7).

    n is the number of a task's cases, loss a moving average. The constants are those of AURORA's published training,
    without its extra factor of 300 on landmark losses, because the losses here are all of order one.

    Args:
        sizes: the number of cases of each task.
        size_exponent: exponent of n; 0.5 in AURORA's published training.
        loss_exponent: exponent of the loss; 1 in AURORA's published training.
    """

    def __init__(self, sizes: Mapping[str, int], size_exponent: float = 0.5, loss_exponent: float = 1.0) -> None:
        self.names = list(sizes)
        self.size_exponent, self.loss_exponent = size_exponent, loss_exponent
        self.sizes = np.array([sizes[name] for name in self.names], dtype=np.float64)
        self.losses = dict.fromkeys(self.names, 1.0)

    def update(self, losses: Mapping[str, float]) -> None:
        """Update the moving averages of the tasks in `losses`."""
        for name, loss in losses.items():
            self.losses[name] = EMA_DECAY * self.losses[name] + (1 - EMA_DECAY) * loss

    def probabilities(self) -> np.ndarray:
        """Return the probability of each task, in the order of `names`."""
        losses = np.array([self.losses[name] for name in self.names])
        weights = (self.sizes**self.size_exponent * losses**self.loss_exponent + 1.0) ** (1.0 / TEMPERATURE)
        return weights / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> list[str]:
        """Draw `count` tasks with replacement."""
        return [self.names[i] for i in rng.choice(len(self.names), size=count, p=self.probabilities())]
