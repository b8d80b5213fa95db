"""Scanner profiles: what differs from machine to machine and from probe to probe."""

from dataclasses import dataclass

SOUND_SPEED = 1.54  # mm per microsecond in soft tissue


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanner:
    """A probe with its machine's settings.

    `half_angle` is half the fan's opening in degrees, 0 for a linear probe; `face` the radius of a
    fan's face as a part of the depth shown; `frequency` in MHz; `depth` is the
    depth shown, in mm; `cycles` the pulse length in wavelengths; `f_number` focal length over aperture; `gain`
    and `dynamic_range` in dB; `noise` is the level of the electronic noise in dB of mean tissue echo; `residue`
    is what time gain leaves of the attenuation at the bottom of the image, in dB per MHz.
    """

    name: str
    half_angle: float
    face: float
    frequency: float
    depth: float
    cycles: float
    f_number: float
    gain: float
    dynamic_range: float
    noise: float
    residue: float

    @property
    def pulse(self) -> float:
        """Standard deviation of the axial point spread as a part of the image's height (pulse length / 2)."""
        return self.cycles * SOUND_SPEED / self.frequency / 2 / 2.355 / self.depth

    @property
    def beam(self) -> float:
        """Standard deviation of the lateral point spread as a part of the image's height (wavelength x f-number)."""
        return self.f_number * SOUND_SPEED / self.frequency / 2.355 / self.depth


SCANNERS: dict[str, Scanner] = {
    scanner.name: scanner
    for scanner in (
        Scanner(
            name="linear_premium", half_angle=0, face=0, frequency=12, depth=40, cycles=3.5, f_number=4,
            gain=0, dynamic_range=60, noise=-48, residue=0.3,
        ),
        Scanner(
            name="linear_portable", half_angle=0, face=0, frequency=7.5, depth=50, cycles=5, f_number=6,
            gain=3, dynamic_range=52, noise=-36, residue=0.9,
        ),
        Scanner(
            name="curved_abdominal", half_angle=33, face=0.4, frequency=3.5, depth=150, cycles=4.5, f_number=6,
            gain=0, dynamic_range=60, noise=-40, residue=1.4,
        ),
        Scanner(
            name="sector_cardiac", half_angle=40, face=0.15, frequency=2.5, depth=160, cycles=4, f_number=6,
            gain=-2, dynamic_range=48, noise=-36, residue=1.2,
        ),
    )
}  # fmt: skip
