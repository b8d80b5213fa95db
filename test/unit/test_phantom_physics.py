"""The phantoms' physics: speckle statistics and size, attenuation, time gain, shadow, noise and log compression."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from training.phantom import SCANNERS, Scanner
from training.phantom.anatomy.canvas import Canvas
from training.phantom.anatomy.shapes import ellipse
from training.phantom.scanner.physics import envelope, noise_power, point_spread, residual_loss, scan, shadow

SIDE = 500
EVERY = pytest.mark.parametrize("scanner", SCANNERS.values(), ids=lambda s: s.name)


def speckle(scanner: Scanner, level: float = 0, specular: float = 0) -> np.ndarray:
    """Fully developed speckle of an even tissue of `level` dB, (depth, beam), without the borders."""
    geometry = scanner.geometry(SIDE, SIDE)
    echo = np.full(geometry.grid, level, np.float32)
    coherent = np.full(geometry.grid, specular, np.float32)
    return envelope(echo, point_spread(geometry, scanner), np.random.default_rng(0), coherent)[20:-20, 20:-20]


def correlation_width(pattern: np.ndarray) -> float:
    """Standard deviation of the Gaussian autocorrelation along the first axis, from its value one sample away."""
    even = pattern - pattern.mean()
    return float(np.sqrt(-1 / (2 * np.log((even[1:] * even[:-1]).mean() / (even**2).mean()))))


def even_tissue(seed: int, level: float = 0) -> Canvas:
    canvas = Canvas(200, 200, np.random.default_rng(seed))
    canvas.echo[:] = level
    return canvas


def shown(scanner: Scanner, level: float = 0) -> np.ndarray:
    """Mean grey level over ten scans of even tissue, (200, 200)."""
    return np.mean([scan(even_tissue(i, level), scanner, np.random.default_rng(i)) for i in range(10)], axis=0)


@EVERY
def test_fully_developed_speckle_is_rayleigh(scanner: Scanner) -> None:
    amplitude = speckle(scanner)
    assert amplitude.mean() / amplitude.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.03)


@EVERY
@pytest.mark.parametrize("level", [-12, 6])
def test_speckle_has_the_power_of_its_tissue(scanner: Scanner, level: float) -> None:
    assert (speckle(scanner, level) ** 2).mean() == pytest.approx(10 ** (level / 10), rel=0.06)


@EVERY
def test_a_coherent_echo_steadies_the_amplitude(scanner: Scanner) -> None:
    amplitude = speckle(scanner, specular=3)
    assert amplitude.mean() / amplitude.std() > 3


@EVERY
def test_speckle_is_as_large_as_the_point_spread(scanner: Scanner) -> None:
    # The intensity's autocovariance is the squared autocorrelation of the point spread: as wide as the latter itself.
    geometry, intensity = scanner.geometry(SIDE, SIDE), speckle(scanner) ** 2
    lateral, axial = scanner.beam * geometry.path / geometry.beam_spacing, scanner.pulse * geometry.grid[0]
    assert correlation_width(intensity.T) == pytest.approx(lateral, rel=0.1)
    assert correlation_width(intensity) == pytest.approx(axial, rel=0.25 if axial < 1 else 0.1)


def test_speckle_size_differs_from_scanner_to_scanner() -> None:
    sizes = sorted(correlation_width(speckle(s) ** 2) * correlation_width(speckle(s).T ** 2) for s in SCANNERS.values())
    assert all(large > 1.1 * small for small, large in pairwise(sizes))


@EVERY
def test_tissue_costs_half_a_decibel_per_centimetre_and_megahertz_each_way(scanner: Scanner) -> None:
    left = residual_loss(scanner, 101)
    assert scanner.attenuation == pytest.approx(2 * 0.5 * scanner.frequency * scanner.depth / 10)
    assert left[100, 0] == pytest.approx(scanner.residual_attenuation * scanner.attenuation)
    assert left[50, 0] == pytest.approx(left[100, 0] / 2)
    assert residual_loss(replace(scanner, frequency=2 * scanner.frequency), 101)[50, 0] == pytest.approx(left[100, 0])


@EVERY
def test_deep_tissue_is_darker_and_more_so_at_a_higher_frequency(scanner: Scanner) -> None:
    def drop(**settings: float) -> float:
        grey = shown(replace(scanner, noise=-90, **settings))
        return float(grey[40:60, 80:120].mean() - grey[150:170, 80:120].mean())

    base = drop(residual_attenuation=0.0)
    assert drop(residual_attenuation=0.3) > base + 8
    assert drop(residual_attenuation=0.3, frequency=1.5 * scanner.frequency) > drop(residual_attenuation=0.3) + 3


@EVERY
def test_time_gain_lifts_the_noise_towards_the_bottom(scanner: Scanner) -> None:
    level = 10 * np.log10(noise_power(scanner, 50)[:, 0])
    assert level[-1] == pytest.approx(scanner.noise, abs=1e-3)
    assert level[0] == pytest.approx(scanner.noise - (1 - scanner.residual_attenuation) * scanner.attenuation, abs=1e-3)


def test_a_shadow_adds_up_along_the_beam() -> None:
    loss = np.zeros((50, 3), np.float32)
    loss[10:20, 1] = 0.5
    lost = shadow(loss, path=100)
    assert not lost[:, [0, 2]].any()
    assert lost[[9, 14, 19, 49], 1].tolist() == [0, 5, 10, 10]


@EVERY
def test_log_compression_shows_the_dynamic_range(scanner: Scanner) -> None:
    # The draws spread the dynamic range by at most 10 %.
    step = shown(scanner, 0)[60:140, 60:140].mean() - shown(scanner, -10)[60:140, 60:140].mean()
    assert step == pytest.approx(255 * 10 / scanner.dynamic_range, rel=0.12)


@pytest.mark.parametrize(("loss", "darker"), [(25, True), (-12, False)])
def test_a_structure_shadows_or_enhances_what_lies_below(loss: float, darker: bool) -> None:
    scene = Canvas(160, 160, np.random.default_rng(0))
    scene.fill(ellipse(80, 60, 25, 20), 0, shadow=loss)
    image = scan(scene, SCANNERS["linear_premium"], np.random.default_rng(0)).astype(float)
    below, beside = image[95:140, 72:88].mean(), image[95:140, 10:40].mean()
    assert below < beside - 25 if darker else below > beside + 15
